// Discrete Fourier transforms in double precision over the last dimensions of a batch.
// Any length: radix 2 in place, other lengths through a convolution of the next power of two.
// Pure function; allocates working memory per call (std::bad_alloc); any thread.
#pragma once

#include <cstdint>

#include "ir/type.h"

namespace jaxmps::cpu {

struct FftPlan {
  int64_t batch = 1;
  ir::Dims lengths;  // of the transform; the last one counts real elements if one side is real
  bool inverse = false;
  bool real_input = false;   // double in, the non-negative half of the spectrum out
  bool real_output = false;  // the reverse
};

void fft(const FftPlan& plan, const void* in, void* out);

}  // namespace jaxmps::cpu
