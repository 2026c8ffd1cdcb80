// Building elementwise blocks: a function on widened MLX arrays becomes a lowering for every type
// MLX can hold, small ones included. Used by the elementwise families only. Any thread.
#pragma once

#include <cmath>
#include <utility>

#include "ops/small_types.h"

namespace jaxmps::ops {

inline bool is_wide_float(DType t) {
  return t == DType::f16 || t == DType::bf16 || t == DType::f32 || t == DType::f64;
}

// The unsigned MLX type of the same width.
mx::Dtype unsigned_dtype(mx::Dtype dtype);
// The bits of an integer in an unsigned type, those above its width zero.
mx::array as_unsigned(const mx::array& a, DType type);
// What stablehlo.convert does to widened values; the result is stored (narrowed).
mx::array convert_array(const mx::array& a, DType from, DType to);
// A complex64 array of two float32 ones.
mx::array make_complex(const mx::array& re, const mx::array& im);
// XLA's quotient and remainder of integers: towards zero, by zero -1 and the dividend.
mx::array divide_ints(const mx::array& a, const mx::array& b, DType type);
mx::array remainder_ints(const mx::array& a, const mx::array& b, DType type);

// Maximum or minimum of two arrays, along axes, and of what precedes along an axis, in IEEE
// 754-2019's sense: NaN wins, and -0 is less than +0. In widened types; MLX's own take either zero.
mx::array extreme(const mx::array& a, const mx::array& b, bool maximum);
mx::array extreme_along(const mx::array& a, const std::vector<int>& axes, bool keepdims,
                        bool maximum);
mx::array extreme_so_far(const mx::array& a, int axis, bool reverse, bool maximum);

template <typename F>
Result<Lowering> unary(const OpContext& ctx, F f) {
  if (auto why = refused_types(ctx); !why.empty()) return ctx.fail(why);
  return graph([f, from = ctx.in(0).dtype, to = ctx.out().dtype](Inputs in) {
    return one(narrow(f(widen(in[0], from)), to));
  });
}

template <typename F>
Result<Lowering> binary(const OpContext& ctx, F f) {
  if (auto why = refused_types(ctx); !why.empty()) return ctx.fail(why);
  return graph([f, from = ctx.in(0).dtype, to = ctx.out().dtype](Inputs in) {
    return one(narrow(f(widen(in[0], from), widen(in[1], from)), to));
  });
}

// Half-precision values computed in float32, rounded once.
template <typename F>
auto in_float32(F f) {
  return [f](const mx::array& a) {
    if (a.dtype() != mx::float16 && a.dtype() != mx::bfloat16) return f(a);
    return mx::astype(f(mx::astype(a, mx::float32)), a.dtype());
  };
}

// A scalar double function as a kernel of the CPU, where MLX has only float32 accuracy.
template <typename F>
Lowering native_f64(const OpContext& ctx, F f) {
  const int64_t size = ctx.in(0).size();
  return native(
      [=](const void* const* in, void* const* out) {
        const auto* x = static_cast<const double*>(in[0]);
        auto* y = static_cast<double*>(out[0]);
        for (int64_t i = 0; i < size; ++i) y[i] = f(x[i]);
      },
      20.0 * static_cast<double>(size), {0});
}

}  // namespace jaxmps::ops
