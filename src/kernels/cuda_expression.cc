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
  Expression(const ScalarProgram& program, const ScalarInstr& i, std::string a, std::string b,
             std::string c)
      : program_(program), i_(i), a_(std::move(a)), b_(std::move(b)), c_(std::move(c)) {}

  Result<std::string> text() const {
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
      case Opcode::is_finite:
        return str("(u8)(", call("fabs", a_, from()), " < ", infinity(from()), ")");
      case Opcode::eq:
        return str("(u8)(", a_, " == ", b_, ")");
      case Opcode::ne:
        return str("(u8)(", a_, " != ", b_, ")");
      case Opcode::lt:
        return str("(u8)(", a_, " < ", b_, ")");
      case Opcode::le:
        return str("(u8)(", a_, " <= ", b_, ")");
      case Opcode::and_:
        return str("(", t(), ")(", a_, " & ", b_, ")");
      case Opcode::or_:
        return str("(", t(), ")(", a_, " | ", b_, ")");
      case Opcode::xor_:
        return str("(", t(), ")(", a_, " ^ ", b_, ")");
      case Opcode::not_:
        return str("(", t(), ")(~", a_, ")");
      default:
        return is_real_machine(i_.type) ? real_op() : int_op();
    }
  }

 private:
  std::string t() const { return cuda_type(i_.type); }
  DType from() const { return program_.instrs[static_cast<size_t>(i_.a)].type; }
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
    if (is_real_machine(from()) && !is_real_machine(i_.type))
      return str("f_to_i<", t(), ", ", cuda_type(from()), ">(", a_, ")");
    return str("(", t(), ")", a_);
  }
  Result<std::string> bitcast() const {
    if (i_.type == DType::f32) return str("__uint_as_float((u32)", a_, ")");
    if (i_.type == DType::f64) return str("__longlong_as_double((s64)", a_, ")");
    if (from() == DType::f32) return str("(", t(), ")__float_as_uint(", a_, ")");
    if (from() == DType::f64) return str("(", t(), ")__double_as_longlong(", a_, ")");
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
  Result<std::string> real_op() const {
    switch (i_.op) {
      case Opcode::add:
        return str("(", a_, " + ", b_, ")");
      case Opcode::sub:
        return str("(", a_, " - ", b_, ")");
      case Opcode::mul:
        return str("(", a_, " * ", b_, ")");
      case Opcode::div:
        return str("(", a_, " / ", b_, ")");
      case Opcode::max:
        return str("f_max(", a_, ", ", b_, ")");
      case Opcode::min:
        return str("f_min(", a_, ", ", b_, ")");
      case Opcode::neg:
        return str("(-", a_, ")");
      case Opcode::sign:
        return str("f_sign<", t(), ">(", a_, ")");
      case Opcode::logistic:
        return str("f_logistic(", a_, ")");
      case Opcode::abs:
        return call("fabs", a_, i_.type);
      case Opcode::round_afz:
        return call("round", a_, i_.type);
      case Opcode::round_even:
        return call("rint", a_, i_.type);
      case Opcode::erf_inv:
        return call("erfinv", a_, i_.type);
      case Opcode::rem:
        return call("fmod", a_ + ", " + b_, i_.type);
      case Opcode::pow:
      case Opcode::atan2:
      case Opcode::hypot:
        return call(name(i_.op), a_ + ", " + b_, i_.type);
      case Opcode::ceil:
      case Opcode::floor:
      case Opcode::sqrt:
      case Opcode::rsqrt:
      case Opcode::cbrt:
      case Opcode::exp:
      case Opcode::expm1:
      case Opcode::log:
      case Opcode::log1p:
      case Opcode::tanh:
      case Opcode::sin:
      case Opcode::cos:
      case Opcode::tan:
      case Opcode::sinh:
      case Opcode::cosh:
      case Opcode::asin:
      case Opcode::acos:
      case Opcode::atan:
      case Opcode::asinh:
      case Opcode::acosh:
      case Opcode::atanh:
      case Opcode::erf:
      case Opcode::erfc:
        return call(name(i_.op), a_, i_.type);
      default:
        return unimplemented(str("no CUDA form for ", name(i_.op)));
    }
  }
  Result<std::string> int_op() const {
    switch (i_.op) {
      case Opcode::neg:
        return str("i_sub<", t(), ">(0, ", a_, ")");
      case Opcode::abs:
      case Opcode::sign:
      case Opcode::popcnt:
      case Opcode::clz:
        return str("i_", name(i_.op), "<", t(), ">(", a_, ")");
      case Opcode::add:
      case Opcode::sub:
      case Opcode::mul:
      case Opcode::div:
      case Opcode::rem:
      case Opcode::max:
      case Opcode::min:
      case Opcode::shl:
      case Opcode::shr_a:
      case Opcode::shr_l:
      case Opcode::rotl:
      case Opcode::pow:
        return str("i_", name(i_.op), "<", t(), ">(", a_, ", ", b_, ")");
      default:
        return unimplemented(str("no CUDA form for ", name(i_.op)));
    }
  }

  const ScalarProgram& program_;
  const ScalarInstr& i_;
  std::string a_, b_, c_;
};

}  // namespace

Result<std::string> cuda_expression(const ScalarProgram& program, const ScalarInstr& instr,
                                    const std::string& a, const std::string& b,
                                    const std::string& c) {
  return Expression(program, instr, a, b, c).text();
}

std::string cuda_combine(Opcode reduce, DType type, const std::string& a, const std::string& b) {
  const bool real = is_real_machine(type);
  const std::string t = cuda_type(type);
  switch (reduce) {
    case Opcode::reduce_add:
      return real ? str(a, " + ", b) : str("i_add<", t, ">(", a, ", ", b, ")");
    case Opcode::reduce_mul:
      return real ? str(a, " * ", b) : str("i_mul<", t, ">(", a, ", ", b, ")");
    case Opcode::reduce_max:
      return real ? str("f_max(", a, ", ", b, ")") : str("i_max<", t, ">(", a, ", ", b, ")");
    case Opcode::reduce_min:
      return real ? str("f_min(", a, ", ", b, ")") : str("i_min<", t, ">(", a, ", ", b, ")");
    case Opcode::reduce_and:
      return str("(", t, ")(", a, " & ", b, ")");
    case Opcode::reduce_or:
      return str("(", t, ")(", a, " | ", b, ")");
    default:
      return str("(", t, ")(", a, " ^ ", b, ")");
  }
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
