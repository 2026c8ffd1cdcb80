#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels/cpu/micro_impl.h"

namespace jaxmps::cpu {
namespace {

// 128-bit vectors are in the base instruction set of every processor we meet: SSE2 with 16
// registers, NEON with 32.
#if defined(__aarch64__)
// Two products of 16-bit values in each lane: the lower halves, then the upper ones.
struct I16Math {
  using A = uint32_t;
  using C = int32_t;
  static constexpr int kLanes = 4;
  typedef int32_t Vec __attribute__((vector_size(16)));
  typedef int32_t BVec __attribute__((vector_size(16)));
  static inline __attribute__((always_inline)) void step(Vec& acc, uint32_t a, const BVec& b) {
    const int16x4_t low = vmovn_s32((int32x4_t)b), high = vshrn_n_s32((int32x4_t)b, 16);
    int32x4_t sum = vmlal_n_s16((int32x4_t)acc, low, static_cast<int16_t>(a & 0xffffu));
    sum = vmlal_n_s16(sum, high, static_cast<int16_t>(a >> 16));
    acc = (Vec)sum;
  }
};

constexpr Micro<uint32_t, int32_t> kI16 = pair_micro<I16Math, 6, 2>();
constexpr MicroSet kSet = {float_micro<float, 16, 6, 4>(), float_micro<double, 16, 6, 4>(), &kI16};
#else
constexpr MicroSet kSet = {float_micro<float, 16, 6, 2>(), float_micro<double, 16, 6, 2>(),
                           nullptr};
#endif

}  // namespace

const MicroSet* micro_set_generic() { return &kSet; }

}  // namespace jaxmps::cpu
