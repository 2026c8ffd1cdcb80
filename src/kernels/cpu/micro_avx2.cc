#include "kernels/cpu/micro.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

#include "kernels/cpu/micro_impl.h"

namespace jaxmps::cpu {
namespace {

struct I16Math {
  using A = uint32_t;
  using C = int32_t;
  static constexpr int kLanes = 8;
  typedef int32_t Vec __attribute__((vector_size(32)));
  typedef int32_t BVec __attribute__((vector_size(32)));
  static inline __attribute__((always_inline)) void step(Vec& acc, uint32_t a, const BVec& b) {
    const __m256i pair = _mm256_set1_epi32(static_cast<int>(a));
    acc = (Vec)_mm256_add_epi32((__m256i)acc, _mm256_madd_epi16((__m256i)b, pair));
  }
};

constexpr Micro<uint32_t, int32_t> kI16 = pair_micro<I16Math, 6, 2>();
constexpr MicroSet kSet = {float_micro<float, 32, 6, 2>(), float_micro<double, 32, 6, 2>(), &kI16};

}  // namespace

const MicroSet* micro_set_avx2() { return &kSet; }

}  // namespace jaxmps::cpu

#else

namespace jaxmps::cpu {
const MicroSet* micro_set_avx2() { return nullptr; }
}  // namespace jaxmps::cpu

#endif
