#include "kernels/gpu_expression.h"

#include <array>
#include <bit>

#include "ir/float_codec.h"

namespace jaxmps::kernels {

std::string gpu_hex(uint64_t v) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  do text.insert(text.begin(), kDigits[v & 15]);
  while (v >>= 4);
  return "0x" + text;
}

std::string gpu_type(DType t) {
  switch (t) {
    case DType::s8:
      return "s8";
    case DType::s16:
      return "s16";
    case DType::s32:
      return "s32";
    case DType::s64:
      return "s64";
    case DType::u16:
      return "u16";
    case DType::u32:
      return "u32";
    case DType::u64:
      return "u64";
    case DType::f32:
      return "f32";
    default:
      return "u8";
  }
}

namespace {

std::string constant_text(DType type, uint64_t bits) {
  if (type == DType::f32) return str("from_bits(", gpu_hex(bits), "u)");
  // Without a suffix the number has the type that holds it; Metal has no long long.
  return str("(", gpu_type(type), ")", gpu_hex(bits));
}

std::string convert(DType type, DType from, const std::string& a) {
  if (type == DType::pred) return str("(u8)(", a, " != 0)");
  if (from == DType::f32 && type != from) return str("truncated<", gpu_type(type), ">(", a, ")");
  return str("(", gpu_type(type), ")", a);
}

std::string bitcast(DType type, DType from, const std::string& a) {
  if (type == DType::f32) return str("from_bits((u32)", a, ")");
  return str("(", gpu_type(type), ")", from == DType::f32 ? "bits_of" : "", "(", a, ")");
}

std::string narrow(const ScalarInstr& i, const std::string& a) {
  const auto dtype = static_cast<DType>(i.imm);
  const ir::FloatFormat format = ir::float_format(dtype);
  std::string name(format.has_sign ? "signed" : "power"), codec;
  if (!ir::is_small_float(dtype)) name = ir::name(dtype);
  if (ir::is_small_float(dtype) && format.has_sign) {
    const ir::FloatCodec words = codec_of(format);
    for (const uint32_t word : std::bit_cast<std::array<uint32_t, sizeof words / 4>>(words))
      codec += str(codec.empty() ? ", FloatCodec{" : ", ", gpu_hex(word), "u");
    codec += "}";
  }
  const std::string code = i.op == Opcode::decode ? a : str("encode_", name, "(", a, codec, ")");
  return i.op == Opcode::encode ? str("(", gpu_type(i.type), ")", code)
                                : str("decode_", name, "(", code, codec, ")");
}

// An instruction whose operands are text, the first of type `from`.
Result<std::string> expression(const ScalarInstr& i, DType from, const std::string& a,
                               const std::string& b, const std::string& c) {
  const std::string type = gpu_type(i.type);
  switch (i.op) {
    case Opcode::constant:
      return constant_text(i.type, i.imm);
    case Opcode::convert:
      return convert(i.type, from, a);
    case Opcode::bitcast:
      return bitcast(i.type, from, a);
    case Opcode::encode:
    case Opcode::decode:
    case Opcode::round_to:
      return narrow(i, a);
    case Opcode::wrap:
      return str("wrap_of<", type, ">(", a, ", ", i.imm, ")");
    case Opcode::reduce_precision:
      return str("reduce_precision_of(", a, ", ", i.imm, ")");
    case Opcode::select:
      return str("(", a, " ? ", b, " : ", c, ")");
    default:
      break;
  }
  if (class_of(i.op) == OpClass::structural || is_reduction(i.op))
    return unimplemented(str("no GPU form for ", name(i.op)));
  // Those of floats are no templates on GPUs.
  const std::string of = from == DType::f32 ? "" : str("<", gpu_type(from), ">");
  return str(name(i.op), "_of", of, "(", a, b.empty() ? "" : ", ", b, ")");
}

}  // namespace

Result<std::string> gpu_expression(const ScalarProgram& program, const ScalarInstr& instr,
                                   const std::string& a, const std::string& b,
                                   const std::string& c) {
  const DType from = instr.a < 0 ? instr.type : program.instrs[static_cast<size_t>(instr.a)].type;
  return expression(instr, from, a, b, c);
}

std::string gpu_combine(Opcode reduce, DType type, const std::string& a, const std::string& b) {
  return expression({combining(reduce), type}, type, a, b, "").value();
}

std::string gpu_neutral(Opcode reduce, DType type) {
  const bool real = type == DType::f32, is_signed = ir::is_signed_int(type);
  const int width = 8 * ir::byte_size(type);
  const uint64_t ones = width == 64 ? ~0ull : (1ull << width) - 1, sign = 1ull << (width - 1);
  const uint64_t inf = 0x7f800000;
  uint64_t bits = 0;
  switch (reduce) {
    case Opcode::reduce_mul:
      bits = real ? 0x3f800000 : 1;
      break;
    case Opcode::reduce_max:
      bits = real ? inf | sign : is_signed ? sign : 0;
      break;
    case Opcode::reduce_min:
      bits = real ? inf : is_signed ? sign - 1 : ones;
      break;
    case Opcode::reduce_and:
      bits = ones;
      break;
    case Opcode::reduce_add:
      bits = real ? sign : 0;
      break;
    default:
      break;
  }
  return constant_text(type, bits);
}

}  // namespace jaxmps::kernels
