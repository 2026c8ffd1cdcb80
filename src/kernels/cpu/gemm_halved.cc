#include <algorithm>
#include <cassert>
#include <utility>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/threads.h"
#include "scalar/scalar_math.h"

namespace jaxmps::cpu {
namespace {

// GCC and clang contract within a statement at most, where products are kept in an array first.
template <int terms, typename T>
JAXMPS_NO_CONTRACT void products(const Gemm& g, size_t dim, const T* a, const T* b, T* c) {
  if (dim < g.batch.size()) {
    const GemmBatch& batch = g.batch[dim];
    for (int64_t i = 0; i < batch.size; ++i) {
      products<terms>(g, dim + 1, a + i * batch.a, b + i * batch.b, c + i * batch.c);
    }
    return;
  }
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      T sums[terms];
      for (int k = 0; k < terms; ++k) {
        sums[k] = a[i * g.a_row + k * g.a_col] * b[j * g.b_col + k * g.b_row];
      }
      for (int live = terms; live > 1; live = (live + 1) / 2) {
        for (int k = 0, half = (live + 1) / 2; k + half < live; ++k) sums[k] += sums[k + half];
      }
      c[i * g.c_row + j] = T(0) + sums[0];
    }
  }
}

// Many matrices are shared out among the threads.
template <int terms, typename T>
void all_products(const Gemm& g, const T* a, const T* b, T* c) {
  constexpr int64_t kGrain = 1 << 14;  // products
  int64_t work = g.m * g.n * terms;
  for (const GemmBatch& batch : g.batch) work *= batch.size;
  if (g.batch.empty() || work <= kGrain) {
    return products<terms>(g, 0, a, b, c);
  }
  const GemmBatch& outer = g.batch[0];
  const int64_t grain = std::max<int64_t>(1, kGrain * outer.size / work);
  parallel_for(outer.size, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      products<terms>(g, 1, a + i * outer.a, b + i * outer.b, c + i * outer.c);
    }
  });
}

template <typename T, int... before>
void with_terms(const Gemm& g, const void* a, const void* b, void* c,
                std::integer_sequence<int, before...> /*fewer*/) {
  const auto run = [&](auto call) {
    call(g, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(c));
  };
  ((g.k == before + 1 ? run(all_products<before + 1, T>) : void()), ...);
}

}  // namespace

void gemm_halved(const Gemm& g, const void* a, const void* b, void* c) {
  assert(g.k > 0 && g.k <= kMostHalved);
  constexpr std::make_integer_sequence<int, kMostHalved> fewer;
  if (g.in == DType::f32) return with_terms<float>(g, a, b, c, fewer);
  with_terms<double>(g, a, b, c, fewer);
}

}  // namespace jaxmps::cpu
