// The table of scalar functions as types: what the evaluator, the vector loops and threaded code
// are made from. Included once per instruction set; everything is internal to the including file.
// Stateless functions; any thread.
#pragma once

#include "scalar/half.h"
#include "scalar/machine_type.h"
#include "scalar/scalar_math.h"

namespace jaxmps::scalar {
namespace {

// Function<op>::call(a) or call(a, b), on the machine types of the op's class.
template <Opcode op>
struct Function;

#define SCALAR_UNARY(opcode)                                          \
  template <>                                                         \
  struct Function<Opcode::opcode> {                                   \
    template <typename T>                                             \
    static JAXMPS_INLINE auto call(T a) -> decltype(opcode##_of(a)) { \
      return opcode##_of(a);                                          \
    }                                                                 \
  };
#define SCALAR_BINARY(opcode)                                                 \
  template <>                                                                 \
  struct Function<Opcode::opcode> {                                           \
    template <typename T>                                                     \
    static JAXMPS_INLINE auto call(T a, T b) -> decltype(opcode##_of(a, b)) { \
      return opcode##_of(a, b);                                               \
    }                                                                         \
  };
// `call` takes all digits of pi, which `fast` lacks for arguments beyond kTrigLimit.
#define SCALAR_TRIG(opcode)                                       \
  template <>                                                     \
  struct Function<Opcode::opcode> {                               \
    template <typename T>                                         \
    static JAXMPS_INLINE T fast(T a) {                            \
      return opcode##_of(a);                                      \
    }                                                             \
    template <typename T>                                         \
    static T exact(T a) {                                         \
      return static_cast<T>(std::opcode(static_cast<double>(a))); \
    }                                                             \
    template <typename T>                                         \
    static JAXMPS_INLINE T call(T a) {                            \
      return absolute(a) > kTrigLimit ? exact(a) : fast(a);       \
    }                                                             \
  };
#define SCALAR_FUNCTION_real_unary SCALAR_UNARY
#define SCALAR_FUNCTION_trig_unary SCALAR_TRIG
#define SCALAR_FUNCTION_real_test SCALAR_UNARY
#define SCALAR_FUNCTION_number_unary SCALAR_UNARY
#define SCALAR_FUNCTION_bits_unary SCALAR_UNARY
#define SCALAR_FUNCTION_wrapping_binary SCALAR_BINARY
#define SCALAR_FUNCTION_number_binary SCALAR_BINARY
#define SCALAR_FUNCTION_bits_binary SCALAR_BINARY
#define SCALAR_FUNCTION_int_binary SCALAR_BINARY
#define SCALAR_FUNCTION_real_binary SCALAR_BINARY
#define SCALAR_FUNCTION_equality SCALAR_BINARY
#define SCALAR_FUNCTION_order SCALAR_BINARY
#define SCALAR_OP(opcode, class, ...) SCALAR_FUNCTION_##class(opcode)
#define SCALAR_HELPER(opcode, class, ...) SCALAR_FUNCTION_##class(opcode)
#include "ir/scalar_ops.def"
#undef SCALAR_UNARY
#undef SCALAR_BINARY
#undef SCALAR_TRIG

// g(Function<op>()) if the op is of the class, else R().
template <typename R, OpClass op_class, typename G>
R with_function(Opcode op, G g) {
  switch (op) {
#define SCALAR_OP(opcode, class, ...)                                               \
  case Opcode::opcode:                                                              \
    if constexpr (OpClass::class == op_class) return g(Function<Opcode::opcode>()); \
    break;
#define SCALAR_HELPER(opcode, class, ...) SCALAR_OP(opcode, class, )
#include "ir/scalar_ops.def"
    default:
      break;
  }
  return R();
}

// The type by which functions are chosen that treat integers with and without sign alike.
inline DType without_sign(DType type) {
  switch (type) {
    case DType::s8:
      return DType::u8;
    case DType::s16:
      return DType::u16;
    case DType::s32:
      return DType::u32;
    case DType::s64:
      return DType::u64;
    default:
      return type;
  }
}

// g(Function<op>(), T()) with T the C++ type of operands of machine type `type`; R() for opcodes
// that are no functions and for types outside of the op's class.
template <typename R, typename G>
R with_function(Opcode op, DType type, G g) {
  const auto real = [&](auto f) -> R {
    return with_float(type, [&](auto t) -> R { return g(f, t); });
  };
  const auto integer = [&](auto f) -> R {
    return with_int(type, [&](auto t) -> R { return g(f, t); });
  };
  const auto number = [&](auto f) -> R {
    return with_any(type, [&](auto t) -> R { return g(f, t); });
  };
  switch (class_of(op)) {
    case OpClass::structural:
    case OpClass::reduction:
      return R();
#define JAXMPS_CLASS(name, domain) \
  case OpClass::name:              \
    return with_function<R, OpClass::name>(op, domain);
#define JAXMPS_CLASS_WITHOUT_SIGN(name, domain) \
  case OpClass::name:                           \
    type = without_sign(type);                  \
    return with_function<R, OpClass::name>(op, domain);
      JAXMPS_CLASS(real_unary, real)
      JAXMPS_CLASS(trig_unary, real)
      JAXMPS_CLASS(real_test, real)
      JAXMPS_CLASS(real_binary, real)
      JAXMPS_CLASS(int_binary, integer)
      JAXMPS_CLASS(number_unary, number)
      JAXMPS_CLASS(number_binary, number)
      JAXMPS_CLASS(order, number)
      JAXMPS_CLASS_WITHOUT_SIGN(bits_unary, integer)
      JAXMPS_CLASS_WITHOUT_SIGN(bits_binary, integer)
      JAXMPS_CLASS_WITHOUT_SIGN(wrapping_binary, number)
      JAXMPS_CLASS_WITHOUT_SIGN(equality, number)
#undef JAXMPS_CLASS
#undef JAXMPS_CLASS_WITHOUT_SIGN
  }
  return R();
}

// The same for the function that a reduction combines with.
template <typename R, typename G>
R with_combining(Opcode reduction, DType type, G g) {
  const auto call = [&](auto f) -> R {
    return with_any(type, [&](auto t) -> R {
      if constexpr (requires { f.call(t, t); }) {
        return g(f, t);
      } else {
        return R();
      }
    });
  };
  if (class_of(combining(reduction)) != OpClass::number_binary) type = without_sign(type);
  switch (reduction) {
#define SCALAR_REDUCTION(opcode, combining) \
  case Opcode::opcode:                      \
    return call(Function<Opcode::combining>());
#include "ir/scalar_ops.def"
    default:
      return R();
  }
}

// The conversions of 16-bit floats, as functions of the same form.
struct round_bf16_fn {
  static JAXMPS_INLINE float call(float a) { return round_bf16(a); }
};
struct round_f16_fn {
  static JAXMPS_INLINE float call(float a) { return round_f16(a); }
};
struct encode_bf16_fn {
  static JAXMPS_INLINE uint16_t call(float a) { return encode_bf16(a); }
};
struct encode_f16_fn {
  static JAXMPS_INLINE uint16_t call(float a) { return encode_f16(a); }
};
struct decode_bf16_fn {
  static JAXMPS_INLINE float call(uint16_t a) { return decode_bf16(a); }
};
struct decode_f16_fn {
  static JAXMPS_INLINE float call(uint16_t a) { return decode_f16(a); }
};

}  // namespace
}  // namespace jaxmps::scalar
