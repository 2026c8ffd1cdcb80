// What the passes share: a builder that inserts ops, constants as values, walks and splices.
// A Builder inserts before one op and must not outlive it. One thread per module.
#pragma once

#include <optional>
#include <vector>

#include "ir/lists.h"
#include "ir/match.h"
#include "passes/pass.h"

namespace jaxmps::passes {

class Builder {
 public:
  explicit Builder(ir::Op* before) : before_(before), location_(before->location) {}

  ir::Op* op(ir::OpId id, const std::vector<ir::Value*>& operands,
             const std::vector<ir::Type>& types, ir::AttrDict attrs = {}) const;
  ir::Value* value(ir::OpId id, const std::vector<ir::Value*>& operands, ir::Type type,
                   ir::AttrDict attrs = {}) const;
  // Elementwise with the first operand's type.
  ir::Value* unary(ir::OpId id, ir::Value* a) const;
  ir::Value* binary(ir::OpId id, ir::Value* a, ir::Value* b) const;
  ir::Value* compare(ir::CompareDirection direction, ir::Value* a, ir::Value* b) const;
  ir::Value* select(ir::Value* pred, ir::Value* a, ir::Value* b) const;

  ir::Value* constant(ir::Dense value) const;
  ir::Value* splat(const ir::Type& type, double value) const;
  ir::Value* reshape(ir::Value* value, ir::Dims dims) const;
  ir::Value* transpose(ir::Value* value, ir::Ints permutation) const;
  ir::Value* broadcast(ir::Value* value, ir::Dims dims, ir::Ints broadcast_dimensions) const;
  ir::Value* convert(ir::Value* value, ir::DType dtype) const;
  ir::Value* slice(ir::Value* value, ir::Type type, ir::Ints start, ir::Ints limit,
                   ir::Ints strides) const;
  // One element of a vector, as a scalar.
  ir::Value* element(ir::Value* vector, int64_t i) const;
  ir::Value* pad(ir::Value* value, ir::Value* fill, ir::Ints low, ir::Ints high,
                 ir::Ints interior) const;
  // Reduces over `dimensions` with a binary op.
  ir::Value* reduce_onto(ir::Value* init, ir::OpId combiner, ir::Value* value,
                         ir::Ints dimensions) const;
  ir::Value* reduce(ir::OpId combiner, ir::Value* value, double init, ir::Ints dimensions) const;
  // Gives the op a region that combines two scalars with a binary op.
  void add_combiner(ir::Op* op, ir::OpId combiner, const ir::Type& scalar) const;

 private:
  ir::Op* before_;
  const ir::Location* location_;
};

using ir::attributes;
ir::AttrDict slice_attributes(ir::Ints start, ir::Ints limit, ir::Ints strides);

// A splat; the number is converted to the element type.
ir::Dense make_splat(const ir::Type& type, double number);
ir::Dense make_ints(const ir::Type& type, const ir::Ints& numbers);
// Writes one element, rounded to nearest even or wrapped; `imag` is for complex types only.
void store_element(ir::DType dtype, uint8_t* at, double number, double imag = 0);
void store_integer(ir::DType dtype, uint8_t* at, int64_t number);

ir::Ints iota(int64_t count, int64_t start = 0);
bool is_identity(const ir::Ints& permutation);
// Whether the results have the types of the operands.
inline bool keeps_types(Op& op) {
  return ir::types_of(op.operands()) == ir::types_of(op.results());
}
// 16 bits wide.
inline bool is_half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

// Replaces an op of one result by a value, or of several by as many.
void replace(ir::Op* op, ir::Value* value);
void replace(ir::Op* op, const std::vector<ir::Value*>& values);
// Moves the region's ops before `position`, arguments replaced by `operands`; returns what the
// terminator returned. The region is empty afterwards.
std::vector<ir::Value*> splice(ir::Region& region, const std::vector<ir::Value*>& operands,
                               ir::Op* position);

// Whether the region is a function of scalars each op of which has a form on arrays.
bool is_liftable(const ir::Region& region);
// What such a region does to scalars, done to the elements of arrays of these dimensions.
std::vector<ir::Value*> lift(const Builder& build, const ir::Region& region,
                             const std::vector<ir::Value*>& operands, const ir::Dims& dims);

// Calls f(op) for every op, those of nested regions first. f may erase the op it is given.
template <typename F>
void walk(ir::Region& region, const F& f) {
  for (ir::Op* op : region) {
    for (const auto& nested : op->regions()) walk(*nested, f);
    f(op);
  }
}
template <typename F>
void walk(ir::Module& module, const F& f) {
  for (const auto& function : module.functions) walk(function->body, f);
}

// Several refusals, of one op at least, as one error.
Error join(const std::vector<Error>& refused);

}  // namespace jaxmps::passes
