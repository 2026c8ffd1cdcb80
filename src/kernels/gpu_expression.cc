#include "kernels/gpu_expression.h"

#include "scalar/scalar_int.h"

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

// The functions of a narrow float's bits, up to "encode" and "decode", and the parameters.
struct Codec {
  std::string_view name;
  std::string parameters;
};
Codec codec_of(DType narrow) {
  auto small = [](int exponent, int mantissa, int bias, int top) {
    return Codec{"small", str("<", exponent, ", ", mantissa, ", ", bias, ", ", top, ">")};
  };
  switch (narrow) {
    case DType::f16:
      return {"f16", ""};
    case DType::bf16:
      return {"bf16", ""};
    case DType::f8e8m0fnu:
      return {"power", ""};
    default:
      break;
  }
  const FloatFormat f = float_format(narrow);
  return small(f.exponent, f.mantissa, f.bias, f.top);
}

// One instruction as an expression, its operands already being text.
class Expression {
 public:
  // `from` is the type of a.
  Expression(const ScalarInstr& i, DType from, std::string a, std::string b, std::string c)
      : i_(i), from_(from), a_(std::move(a)), b_(std::move(b)), c_(std::move(c)) {}

  Result<std::string> text() const {
    const bool real = i_.type == DType::f32;
    switch (class_of(i_.op)) {
      case OpClass::structural:
        return structural();
      case OpClass::equality:
      case OpClass::order:
        return str("(u8)(", a_, " ", sign(), " ", b_, ")");
      case OpClass::bits_binary:
        if (sign().empty()) return int_call();
        return str("(", t(), ")(", a_, " ", sign(), " ", b_, ")");
      case OpClass::bits_unary:
        return i_.op == Opcode::bit_not ? str("(", t(), ")(~", a_, ")") : int_call();
      case OpClass::int_binary:
        return int_call();
      case OpClass::number_unary:
        if (!real) return int_call();
        return i_.op == Opcode::neg ? str("(-", a_, ")") : real_call();
      case OpClass::wrapping_binary:
      case OpClass::number_binary:
        if (!real) return int_call();
        return sign().empty() ? real_call() : str("(", a_, " ", sign(), " ", b_, ")");
      case OpClass::real_test:
      case OpClass::real_unary:
      case OpClass::trig_unary:
      case OpClass::real_binary:
        return real_call();
      case OpClass::reduction:
        break;
    }
    return unimplemented(str("no GPU form for ", name(i_.op)));
  }

 private:
  std::string t() const { return gpu_type(i_.type); }
  std::string convert() const {
    if (i_.type == DType::pred) return str("(u8)(", a_, " != 0)");
    if (from_ == DType::f32 && i_.type != DType::f32) return str("f_to_i<", t(), ">(", a_, ")");
    return str("(", t(), ")", a_);
  }
  std::string bitcast() const {
    if (i_.type == DType::f32) return str("from_bits((u32)", a_, ")");
    return from_ == DType::f32 ? str("(", t(), ")bits_of(", a_, ")") : str("(", t(), ")", a_);
  }
  std::string narrow() const {
    const Codec codec = codec_of(static_cast<DType>(i_.imm));
    auto call = [&](std::string_view direction, const std::string& x) {
      return str(codec.name, "_", direction, codec.parameters, "(", x, ")");
    };
    if (i_.op == Opcode::encode) return call("encode", a_);
    return call("decode", i_.op == Opcode::decode ? a_ : call("encode", a_));
  }
  Result<std::string> structural() const {
    switch (i_.op) {
      case Opcode::constant:
        return constant_text(i_.type, i_.imm);
      case Opcode::convert:
        return convert();
      case Opcode::bitcast:
        return bitcast();
      case Opcode::encode:
      case Opcode::decode:
      case Opcode::round_to:
        return narrow();
      case Opcode::wrap: {
        const std::string drop = str(8 - static_cast<int>(i_.imm));
        return str("(", t(), ")((", t(), ")((u8)", a_, " << ", drop, ") >> ", drop, ")");
      }
      case Opcode::reduce_precision:
        return str("reduce_precision(", a_, ", ", i_.imm >> 8, ", ", i_.imm & 0xff, ")");
      case Opcode::select:
        return str("(", a_, " ? ", b_, " : ", c_, ")");
      default:
        return unimplemented(str("no GPU form for ", name(i_.op)));
    }
  }
  // The operator of the language for the op, if it has one with the meaning of ours.
  std::string_view sign() const {
    switch (i_.op) {
      case Opcode::add:
        return "+";
      case Opcode::sub:
        return "-";
      case Opcode::mul:
        return "*";
      case Opcode::div:
        return "/";
      case Opcode::eq:
        return "==";
      case Opcode::ne:
        return "!=";
      case Opcode::lt:
        return "<";
      case Opcode::le:
        return "<=";
      case Opcode::bit_and:
        return "&";
      case Opcode::bit_or:
        return "|";
      case Opcode::bit_xor:
        return "^";
      default:
        return "";
    }
  }
  std::string operands() const { return b_.empty() ? a_ : str(a_, ", ", b_); }
  // Functions of the prelude are named after the opcode.
  std::string real_call() const { return str("f_", name(i_.op), "(", operands(), ")"); }
  std::string int_call() const { return str("i_", name(i_.op), "<", t(), ">(", operands(), ")"); }

  const ScalarInstr& i_;
  const DType from_;
  std::string a_, b_, c_;
};

}  // namespace

Result<std::string> gpu_expression(const ScalarProgram& program, const ScalarInstr& instr,
                                   const std::string& a, const std::string& b,
                                   const std::string& c) {
  const DType from = instr.a < 0 ? instr.type : program.instrs[static_cast<size_t>(instr.a)].type;
  return Expression(instr, from, a, b, c).text();
}

std::string gpu_combine(Opcode reduce, DType type, const std::string& a, const std::string& b) {
  return Expression({combining(reduce), type}, type, a, b, "").text().value();
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
