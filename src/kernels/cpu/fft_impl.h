// The loops of Fourier transforms, included once by the file of each instruction set.
//
// Everything is in an unnamed namespace and no standard function is called, so that no code built
// for one instruction set can be shared with, or linked in place of, that of another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/cpu/fft_kernels.h"

namespace jaxmps::cpu {
namespace {

#define JAXMPS_INLINE inline __attribute__((always_inline))

template <typename T, int Bytes>
struct FftLoops {
  static constexpr int kWidth = Bytes / static_cast<int>(sizeof(T));
  typedef T Vec __attribute__((vector_size(Bytes)));
  struct Complex {
    Vec re, im;
  };

  // --- vectors ----------------------------------------------------------------------------------

  static JAXMPS_INLINE Vec load(const T* from) {
    Vec v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
  }
  static JAXMPS_INLINE void store(T* to, const Vec& v) { __builtin_memcpy(to, &v, sizeof v); }

  // Lane i of the result is lane at(i) of a, then of b.
  template <typename At, size_t... I>
  static JAXMPS_INLINE Vec shuffle(const Vec& a, const Vec& b, std::index_sequence<I...>) {
    return __builtin_shufflevector(a, b, At::at(static_cast<int>(I))...);
  }
  template <typename At>
  static JAXMPS_INLINE Vec shuffle(const Vec& a, const Vec& b) {
    return shuffle<At>(a, b, std::make_index_sequence<kWidth>());
  }
  template <int Part>
  struct EverySecond {
    static constexpr int at(int i) { return 2 * i + Part; }
  };
  template <int Part>
  struct Zip {
    static constexpr int at(int i) { return i / 2 + Part * kWidth / 2 + i % 2 * kWidth; }
  };
  struct Backwards {
    static constexpr int at(int i) { return kWidth - 1 - i; }
  };
  template <int Size, int Part>
  struct Exchange {
    static constexpr int at(int i) {
      return (i & Size) == 0 ? i + Part * Size : kWidth + i - Size + Part * Size;
    }
  };

  template <int Size>
  static JAXMPS_INLINE void exchange(Vec (&rows)[kWidth]) {
    if constexpr (Size < kWidth) {
#pragma GCC unroll 8
      for (int r = 0; r < kWidth; ++r) {
        if (r & Size) continue;
        const Vec a = rows[r], b = rows[r + Size];
        rows[r] = shuffle<Exchange<Size, 0>>(a, b);
        rows[r + Size] = shuffle<Exchange<Size, 1>>(a, b);
      }
      exchange<2 * Size>(rows);
    }
  }
  static JAXMPS_INLINE void transpose(Vec (&rows)[kWidth]) { exchange<1>(rows); }

  // Pairs in memory.
  static JAXMPS_INLINE Complex load_pairs(const T* from, bool is_swapped) {
    const Vec a = load(from), b = load(from + kWidth);
    const Vec first = shuffle<EverySecond<0>>(a, b), second = shuffle<EverySecond<1>>(a, b);
    return is_swapped ? Complex{second, first} : Complex{first, second};
  }
  static JAXMPS_INLINE void store_pairs(T* to, const Complex& c, bool is_swapped) {
    const Vec first = is_swapped ? c.im : c.re, second = is_swapped ? c.re : c.im;
    store(to, shuffle<Zip<0>>(first, second));
    store(to + kWidth, shuffle<Zip<1>>(first, second));
  }
  // The first `count` pairs; of a vector that is loaded the others are 0.
  static JAXMPS_INLINE Complex load_some(const T* from, int64_t count, bool is_swapped) {
    T pairs[2 * kWidth] = {};
    __builtin_memcpy(pairs, from, static_cast<size_t>(2 * count) * sizeof(T));
    return load_pairs(pairs, is_swapped);
  }
  static JAXMPS_INLINE void store_some(T* to, const Complex& c, int64_t count, bool is_swapped) {
    T pairs[2 * kWidth];
    store_pairs(pairs, c, is_swapped);
    __builtin_memcpy(to, pairs, static_cast<size_t>(2 * count) * sizeof(T));
  }

  // Real parts, then imaginary ones.
  static JAXMPS_INLINE Complex load_parts(const T* from) {
    return {load(from), load(from + kWidth)};
  }
  static JAXMPS_INLINE void store_parts(T* to, const Complex& c) {
    store(to, c.re);
    store(to + kWidth, c.im);
  }

  static JAXMPS_INLINE Complex add(const Complex& a, const Complex& b) {
    return {a.re + b.re, a.im + b.im};
  }
  static JAXMPS_INLINE Complex sub(const Complex& a, const Complex& b) {
    return {a.re - b.re, a.im - b.im};
  }
  // a + i b and a - i b
  static JAXMPS_INLINE Complex add_turned(const Complex& a, const Complex& b) {
    return {a.re - b.im, a.im + b.re};
  }
  static JAXMPS_INLINE Complex sub_turned(const Complex& a, const Complex& b) {
    return {a.re + b.im, a.im - b.re};
  }
  template <typename Part>  // a vector or one number
  static JAXMPS_INLINE Complex mul(const Complex& a, const Part& re, const Part& im) {
    return {a.re * re - a.im * im, a.re * im + a.im * re};
  }
  static JAXMPS_INLINE Complex scaled(const Complex& a, T scale) {
    return {a.re * scale, a.im * scale};
  }

  // --- butterflies ------------------------------------------------------------------------------

  static JAXMPS_INLINE void four(Complex& x0, Complex& x1, Complex& x2, Complex& x3) {
    const Complex a = add(x0, x2), b = sub(x0, x2), c = add(x1, x3), d = sub(x1, x3);
    x0 = add(a, c);
    x1 = sub_turned(b, d);
    x2 = sub(a, c);
    x3 = add_turned(b, d);
  }

  static JAXMPS_INLINE void eight(Complex (&x)[8]) {
    constexpr T kHalf = static_cast<T>(0.70710678118654752440);
    four(x[0], x[2], x[4], x[6]);
    four(x[1], x[3], x[5], x[7]);
    const Complex a = {(x[3].re + x[3].im) * kHalf, (x[3].im - x[3].re) * kHalf};
    const Complex b = {(x[7].im - x[7].re) * kHalf, (x[7].re + x[7].im) * -kHalf};
    const Complex c0 = x[0], c1 = x[2], c2 = x[4], c3 = x[6], d0 = x[1], d2 = x[5];
    x[0] = add(c0, d0);
    x[1] = add(c1, a);
    x[2] = sub_turned(c2, d2);
    x[3] = add(c3, b);
    x[4] = sub(c0, d0);
    x[5] = sub(c1, a);
    x[6] = add_turned(c2, d2);
    x[7] = sub(c3, b);
  }

  // Of odd length r: elements u and r - u are taken together. Inlined where r is a constant.
  static JAXMPS_INLINE void odd(Complex* x, int r, const T* spokes, Complex* sum,
                                Complex* difference) {
    const int pairs = r / 2;
    const Complex first = x[0];
#pragma GCC unroll 4
    for (int v = 0; v < pairs; ++v) {
      sum[v] = add(x[v + 1], x[r - 1 - v]);
      difference[v] = sub(x[v + 1], x[r - 1 - v]);
      x[0] = add(x[0], sum[v]);
    }
    // Two results at once, the last one twice if it is alone.
#pragma GCC unroll 2
    for (int u = 1; u <= pairs; u += 2) {
      const int at[2] = {u, u < pairs ? u + 1 : u};
      Complex even[2] = {first, first}, turned[2] = {};
      int k[2] = {};  // at * (v + 1) modulo r
#pragma GCC unroll 4
      for (int v = 0; v < pairs; ++v) {
#pragma GCC unroll 2
        for (int i = 0; i < 2; ++i) {
          k[i] = k[i] + at[i] < r ? k[i] + at[i] : k[i] + at[i] - r;
          const T c = spokes[2 * k[i] - 2], s = spokes[2 * k[i] - 1];
          even[i].re += sum[v].re * c;
          even[i].im += sum[v].im * c;
          turned[i].re += difference[v].re * s;
          turned[i].im += difference[v].im * s;
        }
      }
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        x[at[i]] = sub_turned(even[i], turned[i]);
        x[r - at[i]] = add_turned(even[i], turned[i]);
      }
    }
  }

  template <int R>
  static JAXMPS_INLINE void butterfly(Complex (&x)[R], const T* spokes) {
    if constexpr (R == 2) {
      const Complex a = x[0];
      x[0] = add(a, x[1]);
      x[1] = sub(a, x[1]);
    } else if constexpr (R == 4) {
      four(x[0], x[1], x[2], x[3]);
    } else if constexpr (R == 8) {
      eight(x);
    } else {
      Complex sum[R / 2], difference[R / 2];
      odd(x, R, spokes, sum, difference);
    }
  }

  // --- passes -----------------------------------------------------------------------------------

  static constexpr int64_t kStep = 2 * kWidth;  // from one element of all lanes to the next

  template <int R, bool IsLast>
  static void pass(const FftPass<T>& p, const T* __restrict from, T* __restrict to) {
    const int64_t inner = IsLast ? 1 : p.inner;
    for (int64_t k = 0; k < p.outer; ++k) {
      const T* roots = p.roots;
      for (int64_t j = 0; j < inner; ++j, roots += 2 * (R - 1)) {
        Complex x[R];
#pragma GCC unroll 16
        for (int u = 0; u < R; ++u) x[u] = load_parts(from + kStep * (j + inner * (u + R * k)));
        butterfly<R>(x, p.spokes);
        store_parts(to + kStep * (j + inner * k), x[0]);
#pragma GCC unroll 16
        for (int u = 1; u < R; ++u) {
          if constexpr (!IsLast) x[u] = mul(x[u], roots[2 * u - 2], roots[2 * u - 1]);
          store_parts(to + kStep * (j + inner * (k + p.outer * u)), x[u]);
        }
      }
    }
  }

  template <int R>
  static void pass(const FftPass<T>& p, const T* from, T* to) {
    return p.inner == 1 ? pass<R, true>(p, from, to) : pass<R, false>(p, from, to);
  }

  // Of any odd radix.
  static void pass(const FftPass<T>& p, const T* from, T* to) {
    const int r = p.radix;
    Complex x[kMostFftRadix], sum[kMostFftRadix / 2], difference[kMostFftRadix / 2];
    for (int64_t k = 0; k < p.outer; ++k) {
      for (int64_t j = 0; j < p.inner; ++j) {
        for (int u = 0; u < r; ++u) x[u] = load_parts(from + kStep * (j + p.inner * (u + r * k)));
        odd(x, r, p.spokes, sum, difference);
        store_parts(to + kStep * (j + p.inner * k), x[0]);
        const T* roots = p.roots + 2 * (r - 1) * j;
        for (int u = 1; u < r; ++u) {
          const Complex y = mul(x[u], roots[2 * u - 2], roots[2 * u - 1]);
          store_parts(to + kStep * (j + p.inner * (k + p.outer * u)), y);
        }
      }
    }
  }

  // The transforms of all lanes of x, with as much memory as that behind it; returns where they
  // are.
  static T* run(const FftPass<T>* passes, int count, int64_t n, T* x) {
    T* y = x + kStep * n;
    for (int i = 0; i < count; ++i) {
      const FftPass<T>& p = passes[i];
      switch (p.radix) {
        case 2:
          pass<2>(p, x, y);
          break;
        case 3:
          pass<3>(p, x, y);
          break;
        case 4:
          pass<4>(p, x, y);
          break;
        case 5:
          pass<5>(p, x, y);
          break;
        case 7:
          pass<7>(p, x, y);
          break;
        case 8:
          pass<8>(p, x, y);
          break;
        default:
          pass(p, x, y);
          break;
      }
      T* z = x;
      x = y;
      y = z;
    }
    return x;
  }

  // --- real numbers as half as many complex ones ------------------------------------------------

  // Elements k and n - k of a transform of the complex ones become those of the real ones.
  template <typename Part>
  static JAXMPS_INLINE void untangle(Complex& low, Complex& high, const Part& re, const Part& im) {
    const T h = static_cast<T>(0.5);
    const Complex even = {(low.re + high.re) * h, (low.im - high.im) * h};
    const Complex turned = {(low.im + high.im) * h, (high.re - low.re) * h};
    const Complex odd = mul(turned, re, im);
    low = add(even, odd);
    high = {even.re - odd.re, odd.im - even.im};
  }

  // Back, times two.
  template <typename Part>
  static JAXMPS_INLINE void tangle(Complex& low, Complex& high, const Part& re, const Part& im) {
    const Complex even = {low.re + high.re, low.im - high.im};
    const Complex difference = {low.re - high.re, low.im + high.im};
    const Complex odd = mul(difference, re, -im);
    low = add_turned(even, odd);
    high = {even.re + odd.im, odd.re - even.im};
  }

  // Of all lanes: change(low, high, root, is first) for elements k and n - k.
  template <typename Change>
  static JAXMPS_INLINE void for_opposite(const FftLines<T>& f, T* x, const Change& change) {
    for (int64_t k = 0; k <= f.n / 2; ++k) {
      Complex low = load_parts(x + kStep * k), high = load_parts(x + kStep * (f.n - k));
      change(low, high, f.real_roots[2 * k], f.real_roots[2 * k + 1], k == 0);
      store_parts(x + kStep * k, low);
      store_parts(x + kStep * (f.n - k), high);
    }
  }

  // --- transforms in the lanes ------------------------------------------------------------------

  // Lanes without a line repeat the last one.
  static void gather(const FftLines<T>& f, int64_t n, T* to) {
    const auto [at, element, line, is_swapped] = f.in;
    if (line == 1 && f.count == kWidth) {
      for (int64_t k = 0; k < n; ++k) {
        store_parts(to + kStep * k, load_pairs(at + 2 * element * k, is_swapped));
      }
      return;
    }
    const T* lines[kWidth];
    for (int l = 0; l < kWidth; ++l) lines[l] = at + 2 * line * (l < f.count ? l : f.count - 1);
    int64_t k = 0;
    for (; element == 1 && k + kWidth <= n; k += kWidth) {
      Vec re[kWidth], im[kWidth];
#pragma GCC unroll 8
      for (int l = 0; l < kWidth; ++l) {
        const Complex c = load_pairs(lines[l] + 2 * k, is_swapped);
        re[l] = c.re;
        im[l] = c.im;
      }
      transpose(re);
      transpose(im);
#pragma GCC unroll 8
      for (int l = 0; l < kWidth; ++l) store_parts(to + kStep * (k + l), {re[l], im[l]});
    }
    for (; k < n; ++k) {
      T parts[2 * kWidth];
      for (int l = 0; l < kWidth; ++l) {
        const T* from = lines[l] + 2 * element * k;
        parts[l] = from[is_swapped];
        parts[kWidth + l] = from[!is_swapped];
      }
      store_parts(to + kStep * k, load_parts(parts));
    }
  }

  static JAXMPS_INLINE Complex twisted(const FftTwist<T>& t, const Complex& c, int64_t k) {
    const int64_t at = k * t.first, mask = (int64_t{1} << t.shift) - 1;
    const double* a = t.coarse + 2 * (at >> t.shift);
    const double* b = t.fine + 2 * (at & mask);
    const T re = static_cast<T>(a[0] * b[0] - a[1] * b[1]);
    const T im = static_cast<T>(a[0] * b[1] + a[1] * b[0]);
    const Complex w = mul(load_parts(t.lanes + kStep * k), re, im);
    return mul(c, w.re, w.im);
  }

  static void scatter(const FftLines<T>& f, int64_t n, const T* from) {
    const auto [at, element, line, is_swapped] = f.out;
    if (line == 1) {
      for (int64_t k = 0; k < n; ++k) {
        Complex c = load_parts(from + kStep * k);
        c = f.twist ? twisted(*f.twist, c, k) : scaled(c, f.scale);
        T* to = at + 2 * element * k;
        if (f.count == kWidth) {
          store_pairs(to, c, is_swapped);
        } else {
          store_some(to, c, f.count, is_swapped);
        }
      }
      return;
    }
    int64_t k = 0;
    for (; element == 1 && k + kWidth <= n; k += kWidth) {
      Vec re[kWidth], im[kWidth];
#pragma GCC unroll 8
      for (int l = 0; l < kWidth; ++l) {
        const Complex c = scaled(load_parts(from + kStep * (k + l)), f.scale);
        re[l] = c.re;
        im[l] = c.im;
      }
      transpose(re);
      transpose(im);
      for (int l = 0; l < f.count; ++l) {
        store_pairs(at + 2 * (line * l + k), {re[l], im[l]}, is_swapped);
      }
    }
    for (; k < n; ++k) {
      T parts[2 * kWidth];
      store_parts(parts, scaled(load_parts(from + kStep * k), f.scale));
      for (int l = 0; l < f.count; ++l) {
        T* to = at + 2 * (line * l + element * k);
        to[is_swapped] = parts[l];
        to[!is_swapped] = parts[kWidth + l];
      }
    }
  }

  static void lines(const FftLines<T>& f) {
    T* x = f.scratch;
    gather(f, f.n + (f.real == FftReal::result), x);
    if (f.real == FftReal::result) {
      for_opposite(f, x, [](Complex& low, Complex& high, T re, T im, bool is_first) {
        if (is_first) low.im = high.im = Vec{};
        tangle(low, high, re, im);
        low = {low.im, low.re};
        high = {high.im, high.re};
      });
    }
    x = run(f.passes, f.pass_count, f.n, x);
    if (f.real == FftReal::operand) {
      store_parts(x + kStep * f.n, load_parts(x));
      for_opposite(
          f, x, [](Complex& low, Complex& high, T re, T im, bool) { untangle(low, high, re, im); });
    }
    scatter(f, f.n + (f.real == FftReal::operand), x);
  }

  // --- one transform over the lanes -------------------------------------------------------------

  // Results [k, k + count) of all parts become those of the whole.
  template <int Parts, bool IsFull>
  static JAXMPS_INLINE void join(const FftLine<T>& f, const T* x, int64_t k, int64_t count) {
    Vec re[kWidth], im[kWidth];
#pragma GCC unroll 8
    for (int i = 0; i < kWidth; ++i) {
      Complex c = {};
      if (IsFull || i < count) {
        const Complex w = load_parts(f.roots + kStep * (k + i));
        c = mul(load_parts(x + kStep * (k + i)), w.re, w.im);
      }
      re[i] = c.re;
      im[i] = c.im;
    }
    transpose(re);
    transpose(im);
    Complex y[Parts];
#pragma GCC unroll 8
    for (int p = 0; p < Parts; ++p) y[p] = {re[p], im[p]};
    butterfly<Parts>(y, f.spokes);
#pragma GCC unroll 8
    for (int p = 0; p < Parts; ++p) {
      T* to = f.out.at + 2 * (k + f.n * p);
      const Complex c = scaled(y[p], f.scale);
      if (IsFull) {
        store_pairs(to, c, f.out.is_swapped);
      } else {
        store_some(to, c, count, f.out.is_swapped);
      }
    }
  }

  template <int Parts>
  static void join(const FftLine<T>& f, const T* x) {
    if constexpr (Parts <= kWidth) {
      int64_t k = 0;
      for (; k + kWidth <= f.n; k += kWidth) join<Parts, true>(f, x, k, kWidth);
      if (k < f.n) join<Parts, false>(f, x, k, f.n - k);
    }
  }

  static void line(const FftLine<T>& f) {
    const auto [at, element, line, is_swapped] = f.in;
    const int64_t total = f.n * f.parts;
    int64_t k = 0;
    for (; k * f.parts + kWidth <= total; ++k) {
      store_parts(f.scratch + kStep * k, load_pairs(at + 2 * f.parts * k, is_swapped));
    }
    for (; k < f.n; ++k) {
      const Complex c = load_some(at + 2 * f.parts * k, f.parts, is_swapped);
      store_parts(f.scratch + kStep * k, c);
    }
    const T* x = run(f.passes, f.pass_count, f.n, f.scratch);
    switch (f.parts) {
      case 2:
        return join<2>(f, x);
      case 3:
        return join<3>(f, x);
      case 4:
        return join<4>(f, x);
      case 5:
        return join<5>(f, x);
      case 7:
        return join<7>(f, x);
      default:
        return join<8>(f, x);
    }
  }

  // --- beside transforms ------------------------------------------------------------------------

  static void multiply(int64_t n, FftPlace<const T*> in, const T* factor, FftPlace<T*> out,
                       T scale) {
    for (int64_t i = 0; i < n; i += kWidth) {
      const bool is_full = i + kWidth <= n;
      const int64_t count = n - i;
      const Complex w =
          is_full ? load_pairs(factor + 2 * i, false) : load_some(factor + 2 * i, count, false);
      const Complex x = is_full ? load_pairs(in.at + 2 * i, in.is_swapped)
                                : load_some(in.at + 2 * i, count, in.is_swapped);
      const Complex y = scaled(mul(x, w.re, w.im), scale);
      if (is_full) {
        store_pairs(out.at + 2 * i, y, out.is_swapped);
      } else {
        store_some(out.at + 2 * i, y, count, out.is_swapped);
      }
    }
  }

  // change(low, high, root) for elements k and half - k.
  template <typename Change>
  static JAXMPS_INLINE void for_opposite(int64_t half, const T* roots, const T* x, T* to,
                                         int64_t begin, int64_t end, const Change& change) {
    for (int64_t k = begin; k < end;) {
      // Pairs that are computed at once may not overlap.
      const int64_t left = end - k < kWidth ? end - k : kWidth;
      const int64_t apart = (half - 2 * k) / 2 + 1;
      const bool is_full = left == kWidth && 2 * (k + kWidth - 1) < half;
      const int64_t count = is_full ? kWidth : left < apart ? left : apart;
      const int64_t high_at = half - k - count + 1;
      Complex low, high, root;
      if (is_full) {
        low = load_pairs(x + 2 * k, false);
        high = load_pairs(x + 2 * high_at, false);
        root = load_pairs(roots + 2 * k, false);
        high = {shuffle<Backwards>(high.re, high.re), shuffle<Backwards>(high.im, high.im)};
        change(low, high, root, k == 0);
        high = {shuffle<Backwards>(high.re, high.re), shuffle<Backwards>(high.im, high.im)};
        store_pairs(to + 2 * k, low, false);
        store_pairs(to + 2 * high_at, high, false);
      } else {
        low = load_some(x + 2 * k, count, false);
        root = load_some(roots + 2 * k, count, false);
        T pairs[2 * kWidth] = {};
        for (int64_t i = 0; i < count; ++i) {
          pairs[2 * i] = x[2 * (half - k - i)];
          pairs[2 * i + 1] = x[2 * (half - k - i) + 1];
        }
        high = load_pairs(pairs, false);
        change(low, high, root, k == 0);
        store_some(to + 2 * k, low, count, false);
        store_pairs(pairs, high, false);
        for (int64_t i = 0; i < count; ++i) {
          to[2 * (half - k - i)] = pairs[2 * i];
          to[2 * (half - k - i) + 1] = pairs[2 * i + 1];
        }
      }
      k += count;
    }
  }

  static void untangle(int64_t half, const T* roots, T* x, int64_t begin, int64_t end) {
    for_opposite(half, roots, x, x, begin, end,
                 [](Complex& low, Complex& high, const Complex& root, bool) {
                   untangle(low, high, root.re, root.im);
                 });
  }

  static void tangle(int64_t half, const T* roots, const T* x, T* to, int64_t begin, int64_t end) {
    for_opposite(half, roots, x, to, begin, end,
                 [](Complex& low, Complex& high, const Complex& root, bool is_first) {
                   if (is_first) low.im[0] = high.im[0] = 0;
                   tangle(low, high, root.re, root.im);
                 });
  }
};

template <typename T, int Bytes>
constexpr FftKernels<T> fft_kernels() {
  using Loops = FftLoops<T, Bytes>;
  return {Loops::kWidth,   Loops::lines,    Loops::line,
          Loops::multiply, Loops::untangle, Loops::tangle};
}

#undef JAXMPS_INLINE

}  // namespace
}  // namespace jaxmps::cpu
