// Approximate top-k: an exact one satisfies every recall target.
#include "kernels/cpu/gather.h"
#include "kernels/cpu/sort.h"
#include "ops/custom_call.h"
#include "ops/host_call.h"

namespace jaxmps::ops {
namespace {

// An integer of the options, which clients send as a dictionary under one of two names.
std::optional<int64_t> dictionary_option(const ir::Op& op, std::string_view name) {
  const ir::Attr* config = op.find("backend_config");
  if (!config || !config->get_if<ir::AttrDict>()) {
    config = ir::find(op.discardable, "mhlo.backend_config");
  }
  const auto* dictionary = config ? config->get_if<ir::AttrDict>() : nullptr;
  const ir::Attr* value = dictionary ? ir::find(*dictionary, name) : nullptr;
  const auto* number = value ? value->get_if<ir::TypedInt>() : nullptr;
  return number ? std::optional(number->value) : std::nullopt;
}

// The initial value of the reduction is the worst one: that tells largest from smallest.
std::optional<bool> wants_largest(const ir::Value* initial) {
  const ir::Op* op = initial->op();
  if (!op || op->id != ir::OpId::constant) return std::nullopt;
  const ir::Dense& dense = op->dense("value");
  if (ir::is_float(dense.type.dtype)) return dense.float_at(0) < 0;
  if (ir::is_unsigned_int(dense.type.dtype)) return dense.int_at(0) == 0;
  return dense.int_at(0) < 0;
}

}  // namespace

CUSTOM_CALL(approx_top_k, "ApproxTopK") {
  const OpContext& ctx = call.ctx;
  if (call.operands() != 4 || call.results() != 2) {
    return ctx.fail("only one operand with its indices is supported");
  }
  const auto dimension = dictionary_option(ctx.op, "reduction_dim");
  const auto largest = wants_largest(ctx.op.operand(2));
  const ir::Type& type = ctx.in(0);
  if (!dimension || *dimension < 0 || *dimension >= type.rank()) {
    return ctx.fail("reduction_dim is missing or out of range");
  }
  if (!largest) return ctx.fail("the initial value is not a constant");
  const size_t d = static_cast<size_t>(*dimension);
  ir::Dims expected = type.dims;
  expected[d] = ctx.out().rank() == type.rank() ? ctx.out().dims[d] : 0;
  if (ctx.out().dims != expected || ctx.out(1).dims != expected || expected[d] > type.dims[d] ||
      !(ctx.in(1).dims == type.dims) || !(ctx.in(1).dtype == ctx.out(1).dtype)) {
    return ctx.fail("the types of the results do not match");
  }
  cpu::SortPlan plan;
  for (size_t i = 0; i < type.dims.size(); ++i) {
    (i < d ? plan.outer : i > d ? plan.inner : plan.n) *= i == d ? 1 : type.dims[i];
  }
  plan.n = type.dims[d];
  plan.keys = {{.operand = 0,
                .dtype = type.dtype,
                .equal_zeros = true,
                .equal_nans = true,
                .descending = *largest}};
  if (!cpu::can_encode(plan.keys[0])) return ctx.fail("this type has no order");
  const int value_bytes = ir::byte_size(type.dtype), index_bytes = ir::byte_size(ctx.in(1).dtype);
  plan.element_bytes = {value_bytes, index_bytes};
  const int64_t k = expected[d], size = type.size();
  return everywhere(
      ctx,
      [=](const void* const* in, void* const* out) {
        std::vector<char> values(size * value_bytes), indices(size * index_bytes);
        void* sorted[2] = {values.data(), indices.data()};
        cpu::sort(plan, in, sorted);
        for (int i = 0; i < 2; ++i) {
          const int64_t row = plan.inner * plan.element_bytes[i];
          cpu::StridedCopy({plan.outer, k * row}, {plan.n * row, 1}, {k * row, 1}, 1)
              .copy(static_cast<const char*>(sorted[i]), static_cast<char*>(out[i]));
        }
      },
      100 + 20.0 * static_cast<double>(size));
}

}  // namespace jaxmps::ops
