#include <algorithm>
#include <cassert>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/threads.h"
#include "scalar/scalar_math.h"

namespace jaxmps::cpu {
namespace {

// GCC and clang contract within a statement at most, where products are kept in an array first.
template <typename T>
JAXMPS_NO_CONTRACT T sum_of_products(const T* a, int64_t a_step, const T* b, int64_t b_step,
                                     int64_t k) {
  T terms[kMostHalved];
  for (int64_t i = 0; i < k; ++i) terms[i] = a[i * a_step] * b[i * b_step];
  for (int64_t live = k; live > 1;) {
    const int64_t half = (live + 1) / 2;
    for (int64_t i = 0; i + half < live; ++i) terms[i] += terms[i + half];
    live = half;
  }
  return T(0) + terms[0];
}

template <typename T>
void products(const Gemm& g, size_t dim, const T* a, const T* b, T* c) {
  if (dim < g.batch.size()) {
    const GemmBatch& batch = g.batch[dim];
    for (int64_t i = 0; i < batch.size; ++i) {
      products(g, dim + 1, a + i * batch.a, b + i * batch.b, c + i * batch.c);
    }
    return;
  }
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      c[i * g.c_row + j] = sum_of_products(a + i * g.a_row, g.a_col, b + j * g.b_col, g.b_row, g.k);
    }
  }
}

// Many matrices are shared out among the threads.
template <typename T>
void all_products(const Gemm& g, const T* a, const T* b, T* c) {
  constexpr int64_t kGrain = 1 << 14;  // products
  int64_t work = g.m * g.n * g.k;
  for (const GemmBatch& batch : g.batch) work *= batch.size;
  if (g.batch.empty() || work <= kGrain) {
    return products(g, 0, a, b, c);
  }
  const GemmBatch& outer = g.batch[0];
  const int64_t grain = std::max<int64_t>(1, kGrain * outer.size / work);
  parallel_for(outer.size, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      products(g, 1, a + i * outer.a, b + i * outer.b, c + i * outer.c);
    }
  });
}

}  // namespace

void gemm_halved(const Gemm& g, const void* a, const void* b, void* c) {
  assert(g.k > 0 && g.k <= kMostHalved);
  if (g.in == DType::f32) {
    return all_products(g, static_cast<const float*>(a), static_cast<const float*>(b),
                        static_cast<float*>(c));
  }
  all_products(g, static_cast<const double*>(a), static_cast<const double*>(b),
               static_cast<double*>(c));
}

}  // namespace jaxmps::cpu
