#include "kernels/threaded.h"

#include <algorithm>
#include <cstring>

#include "ir/float_format.h"
#include "kernels/cpu/vec.h"
#include "scalar/functions.h"

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
const Op* call_unary(const Op* op, uint64_t* r) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  const auto function = reinterpret_cast<T (*)(T)>(op->imm);
  write(r, op->d, function(read<T>(r, op->a)));
  JAXMPS_NEXT;
}
template <typename T>
const Op* call_binary(const Op* op, uint64_t* r) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  const auto function = reinterpret_cast<T (*)(T, T)>(op->imm);
  write(r, op->d, function(read<T>(r, op->a), read<T>(r, op->b)));
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
  write(r, op->d, wrap_of(read<T>(r, op->a), op->imm));
  JAXMPS_NEXT;
}
const Op* encode_byte(const Op* op, uint64_t* r) {
  const auto code = encode_float(read<float>(r, op->a), float_format(static_cast<DType>(op->imm)));
  write(r, op->d, static_cast<uint8_t>(code));
  JAXMPS_NEXT;
}
const Op* decode_byte(const Op* op, uint64_t* r) {
  write(r, op->d, decode_float(read<uint8_t>(r, op->a), float_format(static_cast<DType>(op->imm))));
  JAXMPS_NEXT;
}
const Op* round_byte(const Op* op, uint64_t* r) {
  const ir::FloatFormat format = float_format(static_cast<DType>(op->imm));
  write(r, op->d, decode_float(encode_float(read<float>(r, op->a), format), format));
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

}  // namespace

const void* called_function(const ScalarInstr& i, DType from) {
  if (from != DType::f32 && from != DType::f64) return nullptr;
  if (info(i.op).cost < kExpensive && i.op != Opcode::hypot) return nullptr;
  return cpu::vec_table().find_element(i.op, from).single;
}

ThreadedFn find_threaded(const ScalarInstr& i, DType from) {
  const DType type = i.type;
  if (called_function(i, from)) {
    return with_float(from, [&](auto t) -> ThreadedFn {
      using T = decltype(t);
      return i.b < 0 ? call_unary<T> : call_binary<T>;
    });
  }
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
  return with_function<ThreadedFn>(i.op, from, [](auto f, auto t) -> ThreadedFn {
    if constexpr (requires { f.call(t); }) {
      return unary<decltype(t), decltype(f)>;
    } else {
      return binary<decltype(t), decltype(f)>;
    }
  });
}

ThreadedFn find_multiply_add(DType type) {
  return with_float(type, [](auto t) -> ThreadedFn { return multiply_add<decltype(t)>; });
}

ThreadedFn find_compare_jump(Opcode compare, DType from, bool when) {
  const OpClass op_class = class_of(compare);
  if (op_class != OpClass::equality && op_class != OpClass::order) return nullptr;
  return with_function<ThreadedFn>(compare, from, [when](auto f, auto t) -> ThreadedFn {
    using T = decltype(t);
    using Fn = decltype(f);
    if constexpr (requires { f.call(t, t); }) {
      return when ? compare_jump<T, Fn, true> : compare_jump<T, Fn, false>;
    } else {
      return nullptr;
    }
  });
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
