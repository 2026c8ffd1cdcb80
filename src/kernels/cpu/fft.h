// Discrete Fourier transforms of float32 and float64 over the last one to three dimensions of an
// array, of any length: mixed radix, other prime factors through a convolution.
//
// A transform is planned when a program is compiled (its roots are computed in double) and is
// immutable. It runs on the pool of threads.h where the work is worth it, with scratch memory of
// the threads; the values depend on neither. Callable from any thread; throws std::bad_alloc.
#pragma once

#include <functional>

#include "ir/attr.h"
#include "ir/type.h"
#include "kernels/cpu/vec.h"

namespace jaxmps::cpu {

struct Fft {
  // Dense row-major arrays; where both are complex they may be the same memory.
  std::function<void(const void* in, void* out)> run;
  double nanoseconds = 0;  // estimated, on one core
};

// `real` is f32 or f64; `dims` are the operand's, `lengths` those of the transform as in
// stablehlo.fft: the last one counts real numbers if one side is real. `vectors`: which loops, by
// the name of the VecTable for the same processor.
Fft plan_fft(ir::FftType type, ir::DType real, const ir::Dims& dims, const ir::Ints& lengths,
             const VecTable& vectors = vec_table());

}  // namespace jaxmps::cpu
