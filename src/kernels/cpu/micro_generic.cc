#include "kernels/cpu/micro_impl.h"

namespace jaxmps::cpu {
namespace {

// 128-bit vectors are in the base instruction set of every processor we meet: SSE2 with 16
// registers, NEON with 32.
#if defined(__aarch64__)
constexpr MicroSet kSet = {float_micro<float, 16, 6, 4>(), float_micro<double, 16, 6, 4>(),
                           nullptr};
#else
constexpr MicroSet kSet = {float_micro<float, 16, 6, 2>(), float_micro<double, 16, 6, 2>(),
                           nullptr};
#endif

}  // namespace

const MicroSet* micro_set_generic() { return &kSet; }

}  // namespace jaxmps::cpu
