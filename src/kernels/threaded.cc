#include "kernels/threaded.h"

#include <algorithm>
#include <cstring>

#include "kernels/scalar_int.h"

namespace jaxmps::kernels {
namespace {

using Op = ThreadedOp;

// Only the bytes of T are touched: a wider access would not be served by the store buffer.
template <typename T>
JAXMPS_INLINE T read(const uint64_t* r, int32_t at) {
  T value;
  std::memcpy(&value, r + at, sizeof value);
  return value;
}
template <typename T>
JAXMPS_INLINE void write(uint64_t* r, int32_t at, T value) {
  std::memcpy(r + at, &value, sizeof value);
}

#define JAXMPS_NEXT return op[1].fn(op + 1, r)

#define UNARY(name)                       \
  struct name##_fn {                      \
    template <typename T>                 \
    static JAXMPS_INLINE auto call(T a) { \
      return name##_of(a);                \
    }                                     \
  };
#define BINARY(name)                        \
  struct name##_fn {                        \
    template <typename T>                   \
    static JAXMPS_INLINE T call(T a, T b) { \
      return name##_of(a, b);               \
    }                                       \
  };
UNARY(neg)
UNARY(abs)
UNARY(sign)
UNARY(not )
UNARY(popcnt)
UNARY(clz)
UNARY(ceil)
UNARY(floor)
UNARY(round_afz)
UNARY(round_even)
UNARY(is_finite)
UNARY(sqrt)
UNARY(rsqrt)
UNARY(cbrt)
UNARY(exp)
UNARY(expm1)
UNARY(log)
UNARY(log1p)
UNARY(logistic)
UNARY(tanh)
UNARY(sinh)
UNARY(cosh)
UNARY(asin)
UNARY(acos)
UNARY(atan)
UNARY(asinh)
UNARY(acosh)
UNARY(atanh)
UNARY(erf)
UNARY(erfc)
UNARY(erf_inv)
BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
BINARY(rem)
BINARY(max)
BINARY(min)
BINARY(and)
BINARY(or)
BINARY(xor)
BINARY(shl)
BINARY(shr_a)
BINARY(shr_l)
BINARY(rotl)
BINARY(pow)
BINARY(atan2)
BINARY(hypot)
#undef UNARY
#undef BINARY
// All digits of pi for large arguments, as the interpreter has it.
#define TRIG(name)                                                               \
  struct name##_fn {                                                             \
    template <typename T>                                                        \
    static JAXMPS_INLINE T call(T x) {                                           \
      if (absolute(x) > kTrigLimit) return static_cast<T>(std::name(double(x))); \
      return name##_of(x);                                                       \
    }                                                                            \
  };
TRIG(sin)
TRIG(cos)
TRIG(tan)
#undef TRIG
#define COMPARE(name, sign)                       \
  struct name##_fn {                              \
    template <typename T>                         \
    static JAXMPS_INLINE uint8_t call(T a, T b) { \
      return a sign b;                            \
    }                                             \
  };
COMPARE(eq, ==)
COMPARE(ne, !=)
COMPARE(lt, <)
COMPARE(le, <=)
#undef COMPARE

template <typename To>
struct convert_fn {
  template <typename T>
  static JAXMPS_INLINE To call(T a) {
    return convert_of<To>(a);
  }
};
struct to_pred_fn {
  template <typename T>
  static JAXMPS_INLINE uint8_t call(T a) {
    return a != 0;
  }
};
struct round_bf16_fn {
  static JAXMPS_INLINE float call(float a) { return round_bf16(a); }
};
struct round_f16_fn {
  static JAXMPS_INLINE float call(float a) { return round_f16(a); }
};
struct encode_bf16_fn {
  static JAXMPS_INLINE uint16_t call(float a) {
    return static_cast<uint16_t>(bits(round_bf16(a)) >> 16);
  }
};
struct encode_f16_fn {
  static JAXMPS_INLINE uint16_t call(float a) { return encode_f16(a); }
};
struct decode_bf16_fn {
  static JAXMPS_INLINE float call(uint16_t a) { return from_bits(static_cast<uint32_t>(a) << 16); }
};
struct decode_f16_fn {
  static JAXMPS_INLINE float call(uint16_t a) { return decode_f16(a); }
};

template <typename T, typename Fn>
const Op* unary(const Op* op, uint64_t* r) {
  write(r, op->d, Fn::call(read<T>(r, op->a)));
  JAXMPS_NEXT;
}
template <typename T, typename Fn>
const Op* binary(const Op* op, uint64_t* r) {
  write(r, op->d, Fn::call(read<T>(r, op->a), read<T>(r, op->b)));
  JAXMPS_NEXT;
}
template <typename T>
const Op* choose(const Op* op, uint64_t* r) {
  write(r, op->d, read<T>(r, read<uint8_t>(r, op->a) ? op->b : op->c));
  JAXMPS_NEXT;
}
template <typename T>
JAXMPS_NO_CONTRACT const Op* multiply_add(const Op* op, uint64_t* r) {
  const T product = read<T>(r, op->a) * read<T>(r, op->b);
  write(r, op->d, product + read<T>(r, op->c));
  JAXMPS_NEXT;
}
template <typename T>
const Op* precision(const Op* op, uint64_t* r) {
  write(r, op->d, reduce_precision_of(read<T>(r, op->a), op->imm));
  JAXMPS_NEXT;
}
template <typename T>
const Op* wrap_byte(const Op* op, uint64_t* r) {
  const int drop = 8 - static_cast<int>(op->imm);
  const T up = static_cast<T>(static_cast<uint8_t>(read<uint8_t>(r, op->a) << drop));
  write(r, op->d, static_cast<T>(up >> drop));
  JAXMPS_NEXT;
}
const Op* encode_byte(const Op* op, uint64_t* r) {
  const auto code = encode_small(read<float>(r, op->a), format_of(static_cast<DType>(op->imm)));
  write(r, op->d, static_cast<uint8_t>(code));
  JAXMPS_NEXT;
}
const Op* decode_byte(const Op* op, uint64_t* r) {
  write(r, op->d, decode_small(read<uint8_t>(r, op->a), format_of(static_cast<DType>(op->imm))));
  JAXMPS_NEXT;
}
const Op* round_byte(const Op* op, uint64_t* r) {
  const FloatFormat format = format_of(static_cast<DType>(op->imm));
  write(r, op->d, decode_small(encode_small(read<float>(r, op->a), format), format));
  JAXMPS_NEXT;
}
const Op* threefry(const Op* op, uint64_t* r) {
  const auto d = static_cast<int32_t>(op->imm & 0xffffffffu);
  const ThreefryWords words = threefry_of(read<uint32_t>(r, op->a), read<uint32_t>(r, op->b),
                                          read<uint32_t>(r, op->c), read<uint32_t>(r, d));
  write(r, op->d, words.x0);
  write(r, static_cast<int32_t>(op->imm >> 32), words.x1);
  JAXMPS_NEXT;
}

// --- control ------------------------------------------------------------------------------------

template <typename T>
const Op* move(const Op* op, uint64_t* r) {
  write(r, op->d, read<T>(r, op->a));
  JAXMPS_NEXT;
}
// NOLINTNEXTLINE(performance-no-int-to-ptr): registers hold numbers, addresses among them
char* address(const uint64_t* r, int32_t at) { return reinterpret_cast<char*>(r[at]); }
template <typename T>
const Op* load(const Op* op, uint64_t* r) {
  std::memcpy(r + op->d, address(r, op->a) + op->imm, sizeof(T));
  JAXMPS_NEXT;
}
template <typename T>
const Op* store(const Op* op, uint64_t* r) {
  std::memcpy(address(r, op->a) + op->imm, r + op->b, sizeof(T));
  JAXMPS_NEXT;
}
const Op* copy(const Op* op, uint64_t* r) {
  if (r[op->d] != r[op->a]) std::memcpy(address(r, op->d), address(r, op->a), op->imm);
  JAXMPS_NEXT;
}
const Op* offset(const Op* op, uint64_t* r) {
  const auto start = static_cast<int64_t>(r[op->a]), limit = static_cast<int64_t>(r[op->c]);
  const int64_t inside = std::min(std::max<int64_t>(start, 0), limit);
  r[op->d] = r[op->b] + static_cast<uint64_t>(inside) * op->imm;
  JAXMPS_NEXT;
}
const Op* swap(const Op* op, uint64_t* r) {
  std::swap(r[op->d], r[op->a]);
  JAXMPS_NEXT;
}
const Op* target(const Op* op) { return op + static_cast<int64_t>(op->imm); }
const Op* jump(const Op* op, uint64_t*) { return target(op); }
template <bool when>
const Op* jump_when(const Op* op, uint64_t* r) {
  if ((read<uint8_t>(r, op->a) != 0) == when) return target(op);
  JAXMPS_NEXT;
}
template <typename T, typename Fn, bool when>
const Op* compare_jump(const Op* op, uint64_t* r) {
  if ((Fn::call(read<T>(r, op->a), read<T>(r, op->b)) != 0) == when) return target(op);
  JAXMPS_NEXT;
}
const Op* count_down(const Op* op, uint64_t* r) {
  if (--r[op->d] != 0) return target(op);
  JAXMPS_NEXT;
}
const Op* pick(const Op* op, uint64_t* r) {
  const auto count = static_cast<int64_t>(op->imm);
  int64_t index = read<int32_t>(r, op->a);
  if (index < 0 || index >= count) index = count - 1;
  return op + 1 + index;
}
const Op* stop(const Op*, uint64_t*) { return nullptr; }

// --- lookup -------------------------------------------------------------------------------------

ThreadedFn find_narrow(Opcode op, DType type, DType narrow) {
  const bool bf16 = narrow == DType::bf16, f16 = narrow == DType::f16;
  switch (op) {
    case Opcode::round_to:
      if (bf16) return unary<float, round_bf16_fn>;
      return f16 ? static_cast<ThreadedFn>(unary<float, round_f16_fn>) : round_byte;
    case Opcode::encode:
      if (bf16) return unary<float, encode_bf16_fn>;
      return f16 ? static_cast<ThreadedFn>(unary<float, encode_f16_fn>) : encode_byte;
    case Opcode::decode:
      if (bf16) return unary<uint16_t, decode_bf16_fn>;
      return f16 ? static_cast<ThreadedFn>(unary<uint16_t, decode_f16_fn>) : decode_byte;
    default:
      return type == DType::s8 ? static_cast<ThreadedFn>(wrap_byte<int8_t>) : wrap_byte<uint8_t>;
  }
}

ThreadedFn find_convert(DType type, DType from) {
  return with_any(from, [&](auto f) -> ThreadedFn {
    using From = decltype(f);
    if (type == DType::pred) return unary<From, to_pred_fn>;
    return with_any(type, [](auto t) -> ThreadedFn {
      using To = decltype(t);
      return unary<From, convert_fn<To>>;
    });
  });
}

ThreadedFn find_float(Opcode op, DType type) {
  switch (op) {
#define U(name)      \
  case Opcode::name: \
    return with_float(type, [](auto t) -> ThreadedFn { return unary<decltype(t), name##_fn>; });
#define B(name)      \
  case Opcode::name: \
    return with_float(type, [](auto t) -> ThreadedFn { return binary<decltype(t), name##_fn>; });
    U(ceil)
    U(floor)
    U(round_afz)
    U(round_even) U(is_finite) U(sqrt) U(rsqrt) U(cbrt) U(exp) U(expm1) U(log) U(log1p) U(logistic)
        U(tanh) U(sin) U(cos) U(tan) U(sinh) U(cosh) U(asin) U(acos) U(atan) U(asinh) U(acosh)
            U(atanh) U(erf) U(erfc) U(erf_inv) B(atan2) B(hypot)
#undef U
#undef B
                default : return nullptr;
  }
}

ThreadedFn find_int(Opcode op, DType type) {
  switch (op) {
#define U(name, function) \
  case Opcode::name:      \
    return with_int(type, [](auto t) -> ThreadedFn { return unary<decltype(t), function##_fn>; });
#define B(name, function) \
  case Opcode::name:      \
    return with_int(type, [](auto t) -> ThreadedFn { return binary<decltype(t), function##_fn>; });
    U(not_, not )
    U(popcnt, popcnt)
    U(clz, clz)
    B(and_, and) B(or_, or) B(xor_, xor) B(shl, shl) B(shr_a, shr_a) B(shr_l, shr_l)
#undef U
#undef B
        case Opcode::rotl : return with_int(type, [](auto t) -> ThreadedFn {
          return binary<Unsigned<decltype(t)>, rotl_fn>;
        });
    default:
      return nullptr;
  }
}

ThreadedFn find_plain(Opcode op, DType type) {
  switch (op) {
#define U(name)      \
  case Opcode::name: \
    return with_any(type, [](auto t) -> ThreadedFn { return unary<decltype(t), name##_fn>; });
#define B(name)      \
  case Opcode::name: \
    return with_any(type, [](auto t) -> ThreadedFn { return binary<decltype(t), name##_fn>; });
    U(neg)
    U(abs)
    U(sign)
    B(add) B(sub) B(mul) B(div) B(rem) B(max) B(min) B(pow) B(eq) B(ne) B(lt) B(le)
#undef U
#undef B
        default : return nullptr;
  }
}

template <typename Fn>
ThreadedFn find_jump(DType from, bool when) {
  return with_any(from, [&](auto t) -> ThreadedFn {
    using T = decltype(t);
    return when ? compare_jump<T, Fn, true> : compare_jump<T, Fn, false>;
  });
}

}  // namespace

ThreadedFn find_threaded(const ScalarInstr& i, DType from) {
  const DType type = i.type;
  switch (i.op) {
    case Opcode::convert:
      return find_convert(type, from);
    case Opcode::bitcast:
      return with_bits(ir::byte_size(type), [](auto t) -> ThreadedFn { return move<decltype(t)>; });
    case Opcode::encode:
    case Opcode::decode:
    case Opcode::round_to:
    case Opcode::wrap:
      return find_narrow(i.op, type, static_cast<DType>(i.imm));
    case Opcode::reduce_precision:
      return type == DType::f64 ? precision<double> : precision<float>;
    case Opcode::select:
      return with_bits(ir::byte_size(type),
                       [](auto t) -> ThreadedFn { return choose<decltype(t)>; });
    case Opcode::threefry:
      return threefry;
    default:
      break;
  }
  if (ThreadedFn fn = find_plain(i.op, from)) return fn;
  const bool is_float = from == DType::f32 || from == DType::f64;
  return is_float ? find_float(i.op, from) : find_int(i.op, from);
}

ThreadedFn find_multiply_add(DType type) {
  return with_float(type, [](auto t) -> ThreadedFn { return multiply_add<decltype(t)>; });
}

ThreadedFn find_compare_jump(Opcode compare, DType from, bool when) {
  switch (compare) {
    case Opcode::eq:
      return find_jump<eq_fn>(from, when);
    case Opcode::ne:
      return find_jump<ne_fn>(from, when);
    case Opcode::lt:
      return find_jump<lt_fn>(from, when);
    case Opcode::le:
      return find_jump<le_fn>(from, when);
    default:
      return nullptr;
  }
}

ThreadedFn find_control(Control control, int size) {
  switch (control) {
    case Control::move:
      return with_bits(size, [](auto t) -> ThreadedFn { return move<decltype(t)>; });
    case Control::load:
      return with_bits(size, [](auto t) -> ThreadedFn { return load<decltype(t)>; });
    case Control::store:
      return with_bits(size, [](auto t) -> ThreadedFn { return store<decltype(t)>; });
    case Control::copy:
      return copy;
    case Control::offset:
      return offset;
    case Control::swap:
      return swap;
    case Control::jump:
      return jump;
    case Control::jump_if:
      return jump_when<true>;
    case Control::jump_unless:
      return jump_when<false>;
    case Control::count_down:
      return count_down;
    case Control::pick:
      return pick;
    case Control::stop:
      break;
  }
  return stop;
}

}  // namespace jaxmps::kernels
