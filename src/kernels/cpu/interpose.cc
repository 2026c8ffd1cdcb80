// MLX's CPU library calls cblas_*gemm of the reference BLAS in its wheel. On Linux this library
// defines the same names: it is searched before the BLAS that libmlx was linked with, so products
// that MLX computes itself (inside its own ops) run on the tuned library too. Where none is found,
// the calls go on to the BLAS they were meant for.
#if defined(__linux__)

#include <dlfcn.h>

#include "kernels/cpu/blas.h"

namespace jaxmps::cpu {
namespace {

// The function of this name that would be called if ours did not exist.
template <typename Function>
Function* next_in_line(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

template <typename Function>
Function* resolve(Function* Blas::*tuned, const char* name) {
  const Blas* library = blas();
  return library ? library->*tuned : next_in_line<Function>(name);
}

}  // namespace
}  // namespace jaxmps::cpu

#define JAXMPS_EXPORT extern "C" __attribute__((visibility("default")))
using jaxmps::cpu::Blas;

JAXMPS_EXPORT void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k,
                               float alpha, const float* a, int lda, const float* b, int ldb,
                               float beta, float* c, int ldc) {
  static auto* gemm = jaxmps::cpu::resolve(&Blas::sgemm, "cblas_sgemm");
  gemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

JAXMPS_EXPORT void cblas_dgemm(int order, int trans_a, int trans_b, int m, int n, int k,
                               double alpha, const double* a, int lda, const double* b, int ldb,
                               double beta, double* c, int ldc) {
  static auto* gemm = jaxmps::cpu::resolve(&Blas::dgemm, "cblas_dgemm");
  gemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

JAXMPS_EXPORT void cblas_cgemm(int order, int trans_a, int trans_b, int m, int n, int k,
                               const void* alpha, const void* a, int lda, const void* b, int ldb,
                               const void* beta, void* c, int ldc) {
  static auto* gemm = jaxmps::cpu::resolve(&Blas::cgemm, "cblas_cgemm");
  gemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

#endif
