// Plans of complex transforms along one dimension, for fft.cc.
//
// A line owns its roots and is immutable once built; its functions run on the memory that they are
// given and on scratch memory of the thread. Unscaled but for `scale`; from exp(-2 pi i / n), or
// the inverse where `is_inverse`.
#pragma once

#include <complex>
#include <memory>
#include <vector>

#include "kernels/cpu/fft_kernels.h"

namespace jaxmps::cpu {

// exp(-2 pi i k / n) for 0 <= k < n.
std::complex<double> fft_root(int64_t k, int64_t n);

// Numbers of loops, aligned for them.
template <typename T>
class FftTable {
 public:
  FftTable() = default;
  explicit FftTable(int64_t size);
  T* data() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_.get()[i]; }
  // Complex number i, as a pair.
  void set(int64_t i, std::complex<double> value) const;

 private:
  struct Free {
    void operator()(T* data) const;
  };
  std::unique_ptr<T[], Free> data_;
};

template <typename T>
class FftLinePlan {
 public:
  // `lines`: how many there are to be transformed together.
  FftLinePlan(int64_t n, int64_t lines, const FftKernels<T>& kernels);

  int64_t length() const { return n_; }
  // Whether one transform is shared by the threads; it is called outside of parallel_for then.
  bool is_shared() const { return long_ || (inner_ && inner_->is_shared()); }
  // How many rows are best given to `rows` at once, of very many.
  int64_t batch() const { return prefers_lanes_ ? kernels_.width : 1; }
  double nanoseconds() const { return nanoseconds_; }

  // `count` dense lines. `in` and `out` may be the same memory.
  void rows(int64_t count, const T* in, int64_t in_line, T* out, int64_t out_line, bool is_inverse,
            T scale) const;
  // Whether so many rows of real numbers, taken as complex ones, are best transformed with them.
  bool takes_real(int64_t count) const { return prefers_lanes_ && count > 1; }
  // Likewise, dense; `roots` as FftLines::real_roots.
  void real_rows(int64_t count, const T* in, T* out, bool is_inverse, T scale,
                 const T* roots) const;
  // `count` lines side by side, elements `step` apart, at most the width of the loops.
  void columns(int64_t count, const T* in, T* out, int64_t step, bool is_inverse, T scale) const;

 private:
  struct Passes {
    std::vector<FftPass<T>> passes;
    std::vector<FftTable<T>> tables;
    int count() const { return static_cast<int>(passes.size()); }
  };
  // A transform of n1 * n2 as n2 of n1 and n1 of n2.
  struct Long {
    int64_t n1, n2;
    Passes first, second;
    FftTable<T> lanes;
    FftTable<double> coarse, fine;
    int shift;
  };

  Passes plan_passes(int64_t n) const;
  FftTable<T> spokes(int radix) const;
  void plan_parts();
  void plan_long();
  void plan_convolution();
  void lines(const Passes& passes, int64_t n, int64_t count, FftPlace<const T*> in,
             FftPlace<T*> out, T scale, const FftTwist<T>* twist = nullptr,
             FftReal real = FftReal::none, const T* real_roots = nullptr) const;
  void row(const T* in, T* out, bool is_inverse, T scale) const;
  void long_row(const T* in, T* out, bool is_inverse, T scale) const;
  void convolved_row(const T* in, T* out, bool is_inverse, T scale) const;

  const FftKernels<T>& kernels_;
  const int64_t n_;
  double nanoseconds_ = 0;
  bool prefers_lanes_ = false;
  Passes whole_;   // in the lanes
  int parts_ = 0;  // of one line over the lanes; 0: there is no such form
  Passes part_;
  FftTable<T> part_roots_, part_spokes_;
  std::unique_ptr<Long> long_;
  // Where n has a large prime factor: the transform is a convolution with a chirp, of length
  // inner_.
  std::unique_ptr<FftLinePlan> inner_;
  FftTable<T> chirp_, spectrum_;
};

}  // namespace jaxmps::cpu
