#include "kernels/cpu/micro.h"

#if defined(__AVX512F__) && defined(__AVX512BW__)

#include <immintrin.h>

#include "kernels/cpu/micro_impl.h"

namespace jaxmps::cpu {
namespace {

struct I16Math {
  using A = uint32_t;
  using C = int32_t;
  static constexpr int kLanes = 16;
  typedef int32_t Vec __attribute__((vector_size(64)));
  typedef int32_t BVec __attribute__((vector_size(64)));
  static inline __attribute__((always_inline)) void step(Vec& acc, uint32_t a, const BVec& b) {
    const __m512i pair = _mm512_set1_epi32(static_cast<int>(a));
    acc = (Vec)_mm512_add_epi32((__m512i)acc, _mm512_madd_epi16((__m512i)b, pair));
  }
};

constexpr Micro<uint32_t, int32_t> kI16 = pair_micro<I16Math, 8, 2>();
constexpr MicroSet kSet = {float_micro<float, 64, 8, 2>(), float_micro<double, 64, 8, 2>(), &kI16};

}  // namespace

const MicroSet* micro_set_avx512() { return &kSet; }

}  // namespace jaxmps::cpu

#else

namespace jaxmps::cpu {
const MicroSet* micro_set_avx512() { return nullptr; }
}  // namespace jaxmps::cpu

#endif
