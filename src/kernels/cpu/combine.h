// How kernels combine two elements: scatters, scans and windows by an opcode, products by a sum.
// Stateless functions; everything is internal to the including file.
#pragma once

#include "kernels/cpu/dtype.h"
#include "scalar/functions.h"

namespace jaxmps::cpu {
namespace {

using scalar::Opcode;

// The textbook product; std::complex's own checks every result for NaN.
struct ComplexProduct {
  template <typename T>
  static T call(T a, T b) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  }
};

// with_combiner of a combiner that is known when this is compiled.
template <typename R, Opcode op, typename G>
R with_combiner_of(DType dtype, G g) {
  return with_element(dtype, [&](auto element) -> R {
    using T = decltype(element);
    constexpr bool kArithmetic = op == Opcode::add || op == Opcode::sub || op == Opcode::mul;
    constexpr bool kOrder = op == Opcode::max || op == Opcode::min;
    if constexpr (op == Opcode::mul && kComplex<T>) {
      return g(ComplexProduct(), element);
    } else if constexpr (std::is_integral_v<T> && !kOrder) {
      // Alike with and without sign.
      return g(scalar::Function<op>(), std::make_unsigned_t<T>());
    } else if constexpr (kArithmetic || (kOrder && !kComplex<T>)) {
      return g(scalar::Function<op>(), element);
    } else {
      return R();
    }
  });
}

// Whether F combines T as numbers or truth values, not as bits.
template <typename F, typename T>
inline constexpr bool kCombinesValues =
    std::is_same_v<T, uint8_t> || requires { F::call(0.0f, 0.0f); };

// g(f, T()) with T the C++ type of the elements and f::call(a, b) what combines two of their
// Computed<T>; R() if the opcode combines no elements of the type.
template <typename R, typename G>
R with_combiner(Opcode op, DType dtype, G g) {
  if (dtype == DType::pred) op = scalar::of_booleans(op);
  if (dtype == DType::pred && class_of(op) != scalar::OpClass::bits_binary) return R();
  switch (op) {
#define SCALAR_REDUCTION(reduction, combining) \
  case Opcode::combining:                      \
    return with_combiner_of<R, Opcode::combining>(dtype, g);
#include "ir/scalar_ops.def"
    default:
      return R();
  }
}

// The type in which products of such elements are added up. Integers wrap, as their unsigned
// counterparts do.
template <typename T>
struct SummedIn {
  using type = Computed<T>;
};
template <typename T>
requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) struct SummedIn<T> {
  using type = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
};
template <typename T>
using Summed = typename SummedIn<T>::type;

template <typename S>
void multiply_add(S& sum, S a, S b) {
  if constexpr (std::is_same_v<S, bool>) {
    sum = sum || (a && b);
  } else if constexpr (kComplex<S>) {
    sum += ComplexProduct::call(a, b);
  } else {
    sum += a * b;
  }
}

}  // namespace
}  // namespace jaxmps::cpu
