// The ways to compute one product of a batch; internal to gemm*.cc. Each throws std::bad_alloc when
// memory runs out, spreads its work over the pool, and does what Gemm's strides say.
#pragma once

#include <cstdint>

#include "kernels/cpu/gemm.h"

namespace jaxmps::cpu {

// Through the BLAS: f32, f64, c64, c128. REQUIRES: blas_takes(g).
void gemm_blas(const Gemm& g, const void* a, const void* b, void* c);
bool blas_takes(const Gemm& g);

// Simple loops for every supported pair of types.
void gemm_plain(const Gemm& g, const void* a, const void* b, void* c);

}  // namespace jaxmps::cpu
