// The languages that GPU kernels are printed in. They share one text: a dialect begins it with the
// words in which they differ (types, address spaces, barriers, bits of floats, functions of its
// library). Constants; any thread.
#pragma once

#include <string_view>

#include "ir/target.h"

namespace jaxmps::kernels {

struct Dialect {
  const ir::Target& target;  // whose limits hold
  // What every source begins with: the words, and the functions that kernels use.
  std::string_view prelude;
};

const Dialect& cuda_dialect();
const Dialect& metal_dialect();

// Parts of preludes. What C++ says in the same words, functions of float32 apart:
std::string_view gpu_text();
std::string_view gpu_math_text();
// More of these, made of additions, products and fma, within the ulps of ir/scalar_ops.def, for
// dialects whose library lacks them or is less exact.
std::string_view gpu_float32_text();
std::string_view gpu_trigonometric_text();

}  // namespace jaxmps::kernels
