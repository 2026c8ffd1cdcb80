#include <cstring>

#include "ir/float_format.h"
#include "scalar/functions.h"
#include "scalar/scalar.h"

namespace jaxmps::scalar {
namespace {

template <typename T>
T unpack(uint64_t word) {
  T value;
  std::memcpy(&value, &word, sizeof value);  // little-endian
  return value;
}
template <typename T>
uint64_t pack(T value) {
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  return word;
}

uint64_t narrow_op(const ScalarInstr& i, uint64_t a) {
  const DType narrow = static_cast<DType>(i.imm);
  const ir::FloatFormat format = float_format(narrow);
  const float x = unpack<float>(a);
  const bool bf16 = narrow == DType::bf16, f16 = narrow == DType::f16;
  switch (i.op) {
    case Opcode::encode:
      if (bf16) return encode_bf16(x);
      return f16 ? encode_f16(x) : encode_float(x, format);
    case Opcode::decode:
      if (bf16) return pack(decode_bf16(static_cast<uint16_t>(a)));
      return pack(f16 ? decode_f16(static_cast<uint16_t>(a))
                      : decode_float(static_cast<uint32_t>(a), format));
    case Opcode::round_to:
      if (bf16) return pack(round_bf16(x));
      return pack(f16 ? round_f16(x) : decode_float(encode_float(x, format), format));
    default:  // wrap
      return i.type == DType::s8 ? pack(wrap_of(static_cast<int8_t>(a), i.imm))
                                 : wrap_of(static_cast<uint8_t>(a), i.imm);
  }
}

// The instruction on `values`, the words of all instructions before it.
uint64_t step(const ScalarProgram& program, const ScalarInstr& i, const uint64_t* values,
              const void* const* inputs) {
  if (i.op == Opcode::input) {
    const int size = ir::byte_size(i.type);
    uint64_t word = 0;
    std::memcpy(&word, static_cast<const char*>(inputs[i.imm / 2]) + (i.imm % 2 ? size : 0),
                static_cast<size_t>(size));
    return word;
  }
  if (i.op == Opcode::constant) return i.imm;
  if (i.op == Opcode::threefry_second) {
    const ScalarInstr& t = program.instrs[static_cast<size_t>(i.a)];
    return threefry_of(static_cast<uint32_t>(values[t.a]), static_cast<uint32_t>(values[t.b]),
                       static_cast<uint32_t>(values[t.c]), static_cast<uint32_t>(values[t.d]))
        .x1;
  }
  auto word = [&](int32_t v) { return v < 0 ? 0 : values[v]; };
  const DType from = i.a < 0 ? i.type : program.instrs[static_cast<size_t>(i.a)].type;
  return evaluate(i, from, word(i.a), word(i.b), word(i.c), word(i.d));
}

}  // namespace

uint64_t evaluate(const ScalarInstr& i, DType from, uint64_t a, uint64_t b, uint64_t c,
                  uint64_t d) {
  switch (i.op) {
    case Opcode::constant:
      return i.imm;
    case Opcode::select:
      return a ? b : c;
    case Opcode::bitcast:
      return a;
    case Opcode::encode:
    case Opcode::decode:
    case Opcode::round_to:
    case Opcode::wrap:
      return narrow_op(i, a);
    case Opcode::convert:
      return with_any(from, [&](auto f) {
        const auto x = unpack<decltype(f)>(a);
        if (i.type == DType::pred) return static_cast<uint64_t>(x != 0);
        return with_any(i.type, [&](auto t) { return pack(convert_of<decltype(t)>(x)); });
      });
    case Opcode::reduce_precision:
      return i.type == DType::f64 ? pack(reduce_precision_of(unpack<double>(a), i.imm))
                                  : pack(reduce_precision_of(unpack<float>(a), i.imm));
    case Opcode::threefry:
      return threefry_of(static_cast<uint32_t>(a), static_cast<uint32_t>(b),
                         static_cast<uint32_t>(c), static_cast<uint32_t>(d))
          .x0;
    default:
      return with_function<uint64_t>(i.op, from, [&](auto f, auto t) {
        using T = decltype(t);
        if constexpr (requires { f.call(t); }) {
          return pack(f.call(unpack<T>(a)));
        } else {
          return pack(f.call(unpack<T>(a), unpack<T>(b)));
        }
      });
  }
}

void evaluate(const ScalarProgram& program, const void* const* inputs, void* const* outputs) {
  constexpr size_t kInline = 64;
  uint64_t few[kInline];
  std::vector<uint64_t> many;
  uint64_t* values = few;
  if (program.instrs.size() > kInline) {
    many.resize(program.instrs.size());
    values = many.data();
  }
  for (size_t k = 0; k < program.instrs.size(); ++k) {
    values[k] = step(program, program.instrs[k], values, inputs);
  }
  for (size_t k = 0; k < program.outputs.size(); ++k) {
    const ScalarValue& out = program.outputs[k];
    const size_t size =
        static_cast<size_t>(ir::byte_size(program.instrs[static_cast<size_t>(out.re)].type));
    std::memcpy(outputs[k], &values[out.re], size);
    if (out.im >= 0) std::memcpy(static_cast<char*>(outputs[k]) + size, &values[out.im], size);
  }
}

}  // namespace jaxmps::scalar
