// Builds small modules for tests: a function, its arguments, ops with their attributes and regions.
//   Program p;
//   auto x = p.arg(f32(2, 3));
//   p.ret({p.op(OpId::add, {x, x}, f32(2, 3))});
// The Program owns the module; values live as long as it does. One thread.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ir/module.h"
#include "passes/rewrite.h"

namespace jaxmps::testing {

using ir::Attr;
using ir::AttrDict;
using ir::Dims;
using ir::DType;
using ir::Ints;
using ir::Op;
using ir::OpId;
using ir::Region;
using ir::Type;
using ir::Value;
using Values = std::vector<Value*>;
using Attrs = std::vector<ir::NamedAttr>;

template <typename... Sizes>
Type f32(Sizes... sizes) {
  return Type(DType::f32, Dims{static_cast<int64_t>(sizes)...});
}
template <typename... Sizes>
Type s32(Sizes... sizes) {
  return Type(DType::s32, Dims{static_cast<int64_t>(sizes)...});
}
template <typename... Sizes>
Type u32(Sizes... sizes) {
  return Type(DType::u32, Dims{static_cast<int64_t>(sizes)...});
}
template <typename... Sizes>
Type pred(Sizes... sizes) {
  return Type(DType::pred, Dims{static_cast<int64_t>(sizes)...});
}

inline Attr flag(bool value) { return Attr(Attr::Value(value)); }
template <typename E>
Attr choice(E value) {
  return Attr(ir::Enum{ir::EnumKind<E>::kind, static_cast<uint8_t>(value)});
}

class Body {
 public:
  Body(ir::Module* module, Region* region) : module_(module), region_(region) {}

  Value* arg(Type type) { return region_->add_arg(std::move(type)); }

  Op* ops(OpId id, const Values& operands, const std::vector<Type>& types, Attrs attrs = {}) {
    const ir::Location* where = module_->add_location(
        {ir::Location::Kind::file, "model.py", ++line_, 1, 0, 0, {}});
    return region_->append(
        Op::create(id, operands, types, passes::attributes(std::move(attrs)), where));
  }
  Value* op(OpId id, const Values& operands, Type type, Attrs attrs = {}) {
    return ops(id, operands, {std::move(type)}, std::move(attrs))->result();
  }
  Value* unary(OpId id, Value* x) { return op(id, {x}, x->type); }
  Value* binary(OpId id, Value* x, Value* y) { return op(id, {x, y}, x->type); }
  Value* splat(const Type& type, double number) {
    return op(OpId::constant, {}, type, {{"value", Attr(passes::make_splat(type, number))}});
  }
  Value* ints(const Type& type, const Ints& numbers) {
    return op(OpId::constant, {}, type, {{"value", Attr(passes::make_ints(type, numbers))}});
  }
  Value* compare(ir::CompareDirection direction, Value* x, Value* y) {
    return op(OpId::compare, {x, y}, x->type.with(DType::pred),
              {{"comparison_direction", choice(direction)},
               {"compare_type", choice(ir::CompareType::none)}});
  }
  Value* broadcast(Value* x, Dims dims, Ints at) {
    return op(OpId::broadcast_in_dim, {x}, x->type.with(std::move(dims)),
              {{"broadcast_dimensions", Attr(std::move(at))}});
  }
  Value* slice(Value* x, Ints start, Ints limit, Ints stride) {
    Dims dims;
    for (size_t i = 0; i < start.size(); ++i) {
      dims.push_back((limit[i] - start[i] + stride[i] - 1) / stride[i]);
    }
    return op(OpId::slice, {x}, x->type.with(dims),
              {{"start_indices", Attr(start)}, {"limit_indices", Attr(limit)},
               {"strides", Attr(stride)}});
  }
  // Of dimension `along` of `a` and dimension `by` of `b`.
  Value* product(Value* a, Value* b, Type type, int64_t along, int64_t by, const Ints& batch = {}) {
    return op(OpId::dot_general, {a, b}, std::move(type),
              {{"lhs_batching_dimensions", Attr(batch)},
               {"rhs_batching_dimensions", Attr(batch)},
               {"lhs_contracting_dimensions", Attr(Ints{along})},
               {"rhs_contracting_dimensions", Attr(Ints{by})}});
  }
  void ret(const Values& values) { ops(OpId::return_, values, {}); }

  // A region of `op` filled by `fill`.
  void region(Op* op, const std::function<void(Body&)>& fill) {
    Body body(module_, op->add_region());
    fill(body);
  }
  // A region that combines two scalars with one op.
  void combiner(Op* op, OpId id, Type scalar) {
    region(op, [&](Body& body) {
      Value* a = body.arg(scalar);
      Value* b = body.arg(scalar);
      body.ret({body.binary(id, a, b)});
    });
  }

 protected:
  ir::Module* module_;
  Region* region_;
  int64_t line_ = 0;
};

class Program : public Body {
 public:
  Program() : Body(&module, nullptr) {
    module.name = "test";
    main_ = function("main");
    region_ = &main_->body;
  }

  // Returns from a function; its type follows from the arguments and the values.
  void ret(const Values& values) { finish(main_, values); }

  ir::Function* function(std::string name) {
    ir::Function* added = module.add_function(std::move(name));
    added->is_public = added->name == "main";
    added->type.kind = Type::Kind::function;
    return added;
  }
  Body body(ir::Function* function) { return Body(&module, &function->body); }
  void finish(ir::Function* function, const Values& values) {
    if (function == main_) {
      Body::ret(values);
    } else {
      body(function).ret(values);
    }
    function->type.elements.clear();
    function->type.results.clear();
    for (int i = 0; i < function->body.arg_count(); ++i) {
      function->type.elements.push_back(function->body.arg(i)->type);
    }
    for (Value* value : values) function->type.results.push_back(value->type);
  }
  Value* call(ir::Function* callee, const Values& operands, Type type) {
    return op(OpId::call, operands, std::move(type), {{"callee", Attr(ir::Symbol{callee->name})}});
  }

  // How many ops of this kind the module has, nested ones too.
  int count(OpId id) {
    int found = 0;
    passes::walk(module, [&](Op* op) { found += op->id == id; });
    return found;
  }
  int op_count() {
    int found = 0;
    passes::walk(module, [&](Op*) { ++found; });
    return found;
  }
  Value* returned(int i = 0) { return main_->body.terminator()->operand(i); }
  Op* returned_op(int i = 0) { return returned(i)->op(); }

  ir::Module module;

 private:
  ir::Function* main_;
};

}  // namespace jaxmps::testing
