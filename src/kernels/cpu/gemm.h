// Matrix products on raw pointers: C[batch, m, n] = A[batch, m, k] * B[batch, k, n].
//
// Any strides for A and B, so that transposed operands and batches in any memory order need no
// copy. Runs on the pool of threads.h; callable from any thread; the result does not depend on the
// number of threads. Sums of 16-bit floats are kept in f32. f64 and complex go to the BLAS of
// blas.h where there is one.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/dtype.h"

namespace jaxmps::cpu {

// One batch dimension and its strides, in elements.
struct GemmBatch {
  int64_t size, a, b, c;
};

struct Gemm {
  DType in = DType::f32;  // of A and B
  DType out = DType::f32;
  int64_t m = 0, n = 0, k = 0;
  int64_t a_row = 0, a_col = 1;  // strides of A[m, k], in elements
  int64_t b_row = 0, b_col = 1;  // of B[k, n]
  int64_t c_row = 0;             // of C[m, n], whose columns are adjacent
  std::vector<GemmBatch> batch;
};

// in == out for every type, and bf16 -> f32, f16 -> f32, i8/u8/i16/u16 -> i32 or u32.
bool gemm_supported(DType in, DType out);

// REQUIRES: gemm_supported. C may not overlap A or B. Throws std::bad_alloc when memory runs out.
void gemm(const Gemm& g, const void* a, const void* b, void* c);

// The same for float32 and float64 and sums of up to kMostHalved terms: products, summed by halves
// as reductions of a tile are, then added to 0.
inline constexpr int64_t kMostHalved = 8;
void gemm_halved(const Gemm& g, const void* a, const void* b, void* c);

}  // namespace jaxmps::cpu
