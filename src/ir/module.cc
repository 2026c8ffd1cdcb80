#include "ir/module.h"

#include <algorithm>
#include <cstring>

#include "ir/lists.h"

namespace jaxmps::ir {
namespace {

struct OpInfo {
  std::string_view name;
  uint32_t traits;
};

const OpInfo& info(OpId id) {
  using namespace traits;
  static constexpr OpInfo kInfo[] = {
#define OP(id, name, traits) {name, traits},
#include "ir/ops.def"
#undef OP
  };
  return kInfo[static_cast<size_t>(id)];
}

}  // namespace

std::string_view name(OpId id) { return info(id).name; }
uint32_t traits_of(OpId id) { return info(id).traits; }

bool Value::has_one_use() const { return first_use_ && !first_use_->next; }

void Value::replace_all_uses_with(Value* other) {
  if (other == this) return;
  while (first_use_) first_use_->set(other);
}

void Use::set(Value* v) {
  if (value) {
    *link = next;
    if (next) next->link = link;
  }
  value = v;
  next = nullptr;
  link = nullptr;
  if (v) {
    next = v->first_use_;
    link = &v->first_use_;
    if (next) next->link = &next;
    v->first_use_ = this;
  }
}

std::unique_ptr<Op> Op::create(OpId id, std::span<Value* const> operands,
                               std::span<const Type> result_types, AttrDict attrs,
                               const Location* location) {
  std::unique_ptr<Op> op(new Op(id));
  op->location = location;
  op->attrs = std::move(attrs);
  op->set_operands(operands);
  op->results_ = std::vector<Value>(result_types.size());
  for (size_t i = 0; i < result_types.size(); ++i) {
    op->results_[i].type = result_types[i];
    op->results_[i].op_ = op.get();
    op->results_[i].index_ = static_cast<int>(i);
  }
  return op;
}

Op::~Op() {
  // Results may still be linked from ops of the same dying region.
  for (Value& result : results_) {
    while (result.first_use_) result.first_use_->set(nullptr);
  }
}

void Op::set_operands(std::span<Value* const> values) {
  std::vector<Value*> kept(values.begin(), values.end());
  operands_.clear();
  operands_ = std::vector<Use>(kept.size());
  for (size_t i = 0; i < kept.size(); ++i) {
    operands_[i].owner = this;
    operands_[i].set(kept[i]);
  }
}

std::vector<Value*> Op::operands() const {
  std::vector<Value*> values;
  values.reserve(operands_.size());
  for (const Use& use : operands_) values.push_back(use.value);
  return values;
}

std::vector<Value*> Op::results() {
  std::vector<Value*> values;
  values.reserve(results_.size());
  for (Value& result : results_) values.push_back(&result);
  return values;
}

std::vector<Type> types_of(std::span<Value* const> values) {
  std::vector<Type> types;
  types.reserve(values.size());
  for (const Value* value : values) types.push_back(value->type);
  return types;
}

bool Op::unused() const {
  return std::all_of(results_.begin(), results_.end(), [](const Value& v) { return v.unused(); });
}

Region* Op::add_region() {
  regions_.push_back(std::make_unique<Region>(this));
  return regions_.back().get();
}

void Op::set_attr(std::string_view name, Attr value) { set(attrs, name, std::move(value)); }
int64_t Op::i64(std::string_view name) const { return std::get<TypedInt>(find(name)->value).value; }
bool Op::flag(std::string_view name) const { return std::get<bool>(find(name)->value); }
const Ints& Op::ints(std::string_view name) const { return std::get<Ints>(find(name)->value); }
const Dense& Op::dense(std::string_view name) const { return std::get<Dense>(find(name)->value); }

const std::string& Op::text(std::string_view name) const {
  const Attr* attr = find(name);
  if (const Symbol* symbol = attr->get_if<Symbol>()) return symbol->name;
  return std::get<std::string>(attr->value);
}

void Op::erase() {
  parent_->unlink(this);
  delete this;
}

void Op::move_before(Op* position) {
  parent_->unlink(this);
  position->parent_->link(this, position);
}

Region::~Region() {
  // Back to front, so that uses go before definitions.
  while (last_) {
    Op* op = last_;
    unlink(op);
    delete op;
  }
}

Value* Region::add_arg(Type type) {
  args_.push_back(std::make_unique<Value>());
  Value* arg = args_.back().get();
  arg->type = std::move(type);
  arg->region_ = this;
  arg->index_ = static_cast<int>(args_.size()) - 1;
  return arg;
}

void Region::erase_arg(int i) {
  args_.erase(args_.begin() + i);
  for (size_t k = i; k < args_.size(); ++k) args_[k]->index_ = static_cast<int>(k);
}

int64_t Region::op_count() const {
  int64_t count = 0;
  for (Op* op = first_; op; op = op->next_) ++count;
  return count;
}

std::unique_ptr<Op> Op::clone(ValueMap& map) const {
  std::vector<Value*> mapped;
  for (const Use& use : operands_) {
    auto found = map.find(use.value);
    mapped.push_back(found == map.end() ? use.value : found->second);
  }
  std::vector<Type> types;
  for (const Value& result : results_) types.push_back(result.type);
  auto copy = create(id, mapped, types, attrs, location);
  copy->discardable = discardable;
  for (const auto& region : regions_) copy->add_region()->copy_from(*region, map);
  for (int i = 0; i < result_count(); ++i) {
    map[result(i)] = copy->result(i);
  }
  return copy;
}

void Region::copy_from(const Region& other, ValueMap& map) {
  for (int i = 0; i < other.arg_count(); ++i) map[other.arg(i)] = add_arg(other.arg(i)->type);
  for (Op* op : other) append(op->clone(map));
}

Op* Region::append(std::unique_ptr<Op> op) { return insert_before(nullptr, std::move(op)); }

Op* Region::insert_before(Op* position, std::unique_ptr<Op> op) {
  Op* raw = op.release();
  link(raw, position);
  return raw;
}

std::vector<Value*> Region::copy_ops(const Region& other, std::span<Value* const> operands,
                                     Op* position) {
  ValueMap map;
  for (int i = 0; i < other.arg_count(); ++i) map[other.arg(i)] = operands[static_cast<size_t>(i)];
  for (const Op* op : other) {
    if (op != other.terminator()) insert_before(position, op->clone(map));
  }
  std::vector<Value*> results = other.terminator()->operands();
  for (Value*& value : results) {
    if (const auto found = map.find(value); found != map.end()) value = found->second;
  }
  return results;
}

Op* Region::copy_alone(const Op& op, std::span<Value* const> inputs) {
  ValueMap map;
  for (Value* input : inputs) map.emplace(input, add_arg(input->type));
  Op* copy = append(op.clone(map));
  append(Op::create(OpId::return_, copy->results(), {}));
  return copy;
}

void Region::link(Op* op, Op* before) {
  op->parent_ = this;
  op->next_ = before;
  op->previous_ = before ? before->previous_ : last_;
  (op->previous_ ? op->previous_->next_ : first_) = op;
  (before ? before->previous_ : last_) = op;
}

void Region::unlink(Op* op) {
  (op->previous_ ? op->previous_->next_ : first_) = op->next_;
  (op->next_ ? op->next_->previous_ : last_) = op->previous_;
  op->next_ = op->previous_ = nullptr;
  op->parent_ = nullptr;
}

Function::Function() = default;
Function::~Function() = default;
Module::Module() = default;
Module::~Module() = default;
Module::Module(Module&&) noexcept = default;
Module& Module::operator=(Module&&) noexcept = default;

Function* Module::find(std::string_view function_name) const {
  for (const auto& function : functions) {
    if (function->name == function_name) return function.get();
  }
  return nullptr;
}

Function* Module::add_function(std::string function_name) {
  functions.push_back(std::make_unique<Function>());
  functions.back()->name = std::move(function_name);
  return functions.back().get();
}

const Location* Module::add_location(Location location) {
  locations_.push_back(std::move(location));
  return &locations_.back();
}

std::string brief(const Op& op) {
  std::string out(op.name());
  if (op.id == OpId::custom_call && op.find("call_target_name")) {
    out += str(" @", op.text("call_target_name"));
  }
  out += " (";
  for (int i = 0; i < op.operand_count(); ++i) {
    out += str(i ? ", " : "", brief(op.operand(i)->type));
  }
  out += ") -> ";
  if (op.result_count() != 1) out += '(';
  for (int i = 0; i < op.result_count(); ++i) {
    out += str(i ? ", " : "", brief(op.result(i)->type));
  }
  if (op.result_count() != 1) out += ')';
  return out;
}

Error refuse(const Op& op, std::string_view reason) {
  return unimplemented(str(brief(op), " at ", brief(op.location), ": ", reason));
}

std::string brief(const Location* location) {
  // The first file found when callees come before callers is the innermost user frame.
  std::string_view op_name;
  std::vector<const Location*> stack{location};
  for (int steps = 0; !stack.empty() && steps < 10000; ++steps) {
    const Location* at = stack.back();
    stack.pop_back();
    if (!at) continue;
    if (at->kind == Location::Kind::file) return str(at->text, ":", at->line, ":", at->column);
    if (at->kind == Location::Kind::name && op_name.empty()) op_name = at->text;
    for (size_t i = at->children.size(); i-- > 0;) stack.push_back(at->children[i]);
  }
  return op_name.empty() ? "unknown location" : std::string(op_name);
}

}  // namespace jaxmps::ir
