#include "kernels/cpu/fft_impl.h"

namespace jaxmps::cpu {

const FftSet* fft_set_generic() {
  static constexpr FftSet kSet = {fft_kernels<float, 16>(), fft_kernels<double, 16>()};
  return &kSet;
}

}  // namespace jaxmps::cpu
