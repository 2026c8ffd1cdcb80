// Reductions that are no fusions. On GPUs combiners are written out as elementwise ops before
// (passes/expand_combiners.cc); what has no such form runs on the CPU.
#include "ops/reduce.h"

#include <optional>

#include "ir/match.h"

namespace jaxmps::ops {

using ir::OpId;

namespace {

// Whether the region is the reducer of an arg-max or arg-min over (values, indices): the better
// value wins, NaN beats all, and the lower index breaks ties.
std::optional<bool> arg_reducer(const ir::Region& region) {
  if (region.arg_count() != 4) return std::nullopt;
  const DType type = region.arg(0)->type.dtype;
  if (!ir::is_int(region.arg(1)->type.dtype) || ir::is_complex(type)) return std::nullopt;
  using namespace ir::match;  // NOLINT(google-build-using-namespace)
  using Direction = ir::CompareDirection;
  const auto x = same(region.arg(0)), i = same(region.arg(1));
  const auto y = same(region.arg(2)), j = same(region.arg(3));
  const ir::Op* end = region.terminator();
  const auto picks = [&](const auto& pick) {
    const auto tie = op(OpId::and_, compare(Direction::eq, x, y), compare(Direction::lt, i, j));
    return matches(end->operand(0), op(OpId::select, pick, x, y)) &&
           matches(end->operand(1), op(OpId::select, op(OpId::or_, pick, tie), i, j));
  };
  for (const bool maximum : {true, false}) {
    const auto better = compare(maximum ? Direction::gt : Direction::lt, x, y);
    const auto is_nan = compare(Direction::ne, x, x);
    if (picks(op(OpId::or_, better, is_nan))) return maximum;
    if (!ir::is_float(type) && picks(better)) return maximum;
  }
  return std::nullopt;
}

}  // namespace

ANY_DTYPE_OP(reduce) {
  if (!ctx.axes("dimensions").empty()) {
    const auto maximum = arg_reducer(ctx.op.region());
    Native kernel = maximum ? native_arg_reduce(ctx, *maximum) : nullptr;
    if (kernel) return everywhere(ctx, std::move(kernel), static_cast<double>(ctx.in(0).size()));
  }
  TRY(Lowering lowering, native_reduce(ctx));
  lowering.is_general = true;
  lowering.on_host = true;
  return lowering;
}

}  // namespace jaxmps::ops
