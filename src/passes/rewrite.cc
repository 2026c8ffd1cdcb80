#include "passes/rewrite.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <unordered_map>

#include "ir/float_format.h"

namespace jaxmps::passes {

namespace {

template <typename T>
void put(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

}  // namespace

void store_integer(DType dtype, uint8_t* at, int64_t number) {
  const int bits = ir::bit_width(dtype);
  if (dtype == DType::pred) return put<uint8_t>(at, number != 0);
  if (bits < 8) {
    // Sub-byte integers are kept sign- or zero-extended in a byte.
    const int shift = 64 - bits;
    const int64_t high = static_cast<int64_t>(static_cast<uint64_t>(number) << shift);
    number = ir::is_signed_int(dtype) ? high >> shift
                                      : static_cast<int64_t>(static_cast<uint64_t>(high) >> shift);
  }
  std::memcpy(at, &number, ir::byte_size(dtype));
}

void store_element(DType dtype, uint8_t* at, double number, double imag) {
  switch (dtype) {
    case DType::f64:
      return put(at, number);
    case DType::f32:
      return put(at, static_cast<float>(number));
    case DType::c64:
      put(at, static_cast<float>(number));
      return put(at + 4, static_cast<float>(imag));
    case DType::c128:
      put(at, number);
      return put(at + 8, imag);
    default:
      break;
  }
  if (!ir::is_float(dtype)) return store_integer(dtype, at, static_cast<int64_t>(number));
  const uint32_t code = ir::encode_float(static_cast<float>(number), ir::float_format(dtype));
  std::memcpy(at, &code, ir::byte_size(dtype));
}

Op* Builder::op(OpId id, const std::vector<Value*>& operands, const std::vector<Type>& types,
                AttrDict attrs) const {
  return before_->parent()->insert_before(
      before_, Op::create(id, operands, types, std::move(attrs), location_));
}

Value* Builder::value(OpId id, const std::vector<Value*>& operands, Type type,
                      AttrDict attrs) const {
  return op(id, operands, {std::move(type)}, std::move(attrs))->result();
}

Value* Builder::unary(OpId id, Value* a) const { return value(id, {a}, a->type); }
Value* Builder::binary(OpId id, Value* a, Value* b) const { return value(id, {a, b}, a->type); }

Value* Builder::compare(ir::CompareDirection direction, Value* a, Value* b) const {
  return value(OpId::compare, {a, b}, a->type.with(DType::pred),
               attributes({{"comparison_direction",
                            Attr(ir::Enum{ir::Enum::Kind::compare_direction, uint8_t(direction)})},
                           {"compare_type", Attr(ir::Enum{ir::Enum::Kind::compare_type, 0})}}));
}

Value* Builder::select(Value* pred, Value* a, Value* b) const {
  return value(OpId::select, {pred, a, b}, a->type);
}

Value* Builder::constant(Dense dense) const {
  Type type = dense.type;
  return value(OpId::constant, {}, std::move(type), {{"value", Attr(std::move(dense))}});
}

Value* Builder::splat(const Type& type, double number) const {
  return constant(make_splat(type, number));
}

Value* Builder::reshape(Value* v, Dims dims) const {
  if (v->type.dims == dims) return v;
  return value(OpId::reshape, {v}, v->type.with(std::move(dims)));
}

Value* Builder::transpose(Value* v, Ints permutation) const {
  if (is_identity(permutation)) return v;
  Dims dims;
  for (int64_t dim : permutation) dims.push_back(v->type.dims[dim]);
  return value(OpId::transpose, {v}, v->type.with(std::move(dims)),
               {{"permutation", Attr(std::move(permutation))}});
}

Value* Builder::broadcast(Value* v, Dims dims, Ints broadcast_dimensions) const {
  if (v->type.dims == dims && is_identity(broadcast_dimensions)) return v;
  return value(OpId::broadcast_in_dim, {v}, v->type.with(std::move(dims)),
               {{"broadcast_dimensions", Attr(std::move(broadcast_dimensions))}});
}

Value* Builder::convert(Value* v, DType dtype) const {
  return v->type.dtype == dtype ? v : value(OpId::convert, {v}, v->type.with(dtype));
}

Value* Builder::slice(Value* v, Type type, Ints start, Ints limit, Ints strides) const {
  return value(OpId::slice, {v}, std::move(type),
               slice_attributes(std::move(start), std::move(limit), std::move(strides)));
}

Value* Builder::element(Value* vector, int64_t i) const {
  return reshape(slice(vector, vector->type.with(Dims{1}), {i}, {i + 1}, {1}), {});
}

Value* Builder::pad(Value* v, Value* fill, Ints low, Ints high, Ints interior) const {
  Dims dims = v->type.dims;
  for (size_t d = 0; d < dims.size(); ++d) {
    dims[d] += low[d] + high[d] + std::max<int64_t>(dims[d] - 1, 0) * interior[d];
  }
  return value(OpId::pad, {v, fill}, v->type.with(std::move(dims)),
               {{"edge_padding_high", Attr(std::move(high))},
                {"edge_padding_low", Attr(std::move(low))},
                {"interior_padding", Attr(std::move(interior))}});
}

void Builder::add_combiner(Op* op, OpId combiner, const Type& scalar) const {
  Region* body = op->add_region();
  Value* arguments[] = {body->add_arg(scalar), body->add_arg(scalar)};
  Op* combined =
      body->append(Op::create(combiner, arguments, std::span(&scalar, 1), {}, location_));
  Value* returned[] = {combined->result()};
  body->append(Op::create(OpId::return_, returned, {}, {}, location_));
}

Value* Builder::reduce(OpId combiner, Value* v, double init, Ints dimensions) const {
  return reduce_onto(splat(v->type.with(Dims{}), init), combiner, v, std::move(dimensions));
}

Value* Builder::reduce_onto(Value* init, OpId combiner, Value* v, Ints dimensions) const {
  Dims dims;
  for (int64_t i = 0; i < v->type.rank(); ++i) {
    if (!ir::contains(dimensions, i)) dims.push_back(v->type.dims[i]);
  }
  Op* reduction = op(OpId::reduce, {v, init}, {v->type.with(std::move(dims))},
                     {{"dimensions", Attr(std::move(dimensions))}});
  add_combiner(reduction, combiner, init->type);
  return reduction->result();
}

AttrDict slice_attributes(Ints start, Ints limit, Ints strides) {
  return {{"limit_indices", Attr(std::move(limit))},
          {"start_indices", Attr(std::move(start))},
          {"strides", Attr(std::move(strides))}};
}

Dense make_splat(const Type& type, double number) {
  uint8_t element[16] = {};
  store_element(type.dtype, element, number);
  return Dense::copy(type, {element, static_cast<size_t>(ir::byte_size(type.dtype))}, true);
}

Dense make_ints(const Type& type, const Ints& numbers) {
  const size_t width = ir::byte_size(type.dtype);
  std::vector<uint8_t> bytes(numbers.size() * width);
  for (size_t i = 0; i < numbers.size(); ++i) {
    store_integer(type.dtype, bytes.data() + i * width, numbers[i]);
  }
  return Dense::copy(type, bytes, false);
}

Ints iota(int64_t count, int64_t start) {
  Ints out(count);
  std::iota(out.begin(), out.end(), start);
  return out;
}

bool is_identity(const Ints& permutation) {
  for (size_t i = 0; i < permutation.size(); ++i) {
    if (permutation[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

void replace(Op* op, Value* value) {
  op->result()->replace_all_uses_with(value);
  op->erase();
}

void replace(Op* op, const std::vector<Value*>& values) {
  for (int i = 0; i < op->result_count(); ++i) op->result(i)->replace_all_uses_with(values[i]);
  op->erase();
}

std::vector<Value*> splice(Region& region, const std::vector<Value*>& operands, Op* position) {
  for (int i = 0; i < region.arg_count(); ++i) region.arg(i)->replace_all_uses_with(operands[i]);
  Op* end = region.terminator();
  std::vector<Value*> results = end->operands();
  end->erase();
  while (Op* op = region.first()) op->move_before(position);
  return results;
}

namespace {

// Of a scalar, the scalar.
bool keeps_scalars(const Op& op) {
  return op.id == OpId::reshape || op.id == OpId::broadcast_in_dim || op.id == OpId::transpose ||
         op.id == OpId::optimization_barrier;
}

bool is_liftable(const Op& op) {
  return ir::all_types(op, [](const Type& type) { return type.is_scalar(); }) &&
         (op.is(ir::traits::elementwise) || op.id == OpId::constant || op.id == OpId::select ||
          op.id == OpId::clamp || op.id == OpId::bitcast_convert || keeps_scalars(op));
}

}  // namespace

bool is_liftable(const Region& region) {
  for (const Op* op : region) {
    if (op != region.terminator() && !is_liftable(*op)) return false;
  }
  return true;
}

std::vector<Value*> lift(const Builder& build, const Region& region,
                         const std::vector<Value*>& operands, const Dims& dims) {
  std::unordered_map<const Value*, Value*> lifted;
  for (int i = 0; i < region.arg_count(); ++i) lifted[region.arg(i)] = operands[i];
  const auto wide = [&](Value* scalar) {
    Value*& value = lifted[scalar];
    if (!value) value = build.broadcast(scalar, dims, {});
    return value;
  };
  for (Op* op : region) {
    if (op == region.terminator()) break;
    std::vector<Value*> inputs;
    for (Value* operand : op->operands()) inputs.push_back(wide(operand));
    if (keeps_scalars(*op)) {
      for (int i = 0; i < op->result_count(); ++i) lifted[op->result(i)] = inputs[i];
      continue;
    }
    const bool is_constant = op->id == OpId::constant;
    std::vector<Type> types;
    types.reserve(op->result_count());
    for (int i = 0; i < op->result_count(); ++i) {
      const Type& type = op->result(i)->type;
      types.push_back(is_constant ? type : type.with(dims));
    }
    const Op* made = build.op(op->id, inputs, types, op->attrs);
    for (int i = 0; i < op->result_count(); ++i) {
      auto* value = const_cast<Value*>(made->result(i));
      lifted[op->result(i)] = is_constant ? build.broadcast(value, dims, {}) : value;
    }
  }
  std::vector<Value*> results;
  for (Value* value : region.terminator()->operands()) results.push_back(wide(value));
  return results;
}

Error join(const std::vector<Error>& refused) {
  if (refused.size() == 1) return refused[0];
  constexpr size_t kShown = 20;
  std::string text = str(refused.size(), " ops are not supported:");
  for (size_t i = 0; i < refused.size() && i < kShown; ++i) text += str("\n  ", refused[i].text);
  if (refused.size() > kShown) text += str("\n  and ", refused.size() - kShown, " more");
  return unimplemented(std::move(text));
}

}  // namespace jaxmps::passes
