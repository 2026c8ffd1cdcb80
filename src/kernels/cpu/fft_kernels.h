// The loops of Fourier transforms: complex numbers in the lanes of vectors, each lane a transform
// of its own or a part of one. Compiled for several instruction sets from one source (fft_impl.h);
// fft.cc plans and chooses. Internal to these. Stateless functions on the caller's memory, which
// need not be aligned; any thread.
#pragma once

#include <cstdint>

namespace jaxmps::cpu {

constexpr int kMostFftRadix = 127;

// n / radix butterflies of a transform of length n = outer * radix * inner. Roots are pairs of real
// and imaginary parts.
template <typename T>
struct FftPass {
  int radix;  // 4, 8 or a prime up to kMostFftRadix
  int64_t inner, outer;
  const T* roots;   // exp(-2 pi i j u / (radix * inner)) at [j][u - 1]
  const T* spokes;  // exp(2 pi i k / radix) at [k - 1], k < radix
};

// By which results are multiplied that are the operands of another transform: result k of line
// first + l by exp(-2 pi i k (first + l) / n).
template <typename T>
struct FftTwist {
  int64_t first;
  const T* lanes;  // exp(-2 pi i k l / n) of all lanes at [k]: real, then imaginary parts
  const double *coarse, *fine;  // exp(-2 pi i k / n) is coarse[k >> shift] * fine[k & mask], pairs
  int shift;
};

// Where complex numbers lie and how: pairs, or exchanged, which turns the transform's direction.
template <typename P>
struct FftPlace {
  P at;
  int64_t element, line;  // steps, in complex numbers
  bool is_swapped;
};

// Whether n complex numbers are the halves of 2 n real ones, and which side is those.
enum class FftReal : uint8_t { none, operand, result };

// Up to `width` transforms of the same length. The side of the spectrum of real numbers has n + 1
// elements.
template <typename T>
struct FftLines {
  int64_t n;
  const FftPass<T>* passes;
  int pass_count;
  FftPlace<const T*> in;
  FftPlace<T*> out;
  int count;  // of lines
  T scale;
  const FftTwist<T>* twist;  // or null
  FftReal real;
  const T* real_roots;  // exp(-pi i k / n) for k <= n / 2
  T* scratch;           // 4 * (n + 1) * width
};

// One transform of length parts * n: element j of part p is element j * parts + p.
template <typename T>
struct FftLine {
  int64_t n;  // of a part
  const FftPass<T>* passes;
  int pass_count;
  int parts;        // a radix, at most the width
  const T* roots;   // exp(-2 pi i k p / (parts * n)) at [k] as in FftTwist::lanes
  const T* spokes;  // of radix `parts`
  FftPlace<const T*> in;
  FftPlace<T*> out;  // dense, both
  T scale;
  T* scratch;  // 4 * (n + 1) * width
};

template <typename T>
struct FftKernels {
  int width;
  void (*lines)(const FftLines<T>&);
  void (*line)(const FftLine<T>&);
  // out[i] = in[i] * factor[i] * scale, for i < n.
  void (*multiply)(int64_t n, FftPlace<const T*> in, const T* factor, FftPlace<T*> out, T scale);
  // Between the transform of 2 half real numbers, half + 1 values, and that of the same numbers
  // taken as `half` complex ones, to which value `half` is the first again. For the values k and
  // half - k, begin <= k < end <= half / 2 + 1; roots are exp(-pi i k / half).
  void (*untangle)(int64_t half, const T* roots, T* x, int64_t begin, int64_t end);
  // Back, times two. `to` has half + 1 elements too. Imaginary parts of values 0 and `half` are not
  // looked at.
  void (*tangle)(int64_t half, const T* roots, const T* x, T* to, int64_t begin, int64_t end);
};

struct FftSet {
  FftKernels<float> f32;
  FftKernels<double> f64;
};
const FftSet* fft_set_generic();
const FftSet* fft_set_avx2();  // null when not compiled in

}  // namespace jaxmps::cpu
