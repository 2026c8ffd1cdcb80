#include "kernels/cpu/fft.h"

#include "ops/pieces.h"

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

// By an estimate for MLX's kernels for Metal: short rows are transformed in fast memory, longer
// ones in steps, and by convolution where their length is no power of two.
double nanoseconds_of(const mx::array& x, int length, int axis, const ir::Pace& pace) {
  const bool is_power = (length & (length - 1)) == 0;
  const double passes = length <= 4096 ? 1 : is_power ? 3 : 24;
  const double elements = static_cast<double>(x.size()) / x.shape(axis) * length;
  return pace.nanoseconds(0, 16 * passes * elements);
}

// Along one axis; where that takes long, for parts of another one.
mx::array transform_axis(ir::FftType type, const mx::array& x, int length, int axis,
                         const ir::Pace& pace) {
  int other = axis == 0 && x.ndim() > 1 ? 1 : 0;
  for (int d = 0; d < static_cast<int>(x.ndim()); ++d) {
    if (d != axis && x.shape(d) > x.shape(other)) other = d;
  }
  if (other == axis) return transform(type, x, {length}, {axis});
  const int64_t pieces = pace.pieces(nanoseconds_of(x, length, axis, pace));
  return in_pieces(x.shape(other), pieces, other, [&](int from, int to) {
    return transform(type, part_of(x, other, from, to), {length}, {axis});
  });
}

// Of MLX's transforms the one along several axes is one call.
mx::array transform_in_pieces(ir::FftType type, mx::array x, const mx::Shape& length,
                              const std::vector<int>& axes, const ir::Pace& pace) {
  double nanoseconds = 0;
  for (size_t i = 0; i < axes.size(); ++i)
    nanoseconds += nanoseconds_of(x, length[i], axes[i], pace);
  if (pace.pieces(nanoseconds) == 1) return transform(type, x, length, axes);
  // The real ones are the first along the last axis or the last.
  const bool is_inverse = type == ir::FftType::ifft || type == ir::FftType::irfft;
  const auto along = [&](ir::FftType way, size_t i) {
    x = transform_axis(way, x, length[i], axes[i], pace);
  };
  const size_t last = axes.size() - 1;
  if (!is_inverse) along(type, last);
  for (size_t i = 0; i < last; ++i) along(is_inverse ? ir::FftType::ifft : ir::FftType::fft, i);
  if (is_inverse) along(type, last);
  return x;
}

}  // namespace

ANY_DTYPE_OP(fft) {
  const auto type = ctx.op.enum_attr<ir::FftType>("fft_type");
  const DType real = ir::real_type(ctx.in(0).dtype);
  const mx::Shape shape = ctx.out_shape();
  if (ctx.target.runs_native) {
    cpu::Fft plan = cpu::plan_fft(type, real, ctx.in(0).dims, ctx.op.ints("fft_length"));
    return native([run = std::move(plan.run)](const void* const* in,
                                              void* const* out) { run(in[0], out[0]); },
                  plan.nanoseconds, {ctx.in(0).dtype == ctx.out().dtype ? 0 : -1});
  }
  const mx::Shape length = ctx.shape("fft_length");
  std::vector<int> axes;
  for (size_t i = 0; i < length.size(); ++i) {
    axes.push_back(static_cast<int>(shape.size() - length.size() + i));
  }
  return graph([=, pace = ctx.target.pace](Inputs in) {
    return one(transform_in_pieces(type, in[0], length, axes, pace));
  });
}

}  // namespace jaxmps::ops
