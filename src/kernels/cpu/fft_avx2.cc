#include "kernels/cpu/fft_kernels.h"

// Compiled with this instruction set switched on by the build; elsewhere there is no such set.
#ifdef __AVX2__
#include "kernels/cpu/fft_impl.h"

namespace jaxmps::cpu {
const FftSet* fft_set_avx2() {
  static constexpr FftSet kSet = {fft_kernels<float, 32>(), fft_kernels<double, 32>()};
  return &kSet;
}
}  // namespace jaxmps::cpu
#else
namespace jaxmps::cpu {
const FftSet* fft_set_avx2() { return nullptr; }
}  // namespace jaxmps::cpu
#endif
