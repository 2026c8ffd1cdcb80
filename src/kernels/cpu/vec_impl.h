// The loops of one instruction set. Included by vec_base.cc, vec_avx2.cc and vec_avx512.cc only,
// compiled with -fno-math-errno -fno-trapping-math, never with -ffast-math.
// Everything is internal to the including file except table_<isa>(). Stateless.
#include <algorithm>
#include <cstring>

#include "ir/float_codec.h"
#include "kernels/cpu/loop.h"
#include "kernels/cpu/vec.h"
#include "scalar/functions.h"

// The definitions are meant: a translation unit per instruction set has its own.
// NOLINTBEGIN(misc-definitions-in-headers)
namespace jaxmps::cpu {
namespace {

using namespace kernels;  // NOLINT

template <typename To, typename From, typename Fn>
void unary(void* dst, const void* pa, const void*, const void*, int64_t n, uint64_t) {
  const From* a = static_cast<const From*>(pa);
  To* d = static_cast<To*>(dst);
  JAXMPS_LOOP
  for (int64_t i = 0; i < n; ++i) d[i] = Fn::call(a[i]);
}

template <typename To, typename T, typename Fn, int form>
void binary(void* dst, const void* pa, const void* pb, const void*, int64_t n, uint64_t) {
  const T* a = static_cast<const T*>(pa);
  const T* b = static_cast<const T*>(pb);
  To* d = static_cast<To*>(dst);
  if constexpr (form == kAllVectors) {
    JAXMPS_LOOP
    for (int64_t i = 0; i < n; ++i) d[i] = Fn::call(a[i], b[i]);
  } else if constexpr (form == kScalarB) {
    const T y = *b;
    JAXMPS_LOOP
    for (int64_t i = 0; i < n; ++i) d[i] = Fn::call(a[i], y);
  } else {
    const T x = *a;
    JAXMPS_LOOP
    for (int64_t i = 0; i < n; ++i) d[i] = Fn::call(x, b[i]);
  }
}

template <typename T, int form>
JAXMPS_NO_CONTRACT void multiply_add(void* dst, const void* pa, const void* pb, const void* pc,
                                     int64_t n, uint64_t) {
  const T* a = static_cast<const T*>(pa);
  const T* b = static_cast<const T*>(pb);
  const T* c = static_cast<const T*>(pc);
  T* d = static_cast<T*>(dst);
  const T y = *b, z = *c;
  JAXMPS_LOOP
  for (int64_t i = 0; i < n; ++i) {
    const T by = form & kScalarB ? y : b[i], plus = form & kScalarC ? z : c[i];
    const T product = a[i] * by;
    d[i] = product + plus;
  }
}

template <typename T>
void spread(void* dst, const void* pa, const void*, const void*, int64_t n, uint64_t) {
  const T x = *static_cast<const T*>(pa);
  T* d = static_cast<T*>(dst);
  for (int64_t i = 0; i < n; ++i) d[i] = x;
}

template <typename T, int form>
void select_loop(void* dst, const void* pa, const void* pb, const void* pc, int64_t n, uint64_t) {
  const uint8_t* p = static_cast<const uint8_t*>(pa);
  const T* b = static_cast<const T*>(pb);
  const T* c = static_cast<const T*>(pc);
  T* d = static_cast<T*>(dst);
  const T y = *b, z = *c;
  JAXMPS_LOOP
  for (int64_t i = 0; i < n; ++i) {
    const T yes = form & kScalarB ? y : b[i], no = form & kScalarC ? z : c[i];
    d[i] = p[i] ? yes : no;
  }
}

template <typename To, typename From>
struct convert_fn {
  static JAXMPS_INLINE To call(From a) { return convert_of<To>(a); }
};
template <typename From>
struct to_pred_fn {
  static JAXMPS_INLINE uint8_t call(From a) { return a != 0; }
};

template <typename T>
void copy_loop(void* dst, const void* a, const void*, const void*, int64_t n, uint64_t) {
  if (dst != a) std::memcpy(dst, a, static_cast<size_t>(n) * sizeof(T));
}

template <typename T>
void reduce_precision_loop(void* dst, const void* pa, const void*, const void*, int64_t n,
                           uint64_t imm) {
  const T* a = static_cast<const T*>(pa);
  T* d = static_cast<T*>(dst);
  for (int64_t i = 0; i < n; ++i) d[i] = reduce_precision_of(a[i], imm);
}

// --- floats of 8 bits and less; `imm` is the type ------------------------------------------------

template <typename To, typename From, typename Fn>
void small_loop(void* dst, const void* pa, int64_t n, Fn fn) {
  const From* a = static_cast<const From*>(pa);
  To* d = static_cast<To*>(dst);
  JAXMPS_LOOP
  for (int64_t i = 0; i < n; ++i) d[i] = static_cast<To>(fn(a[i]));
}
void encode_small_loop(void* dst, const void* a, const void*, const void*, int64_t n,
                       uint64_t imm) {
  const ir::FloatFormat format = ir::float_format(static_cast<ir::DType>(imm));
  const ir::FloatCodec c = codec_of(format);
  if (!format.has_sign) return small_loop<uint8_t, float>(dst, a, n, ir::encode_power);
  small_loop<uint8_t, float>(dst, a, n, [c](float x) { return ir::encode_signed(x, c); });
}
void decode_small_loop(void* dst, const void* a, const void*, const void*, int64_t n,
                       uint64_t imm) {
  const ir::FloatFormat format = ir::float_format(static_cast<ir::DType>(imm));
  const ir::FloatCodec c = codec_of(format);
  if (!format.has_sign) return small_loop<float, uint8_t>(dst, a, n, ir::decode_power);
  small_loop<float, uint8_t>(dst, a, n, [c](uint8_t x) { return ir::decode_signed(x, c); });
}
void round_small_loop(void* dst, const void* a, const void*, const void*, int64_t n, uint64_t imm) {
  const ir::FloatFormat format = ir::float_format(static_cast<ir::DType>(imm));
  const ir::FloatCodec c = codec_of(format);
  if (!format.has_sign) {
    return small_loop<float, float>(dst, a, n,
                                    [](float x) { return ir::decode_power(ir::encode_power(x)); });
  }
  small_loop<float, float>(dst, a, n,
                           [c](float x) { return ir::decode_signed(ir::encode_signed(x, c), c); });
}
template <typename T>
void wrap_loop(void* dst, const void* pa, const void*, const void*, int64_t n, uint64_t imm) {
  const T* a = static_cast<const T*>(pa);
  T* d = static_cast<T*>(dst);
  JAXMPS_LOOP
  for (int64_t i = 0; i < n; ++i) d[i] = wrap_of(a[i], imm);
}

// A large argument goes through the C library; a block without is free of branches.
template <typename Fn>
void trig_loop(void* dst, const void* pa, const void*, const void*, int64_t n, uint64_t) {
  const float* a = static_cast<const float*>(pa);
  float* d = static_cast<float*>(dst);
  uint32_t large = 0;
  for (int64_t i = 0; i < n; ++i) large |= absolute(a[i]) > kTrigLimit ? 1u : 0u;
  if (large) {
    for (int64_t i = 0; i < n; ++i) d[i] = Fn::call(a[i]);
    return;
  }
  JAXMPS_LOOP
  for (int64_t i = 0; i < n; ++i) d[i] = Fn::fast(a[i]);
}

template <typename Fn>
constexpr bool kIsMax = std::is_same_v<Fn, Function<Opcode::max>>;
template <typename Fn>
constexpr bool kIsMin = std::is_same_v<Fn, Function<Opcode::min>>;

// The lanes' part of reduce_loop for floats; returns how many elements it has taken. Whether there
// is a NaN is asked once, of what is largest as bits without a sign: no lane waits for it.
template <typename T, typename Fn, int kLanes>
int64_t extremum_lanes(T* lanes, const T* a, int64_t n) {
  using Bits = decltype(bits_of(T()));
  Bits largest[kLanes];
  for (int j = 0; j < kLanes; ++j) largest[j] = bits_of(lanes[j]) << 1;
  int64_t i = kLanes;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const T x = a[i + j];
      lanes[j] = kIsMax<Fn> ? larger(lanes[j], x) : smaller(lanes[j], x);
      largest[j] = std::max<Bits>(largest[j], bits_of(x) << 1);
    }
  }
  Bits all = 0;
  for (int j = 0; j < kLanes; ++j) all = std::max(all, largest[j]);
  if (all > bits_of(T(infinity())) << 1) lanes[0] = not_a_number();
  return i;
}

// Lanes accumulate independently and are then folded as a tree, so that the result is the same for
// every instruction set and the error grows with n / kLanes.
template <typename T, typename Fn>
void reduce_loop(void* dst, const void* pa, const void*, const void*, int64_t n, uint64_t) {
  constexpr int kLanes = sizeof(T) >= 4 ? 256 / sizeof(T) : 64;
  const T* a = static_cast<const T*>(pa);
  T lanes[kLanes];
  int64_t i = 0;
  int live = kLanes;
  if (n >= kLanes) {
    std::memcpy(lanes, a, sizeof lanes);
    if constexpr (std::is_floating_point_v<T> && (kIsMax<Fn> || kIsMin<Fn>)) {
      i = extremum_lanes<T, Fn, kLanes>(lanes, a, n);
    } else {
      for (i = kLanes; i + kLanes <= n; i += kLanes) {
        for (int j = 0; j < kLanes; ++j) lanes[j] = Fn::call(lanes[j], a[i + j]);
      }
    }
    for (int j = 0; i < n; ++i, ++j) lanes[j] = Fn::call(lanes[j], a[i]);
  } else {
    live = static_cast<int>(n);
    std::memcpy(lanes, a, sizeof(T) * static_cast<size_t>(n));
  }
  while (live > 1) {
    const int half = (live + 1) / 2;
    for (int j = 0; j + half < live; ++j) lanes[j] = Fn::call(lanes[j], lanes[j + half]);
    live = half;
  }
  *static_cast<T*>(dst) = lanes[0];
}

template <bool count_vectors>
void threefry_block(uint32_t* d0, uint32_t* d1, uint32_t k0, uint32_t k1, const uint32_t* c0,
                    const uint32_t* c1, int64_t n) {
  const uint32_t x = *c0;
  JAXMPS_LOOP
  for (int64_t i = 0; i < n; ++i) {
    const ThreefryWords w = threefry_of(k0, k1, count_vectors ? c0[i] : x, c1[i]);
    d0[i] = w.x0;
    d1[i] = w.x1;
  }
}

void threefry_loop(uint32_t* d0, uint32_t* d1, const uint32_t* const* words, const bool* single,
                   int64_t n) {
  if (single[0] && single[1] && !single[3]) {
    const uint32_t k0 = *words[0], k1 = *words[1];
    if (single[2])
      threefry_block<false>(d0, d1, k0, k1, words[2], words[3], n);
    else
      threefry_block<true>(d0, d1, k0, k1, words[2], words[3], n);
    return;
  }
  int64_t step[4];
  for (int i = 0; i < 4; ++i) step[i] = single[i] ? 0 : 1;
  for (int64_t i = 0; i < n; ++i) {
    const ThreefryWords w = threefry_of(words[0][i * step[0]], words[1][i * step[1]],
                                        words[2][i * step[2]], words[3][i * step[3]]);
    d0[i] = w.x0;
    d1[i] = w.x1;
  }
}

template <typename T>
void gather_elements(void* dst, const void* src, int64_t stride, int64_t n) {
  T* d = static_cast<T*>(dst);
  const T* s = static_cast<const T*>(src);
  for (int64_t i = 0; i < n; ++i) d[i] = s[i * stride];
}
void gather_loop(void* dst, const void* src, int64_t stride, int64_t n, int size) {
  with_bits(size, [&](auto item) { gather_elements<decltype(item)>(dst, src, stride, n); });
}
template <typename T>
void fill_elements(void* dst, uint64_t value, int64_t n) {
  T* d = static_cast<T*>(dst);
  for (int64_t i = 0; i < n; ++i) d[i] = static_cast<T>(value);
}
void fill_loop(void* dst, uint64_t value, int64_t n, int size) {
  with_bits(size, [&](auto item) { fill_elements<decltype(item)>(dst, value, n); });
}

// --- lookup -------------------------------------------------------------------------------------

template <typename To, typename T, typename Fn>
VecFn forms(int form) {
  switch (form) {
    case kAllVectors:
      return binary<To, T, Fn, kAllVectors>;
    case kScalarA:
      return binary<To, T, Fn, kScalarA>;
    case kScalarB:
      return binary<To, T, Fn, kScalarB>;
    default:
      return nullptr;
  }
}
DType as_bits(DType type) {
  if (type == DType::f32) return DType::u32;
  return type == DType::f64 ? DType::u64 : without_sign(type);
}

VecFn find_narrow(Opcode op, DType type, DType narrow) {
  const bool bf16 = narrow == DType::bf16, f16 = narrow == DType::f16;
  switch (op) {
    case Opcode::round_to:
      if (bf16) return unary<float, float, round_bf16_fn>;
      return f16 ? static_cast<VecFn>(unary<float, float, round_f16_fn>) : round_small_loop;
    case Opcode::encode:
      if (bf16) return unary<uint16_t, float, encode_bf16_fn>;
      return f16 ? static_cast<VecFn>(unary<uint16_t, float, encode_f16_fn>) : encode_small_loop;
    case Opcode::decode:
      if (bf16) return unary<float, uint16_t, decode_bf16_fn>;
      return f16 ? static_cast<VecFn>(unary<float, uint16_t, decode_f16_fn>) : decode_small_loop;
    case Opcode::wrap:
      return type == DType::s8 ? static_cast<VecFn>(wrap_loop<int8_t>) : wrap_loop<uint8_t>;
    default:
      return nullptr;
  }
}

template <typename From>
VecFn find_convert_from(DType type) {
  if (type == DType::pred) return unary<uint8_t, From, to_pred_fn<From>>;
  return with_any(type, [](auto t) -> VecFn {
    return unary<decltype(t), From, convert_fn<decltype(t), From>>;
  });
}

VecFn find_select(DType type, int form) {
  return with_int(as_bits(type), [&](auto t) -> VecFn {
    using T = decltype(t);
    switch (form) {
      case kAllVectors:
        return select_loop<T, 0>;
      case kScalarB:
        return select_loop<T, kScalarB>;
      case kScalarC:
        return select_loop<T, kScalarC>;
      case kScalarB | kScalarC:
        return select_loop<T, kScalarB | kScalarC>;
      default:
        return nullptr;
    }
  });
}

VecFn find_structural(Opcode op, DType type, DType from, int form) {
  if (op == Opcode::select) return find_select(type, form);
  if (form != kAllVectors) return nullptr;
  switch (op) {
    case Opcode::convert:
      return with_any(from, [&](auto f) { return find_convert_from<decltype(f)>(type); });
    case Opcode::bitcast:
      return with_int(as_bits(type), [](auto t) -> VecFn { return copy_loop<decltype(t)>; });
    case Opcode::reduce_precision:
      return with_float(type, [](auto t) -> VecFn { return reduce_precision_loop<decltype(t)>; });
    default:
      return find_narrow(op, type, from);
  }
}

VecFn find_reduce(Opcode op, DType type) {
  return with_combining<VecFn>(
      op, type, [](auto f, auto t) -> VecFn { return reduce_loop<decltype(t), decltype(f)>; });
}

template <typename T, typename Fn>
VecFn function_loop(int form) {
  if constexpr (requires { Fn::call(T(), T()); }) {
    using To = decltype(Fn::call(T(), T()));
    return forms<To, T, Fn>(form);
  } else {
    if (form != kAllVectors) return nullptr;
    if constexpr (std::is_same_v<T, float> && requires { Fn::fast(T()); }) {
      return trig_loop<Fn>;
    } else {
      return unary<decltype(Fn::call(T())), T, Fn>;
    }
  }
}

VecFn find_loop(Opcode op, DType type, DType from, int form) {
  switch (class_of(op)) {
    case OpClass::structural:
      return find_structural(op, type, from, form);
    case OpClass::reduction:
      return form == kAllVectors ? find_reduce(op, type) : nullptr;
    default:
      return with_function<VecFn>(op, from, [form](auto f, auto t) {
        return function_loop<decltype(t), decltype(f)>(form);
      });
  }
}

VecFn find_multiply_add(DType type, int form) {
  return with_float(type, [&](auto t) -> VecFn {
    using T = decltype(t);
    switch (form) {
      case kAllVectors:
        return multiply_add<T, kAllVectors>;
      case kScalarB:
        return multiply_add<T, kScalarB>;
      case kScalarC:
        return multiply_add<T, kScalarC>;
      case kScalarB | kScalarC:
        return multiply_add<T, kScalarB | kScalarC>;
      default:
        return nullptr;
    }
  });
}

VecFn find_spread(int size) {
  return with_bits(size, [](auto t) -> VecFn { return spread<decltype(t)>; });
}

// --- functions of single elements
// -----------------------------------------------------------------

#if defined(__AVX512F__)
inline constexpr size_t kRegister = 64;
#elif defined(__AVX2__)
inline constexpr size_t kRegister = 32;
#else
inline constexpr size_t kRegister = 16;
#endif

template <typename T, typename Fn>
T element_unary(T a) {
  return Fn::call(a);
}
template <typename T, typename Fn>
T element_binary(T a, T b) {
  return Fn::call(a, b);
}
template <typename T, int n>
struct Lanes {
  typedef T Vector __attribute__((vector_size(n * sizeof(T))));
  template <typename Fn>
  static Vector unary(Vector a) {
    T x[n];
    std::memcpy(x, &a, sizeof x);
    cpu::unary<T, T, Fn>(x, x, nullptr, nullptr, n, 0);
    std::memcpy(&a, x, sizeof x);
    return a;
  }
  template <typename Fn>
  static Vector trig(Vector a) {
    T x[n];
    std::memcpy(x, &a, sizeof x);
    trig_loop<Fn>(x, x, nullptr, nullptr, n, 0);
    std::memcpy(&a, x, sizeof x);
    return a;
  }
  template <typename Fn>
  static Vector binary(Vector a, Vector b) {
    T x[n], y[n];
    std::memcpy(x, &a, sizeof x);
    std::memcpy(y, &b, sizeof y);
    cpu::binary<T, T, Fn, kAllVectors>(x, x, y, nullptr, n, 0);
    std::memcpy(&a, x, sizeof x);
    return a;
  }
  template <typename Fn>
  static const void* find() {
    if constexpr (n * sizeof(T) > kRegister) {
      return nullptr;
    } else if constexpr (requires { Fn::call(T(), T()); }) {
      return reinterpret_cast<const void*>(&binary<Fn>);
    } else if constexpr (requires { Fn::fast(T()); }) {
      return reinterpret_cast<const void*>(&trig<Fn>);
    } else {
      return reinterpret_cast<const void*>(&unary<Fn>);
    }
  }
};

template <typename T, typename Fn>
ElementFn element() {
  ElementFn found;
  if constexpr (requires { Fn::call(T(), T()); }) {
    if constexpr (std::is_same_v<decltype(Fn::call(T(), T())), T>) {
      found.single = reinterpret_cast<const void*>(&element_binary<T, Fn>);
    }
  } else if constexpr (std::is_same_v<decltype(Fn::call(T())), T>) {
    found.single = reinterpret_cast<const void*>(&element_unary<T, Fn>);
  }
  // Those of float64 are the C library's.
  if constexpr (std::is_same_v<T, float>) {
    if (!found.single) return found;
    found.vectors[0] = Lanes<T, 4>::template find<Fn>();
    found.vectors[1] = Lanes<T, 8>::template find<Fn>();
    found.vectors[2] = Lanes<T, 16>::template find<Fn>();
  }
  return found;
}

ElementFn find_element(Opcode op, DType type) {
  switch (class_of(op)) {
    case OpClass::real_unary:
    case OpClass::trig_unary:
    case OpClass::real_binary:
    case OpClass::number_binary:
      return with_function<ElementFn>(op, type, [](auto f, auto t) -> ElementFn {
        return element<decltype(t), decltype(f)>();
      });
    default:
      return {};
  }
}

}  // namespace
}  // namespace jaxmps::cpu
// NOLINTEND(misc-definitions-in-headers)
