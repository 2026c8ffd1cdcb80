#include "kernels/cuda_expression.h"

namespace jaxmps::kernels {

std::string cuda_hex(uint64_t v) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  do text.insert(text.begin(), kDigits[v & 15]);
  while (v >>= 4);
  return "0x" + text;
}

std::string cuda_type(DType t) {
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
    case DType::f64:
      return "f64";
    default:
      return "u8";
  }
}

namespace {

std::string constant_text(DType type, uint64_t bits) {
  if (type == DType::f32) return str("__uint_as_float(", cuda_hex(bits), "u)");
  if (type == DType::f64) return str("__longlong_as_double((s64)", cuda_hex(bits), "ull)");
  return str("(", cuda_type(type), ")", cuda_hex(bits), "ull");
}

// One instruction as an expression, its operands already being text.
class Expression {
 public:
  // `from` is the type of a.
  Expression(const ScalarInstr& i, DType from, std::string a, std::string b, std::string c)
      : i_(i), from_(from), a_(std::move(a)), b_(std::move(b)), c_(std::move(c)) {}

  Result<std::string> text() const {
    const bool real = is_real_machine(i_.type);
    switch (class_of(i_.op)) {
      case OpClass::structural:
        return structural();
      case OpClass::real_test:
        return str("(u8)(", call("fabs", a_, from_), " < ", infinity(from_), ")");
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
        if (i_.op == Opcode::neg) return str("(-", a_, ")");
        return i_.op == Opcode::abs ? call("fabs", a_, i_.type)
                                    : str("f_sign<", t(), ">(", a_, ")");
      case OpClass::wrapping_binary:
      case OpClass::number_binary:
        if (!real) return int_call();
        return sign().empty() ? real_call() : str("(", a_, " ", sign(), " ", b_, ")");
      case OpClass::real_unary:
      case OpClass::trig_unary:
      case OpClass::real_binary:
        return real_call();
      case OpClass::reduction:
        break;
    }
    return unimplemented(str("no CUDA form for ", name(i_.op)));
  }

 private:
  std::string t() const { return cuda_type(i_.type); }
  static std::string infinity(DType t) {
    return t == DType::f32 ? "__int_as_float(0x7f800000)"
                           : "__longlong_as_double(0x7ff0000000000000ll)";
  }
  static std::string call(std::string_view f, const std::string& x, DType type) {
    return str(f, type == DType::f32 ? "f(" : "(", x, ")");
  }

  std::string constant() const { return constant_text(i_.type, i_.imm); }
  std::string convert() const {
    if (i_.type == DType::pred) return str("(u8)(", a_, " != 0)");
    if (is_real_machine(from_) && !is_real_machine(i_.type))
      return str("f_to_i<", t(), ", ", cuda_type(from_), ">(", a_, ")");
    return str("(", t(), ")", a_);
  }
  Result<std::string> bitcast() const {
    if (i_.type == DType::f32) return str("__uint_as_float((u32)", a_, ")");
    if (i_.type == DType::f64) return str("__longlong_as_double((s64)", a_, ")");
    if (from_ == DType::f32) return str("(", t(), ")__float_as_uint(", a_, ")");
    if (from_ == DType::f64) return str("(", t(), ")__double_as_longlong(", a_, ")");
    return str("(", t(), ")", a_);
  }
  Result<std::string> narrow() const {
    const DType narrow = static_cast<DType>(i_.imm);
    if (narrow != DType::bf16 && narrow != DType::f16) {
      return unimplemented(str("no CUDA form for ", ir::name(narrow)));
    }
    const std::string f = narrow == DType::bf16 ? "bf16" : "f16";
    if (i_.op == Opcode::encode) return str(f, "_encode(", a_, ")");
    if (i_.op == Opcode::decode) return str(f, "_decode(", a_, ")");
    return str(f, "_decode(", f, "_encode(", a_, "))");
  }
  Result<std::string> structural() const {
    switch (i_.op) {
      case Opcode::constant:
        return constant();
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
        return unimplemented(str("no CUDA form for ", name(i_.op)));
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
  // A function of CUDA's library, by its name there; functions of the prelude begin with f_.
  std::string real_call() const {
    switch (i_.op) {
      case Opcode::max:
        return str("f_max(", operands(), ")");
      case Opcode::min:
        return str("f_min(", operands(), ")");
      case Opcode::logistic:
        return str("f_logistic(", a_, ")");
      case Opcode::round_afz:
        return call("round", a_, i_.type);
      case Opcode::round_even:
        return call("rint", a_, i_.type);
      case Opcode::erf_inv:
        return call("erfinv", a_, i_.type);
      case Opcode::rem:
        return call("fmod", operands(), i_.type);
      default:
        return call(name(i_.op), operands(), i_.type);
    }
  }
  std::string int_call() const { return str("i_", name(i_.op), "<", t(), ">(", operands(), ")"); }

  const ScalarInstr& i_;
  const DType from_;
  std::string a_, b_, c_;
};

}  // namespace

Result<std::string> cuda_expression(const ScalarProgram& program, const ScalarInstr& instr,
                                    const std::string& a, const std::string& b,
                                    const std::string& c) {
  const DType from = instr.a < 0 ? instr.type : program.instrs[static_cast<size_t>(instr.a)].type;
  return Expression(instr, from, a, b, c).text();
}

std::string cuda_combine(Opcode reduce, DType type, const std::string& a, const std::string& b) {
  return Expression({combining(reduce), type}, type, a, b, "").text().value();
}

std::string cuda_neutral(Opcode reduce, DType type) {
  const bool real = is_real_machine(type), is_signed = ir::is_signed_int(type);
  const int width = 8 * ir::byte_size(type);
  const uint64_t ones = width == 64 ? ~0ull : (1ull << width) - 1, sign = 1ull << (width - 1);
  const uint64_t inf = type == DType::f32 ? 0x7f800000ull : 0x7ff0000000000000ull;
  uint64_t bits = 0;
  switch (reduce) {
    case Opcode::reduce_mul:
      bits = type == DType::f32 ? 0x3f800000ull : type == DType::f64 ? 0x3ff0000000000000ull : 1;
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
