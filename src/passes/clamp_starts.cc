// Where dynamic slices start, moved into range by ops beside them: fusions take those in, and the
// slice itself has nothing left to compute.
#include <algorithm>
#include <limits>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

// The start as s32 in [0, limit], which is compared in its own type.
Value* clamped(const Builder& build, Value* start, int64_t limit) {
  const DType own = start->type.dtype, s32 = DType::s32;
  if (const auto known = ir::constant_integer(start))
    return build.constant(make_ints(Type(s32, {}), {std::clamp<int64_t>(*known, 0, limit)}));
  if (limit == 0) return build.constant(make_ints(Type(s32, {}), {0}));
  const int bits = ir::bit_width(own) - (ir::is_signed_int(own) ? 1 : 0);
  const int64_t most = bits < 63 ? (int64_t{1} << bits) - 1 : std::numeric_limits<int64_t>::max();
  const auto number = [&](int64_t value) {
    return build.constant(make_ints(Type(own, {}), {value}));
  };
  Value* inside =
      build.value(OpId::clamp, {number(0), start, number(std::min(limit, most))}, start->type);
  return own == s32 ? inside : build.convert(inside, s32);
}

void clamp(Op* op) {
  const bool updates = op->id == OpId::dynamic_update_slice;
  const int first = updates ? 2 : 1;
  const Type &whole = op->operand(0)->type,
             &part = updates ? op->operand(1)->type : op->result()->type;
  if (!whole.is_static() || !part.is_static()) return;
  const Builder build(op);
  for (int d = 0; d < whole.rank(); ++d)
    op->set_operand(
        first + d, clamped(build, op->operand(first + d),
                           whole.dims[static_cast<size_t>(d)] - part.dims[static_cast<size_t>(d)]));
  op->discardable.push_back({"mps.starts_in_range", ir::Attr(ir::Unit{})});
}

}  // namespace

void clamp_starts(ir::Module& module) {
  walk(module, [](Op* op) {
    if (op->id == OpId::dynamic_slice || op->id == OpId::dynamic_update_slice) clamp(op);
  });
}

}  // namespace jaxmps::passes
