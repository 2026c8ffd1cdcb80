// The tuned BLAS and LAPACK of the machine, loaded at first use: Accelerate on macOS, elsewhere the
// library of the scipy-openblas32 package, whose symbols begin with scipy_.
//
// The library is held to one thread, the threading is ours, and is never unloaded. Everything may
// be called from any thread, set_blas_library only before the first use.
#pragma once

#include <string>

namespace jaxmps::cpu {

struct Blas {
  using Gemm = void(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                    const float* a, int lda, const float* b, int ldb, float beta, float* c,
                    int ldc);
  using GemmF64 = void(int order, int trans_a, int trans_b, int m, int n, int k, double alpha,
                       const double* a, int lda, const double* b, int ldb, double beta, double* c,
                       int ldc);
  using GemmComplex = void(int order, int trans_a, int trans_b, int m, int n, int k,
                           const void* alpha, const void* a, int lda, const void* b, int ldb,
                           const void* beta, void* c, int ldc);
  static constexpr int kRowMajor = 101;
  static constexpr int kNoTrans = 111;
  static constexpr int kTrans = 112;

  Gemm* sgemm;
  GemmF64* dgemm;
  GemmComplex* cgemm;
  GemmComplex* zgemm;
};

// Names the library to load; without it JAX_MPS_BLAS_LIBRARY, then the folders beside this library.
void set_blas_library(const std::string& path);

// Null when no library was found or one of its symbols is missing.
const Blas* blas();

// Why blas() is null; empty when it is not.
const std::string& blas_error();

// The address of a BLAS or LAPACK function by its usual name ("sgetrf_"), or null.
void* blas_symbol(const char* name);

}  // namespace jaxmps::cpu
