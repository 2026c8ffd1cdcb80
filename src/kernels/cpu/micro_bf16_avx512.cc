#include "kernels/cpu/micro.h"

// The flags of this file stop short of the bf16 instruction; the pragma adds it, after all headers.
#if defined(__AVX512F__) && defined(__AVX512BW__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512bf16"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512bf16")
#endif

#include "kernels/cpu/micro_impl.h"

namespace jaxmps::cpu {
namespace {

struct BF16Math {
  using A = uint32_t;
  using C = float;
  static constexpr int kLanes = 16;
  typedef float Vec __attribute__((vector_size(64)));
  typedef int32_t BVec __attribute__((vector_size(64)));
  static inline __attribute__((always_inline)) void step(Vec& acc, uint32_t a, const BVec& b) {
    const __m512i pair = _mm512_set1_epi32(static_cast<int>(a));
    acc = (Vec)_mm512_dpbf16_ps((__m512)acc, (__m512bh)(__m512i)b, (__m512bh)pair);
  }
};

constexpr Micro<uint32_t, float> kMicro = pair_micro<BF16Math, 8, 2>();

}  // namespace

const Micro<uint32_t, float>* micro_bf16_avx512() { return &kMicro; }

}  // namespace jaxmps::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

namespace jaxmps::cpu {
const Micro<uint32_t, float>* micro_bf16_avx512() { return nullptr; }
}  // namespace jaxmps::cpu

#endif
