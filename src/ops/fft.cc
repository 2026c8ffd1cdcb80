#include "kernels/cpu/fft.h"

#include "ops/host_call.h"

namespace jaxmps::ops {
namespace {

mx::array transform(ir::FftType type, const mx::array& x, const mx::Shape& length,
                    const std::vector<int>& axes) {
  switch (type) {
    case ir::FftType::fft:
      return mx::fft::fftn(x, length, axes);
    case ir::FftType::ifft:
      return mx::fft::ifftn(x, length, axes);
    case ir::FftType::rfft:
      return mx::fft::rfftn(x, length, axes);
    default:
      return mx::fft::irfftn(x, length, axes);
  }
}

// float64 and complex128, which MLX does not transform.
Lowering in_double(const OpContext& ctx, ir::FftType type) {
  cpu::FftPlan plan;
  plan.lengths = ctx.op.ints("fft_length");
  plan.inverse = type == ir::FftType::ifft || type == ir::FftType::irfft;
  plan.real_input = type == ir::FftType::rfft;
  plan.real_output = type == ir::FftType::irfft;
  const size_t batch_rank = ctx.in(0).dims.size() - plan.lengths.size();
  for (size_t d = 0; d < batch_rank; ++d) plan.batch *= ctx.in(0).dims[d];
  return native([plan](const void* const* in, void* const* out) { cpu::fft(plan, in[0], out[0]); },
                100 + 50.0 * static_cast<double>(ctx.in(0).size()));
}

}  // namespace

ANY_DTYPE_OP(fft) {
  const auto type = ctx.op.enum_attr<ir::FftType>("fft_type");
  const DType real = ir::real_type(ctx.in(0).dtype);
  if (real != DType::f32 && real != DType::f64) {
    return ctx.fail(str(ir::name(ctx.in(0).dtype), " is not transformed"));
  }
  const mx::Shape shape = ctx.out_shape();
  const mx::Dtype dtype = ctx.out_dtype();
  if (real == DType::f64) return in_double(ctx, type);
  const mx::Shape length = ctx.shape("fft_length");
  std::vector<int> axes;
  for (size_t i = 0; i < length.size(); ++i) {
    axes.push_back(static_cast<int>(shape.size() - length.size() + i));
  }
  if (axes.empty()) {
    return graph([=](Inputs in) { return one(mx::astype(in[0], dtype)); });
  }
  return graph([=](Inputs in) { return one(transform(type, in[0], length, axes)); });
}

}  // namespace jaxmps::ops
