// Conversions from and to narrow floats and integers, for LLVM: what ir/float_codec.def and
// scalar/half.h do.
#include "ir/float_codec.h"
#include "kernels/llvm/text.h"

namespace jaxmps::kernels {
namespace {

// Instructions on words, appended to a block.
class Words {
 public:
  Words(LlvmText* text, std::string* to) : text_(*text), to_(to) {}

  std::string emit(const std::string& right) { return text_.emit(to_, right); }
  template <typename B>
  std::string op(const char* name, const std::string& a, const B& b) {
    return emit(str(name, " i32 ", a, ", ", b));
  }
  // `test` is a predicate of an icmp.
  template <typename B, typename Yes, typename No>
  std::string select(const char* test, const std::string& a, const B& b, const Yes& yes,
                     const No& no) {
    const std::string p = emit(str("icmp ", test, " i32 ", a, ", ", b));
    return emit(str("select i1 ", p, ", i32 ", yes, ", i32 ", no));
  }
  std::string bits(const std::string& x) { return emit(str("bitcast float ", x, " to i32")); }
  std::string number(const std::string& u) { return emit(str("bitcast i32 ", u, " to float")); }
  static std::string constant(uint32_t bits) { return llvm_constant(ir::DType::f32, bits); }

  std::string encode_signed(const std::string& u, const ir::FloatCodec& c, bool keeps_payload);
  std::string decode_signed(const std::string& code, const ir::FloatCodec& c, bool keeps_payload);
  std::string encode_power(const std::string& u);
  std::string decode_power(const std::string& code);

 private:
  LlvmText& text_;
  std::string* const to_;
};

std::string Words::encode_signed(const std::string& u, const ir::FloatCodec& c,
                                 bool keeps_payload) {
  const std::string a = op("and", u, 0x7fffffff);
  const std::string odd = op("and", op("lshr", a, c.shift), c.odd);
  const std::string rounded = op("lshr", op("add", op("add", a, c.half), odd), c.shift);
  const std::string normal = op("sub", rounded, c.rebias);
  std::string r = normal;
  // With float32's own exponent nothing is out of range.
  if (c.rebias != 0) {
    const std::string up = emit(str("fadd float ", number(a), ", ", constant(c.magic)));
    r = select("ult", a, c.smallest_normal, op("sub", bits(up), c.magic), normal);
    r = select("ugt", r, c.largest, c.overflow, r);
  }
  std::string nan = str(c.nan);
  if (keeps_payload) nan = op("or", op("and", op("lshr", u, c.shift), c.fractions >> 1), c.nan);
  r = select("ugt", a, 0x7f800000, nan, r);
  std::string sign = op("and", op("lshr", u, c.sign_shift), c.sign_bit);
  if (c.zero_sign != c.sign_bit) sign = select("eq", r, 0, 0, sign);
  return op("or", r, sign);
}

std::string Words::decode_signed(const std::string& code, const ir::FloatCodec& c,
                                 bool keeps_payload) {
  const std::string m = op("and", code, c.ones);
  const std::string sign = op("shl", op("and", code, c.sign_bit), c.sign_shift);
  const std::string units = emit(str("sitofp i32 ", m, " to float"));
  const std::string small = emit(str("fmul float ", units, ", ", constant(c.unit)));
  const std::string up = op("shl", m, c.shift);
  const std::string normal = op("add", up, c.rebias << c.shift);
  std::string r = select("ule", m, c.fractions, bits(small), normal);
  if (keeps_payload) {
    r = select("ugt", m, c.largest, op("or", up, 0x7f800000), r);
  } else if (c.largest != c.ones) {
    const std::string top = select("eq", m, c.infinity, 0x7f800000, 0x7fc00000);
    r = select("ugt", m, c.largest, top, r);
  }
  r = op("or", r, sign);
  return c.minus_nan > c.sign_bit ? r : select("eq", code, c.minus_nan, 0x7fc00000, r);
}

std::string Words::encode_power(const std::string& u) {
  const std::string half = select("ult", u, 0x00800000, 0x200000, 0x400000);
  const std::string field = op("lshr", op("add", u, half), 23);
  return select("uge", op("sub", u, 1), 0x7f800000 - 1, 0xff, field);
}

std::string Words::decode_power(const std::string& code) {
  const std::string r = select("eq", code, 0, 0x00400000, op("shl", code, 23));
  return select("eq", code, 0xff, 0x7fc00000, r);
}

}  // namespace

std::string LlvmText::narrow(std::string* to, const ScalarInstr& instr, const std::string& a) {
  Words words(this, to);
  if (instr.op == Opcode::wrap) {
    const int drop = 8 - static_cast<int>(instr.imm);
    const std::string up = emit(to, str("shl i8 ", a, ", ", drop));
    return emit(to, str(instr.type == DType::s8 ? "ashr" : "lshr", " i8 ", up, ", ", drop));
  }
  const auto narrow = static_cast<DType>(instr.imm);
  const ir::FloatFormat format = ir::float_format(narrow);
  const ir::FloatCodec codec = ir::codec_of(format);
  const bool has_payload = narrow == DType::f16 || narrow == DType::bf16;
  const char* stored = llvm_type(storage_machine_type(narrow));
  std::string code;
  if (instr.op == Opcode::decode) {
    code = emit(to, str("zext ", stored, ' ', a, " to i32"));
    if (narrow == DType::bf16) return words.number(words.op("shl", code, 16));
  } else {
    const std::string u = words.bits(a);
    code = format.has_sign ? words.encode_signed(u, codec, has_payload) : words.encode_power(u);
    if (instr.op == Opcode::encode) return emit(to, str("trunc i32 ", code, " to ", stored));
    if (narrow == DType::bf16) return words.number(words.op("shl", code, 16));
  }
  const std::string r =
      format.has_sign ? words.decode_signed(code, codec, has_payload) : words.decode_power(code);
  if (instr.op == Opcode::decode || narrow != DType::f16) return words.number(r);
  // Rounding leaves a NaN as it is.
  const std::string nan = emit(to, str("fcmp uno float ", a, ", ", a));
  return emit(to, str("select i1 ", nan, ", float ", a, ", float ", words.number(r)));
}

}  // namespace jaxmps::kernels
