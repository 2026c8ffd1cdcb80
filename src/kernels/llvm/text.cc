#include "kernels/llvm/text.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "base/result.h"
#include "kernels/cpu/vec.h"
#include "scalar/functions.h"

namespace jaxmps::kernels {
namespace {

bool is_real(DType type) { return type == DType::f32 || type == DType::f64; }
int width_of(DType type) { return 8 * ir::byte_size(type); }

std::string hexadecimal(uint64_t bits) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string text = "0x";
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[bits >> shift & 15];
  return text;
}

// A floating-point constant that is neither zero nor NaN.
bool is_plain_number(const std::string& operand) {
  if (operand.compare(0, 2, "0x") != 0) return false;
  uint64_t bits = 0;
  std::from_chars(operand.data() + 2, operand.data() + operand.size(), bits, 16);
  const auto value = std::bit_cast<double>(bits);
  return value == value && value != 0;
}

// Functions that other places of the text compute with a few instructions.
bool is_printed(Opcode op) {
  switch (op) {
    case Opcode::abs:
    case Opcode::add:
    case Opcode::bit_and:
    case Opcode::bit_not:
    case Opcode::bit_or:
    case Opcode::bit_xor:
    case Opcode::ceil:
    case Opcode::clz:
    case Opcode::div:
    case Opcode::eq:
    case Opcode::floor:
    case Opcode::is_finite:
    case Opcode::le:
    case Opcode::lt:
    case Opcode::max:
    case Opcode::min:
    case Opcode::mul:
    case Opcode::ne:
    case Opcode::neg:
    case Opcode::popcnt:
    case Opcode::rotl:
    case Opcode::round_even:
    case Opcode::rsqrt:
    case Opcode::shl:
    case Opcode::shr_a:
    case Opcode::shr_l:
    case Opcode::sign:
    case Opcode::sqrt:
    case Opcode::sub:
      return true;
    default:
      return false;
  }
}

// What has no text here.
float precision_f32(float x, uint64_t imm) { return reduce_precision_of(x, imm); }
double precision_f64(double x, uint64_t imm) { return reduce_precision_of(x, imm); }

template <typename F>
const void* address_of(F* function) {
  return reinterpret_cast<const void*>(function);
}

constexpr const char* kPure = " nounwind willreturn memory(none)";

}  // namespace

// AVX-512's registers are used to their full width, as by the loops that are compiled before.
const char* llvm_attributes() {
  const bool is_wide = std::string_view(cpu::vec_table().name) == "avx512";
  return is_wide ? "nounwind \"prefer-vector-width\"=\"512\"" : "nounwind";
}

const char* llvm_type(DType machine) {
  switch (ir::byte_size(machine)) {
    case 1:
      return "i8";
    case 2:
      return "i16";
    case 4:
      return machine == DType::f32 ? "float" : "i32";
    default:
      return machine == DType::f64 ? "double" : "i64";
  }
}

std::string llvm_constant(DType machine, uint64_t bits) {
  if (machine == DType::f64) return hexadecimal(bits);
  if (machine != DType::f32) {
    const int drop = 64 - width_of(machine);
    return str(static_cast<int64_t>(bits << drop) >> drop);
  }
  // A float32 constant is written as the float64 of the same value.
  const auto word = static_cast<uint32_t>(bits);
  const float value = std::bit_cast<float>(word);
  if (value == value) return hexadecimal(std::bit_cast<uint64_t>(static_cast<double>(value)));
  const uint64_t sign = static_cast<uint64_t>(word >> 31) << 63;
  return hexadecimal(sign | 0x7ffull << 52 | static_cast<uint64_t>(word & 0x7fffffu) << 29);
}

std::string LlvmText::fresh(const char* prefix) { return str('%', prefix, names_++); }

std::string LlvmText::emit(std::string* to, const std::string& right) {
  std::string name = fresh();
  *to += "  ";
  *to += name;
  *to += " = ";
  *to += right;
  *to += '\n';
  return name;
}

void LlvmText::declare(const std::string& name, const std::string& declaration,
                       const void* address) {
  if (!declared_.emplace(name, declaration).second || !address) return;
  symbols_.push_back({name, address});
}

std::string LlvmText::kept(const std::string& address) {
  if (kept_.count(address) == 0) return {};
  if (nothing_.empty()) nothing_ = metadata("!{}");
  return ", !invariant.load " + nothing_;
}

std::string LlvmText::scratch(size_t number, int64_t bytes) {
  scratch_.resize(std::max(scratch_.size(), number + 1), 1);
  scratch_[number] = std::max(scratch_[number], bytes);
  return str("%scratch", number);
}

std::string LlvmText::scratch_memory() const {
  std::string text;
  for (size_t k = 0; k < scratch_.size(); ++k) {
    text += str("  %scratch", k, " = alloca [", scratch_[k], " x i8], align 64\n");
  }
  return text;
}

LlvmText::Loop LlvmText::loop(int64_t begin, int64_t end, const std::string& ends) {
  return loop_between(str(begin), str(end), ends);
}

LlvmText::Loop LlvmText::part(int64_t begin, int64_t end, const std::string& ends) {
  std::string head;
  declare("llvm.smax.i64", "declare i64 @llvm.smax.i64(i64, i64)");
  declare("llvm.smin.i64", "declare i64 @llvm.smin.i64(i64, i64)");
  const std::string low = emit(&head, str("call i64 @llvm.smax.i64(i64 %begin, i64 ", begin, ')'));
  const std::string high = emit(&head, str("call i64 @llvm.smin.i64(i64 %end, i64 ", end, ')'));
  const std::string test = emit(&head, str("icmp slt i64 ", low, ", ", high));
  const std::string own = fresh("q").substr(1);
  head +=
      str("  br i1 ", test, ", label %", own, ".some, label %", own, ".none\n", own, ".some:\n");
  Loop loop = loop_between(low, high, ends);
  loop.head = head + loop.head;
  loop.tail += str("  br label %", own, ".none\n", own, ".none:\n");
  return loop;
}

LlvmText::Loop LlvmText::loop_between(const std::string& begin, const std::string& end,
                                      const std::string& ends) {
  const std::string own = fresh("l").substr(1), index = fresh("i");
  Loop loop{index, {}, {}};
  loop.head = str("  br label %", own, ".pre\n", own, ".pre:\n  br label %", own, ".head\n", own,
                  ".head:\n  ", index, " = phi i64 [ ", begin, ", %", own, ".pre ], [ ", index,
                  ".next, %", own, ".latch ]\n");
  loop.tail =
      str("  br label %", own, ".latch\n", own, ".latch:\n  ", index, ".next = add nuw nsw i64 ",
          index, ", 1\n  ", index, ".end = icmp eq i64 ", index, ".next, ", end, "\n  br i1 ",
          index, ".end, label %", own, ".exit, label %", own, ".head", ends, '\n', own, ".exit:\n");
  return loop;
}

LlvmText::Independent LlvmText::independent() {
  const std::string group = metadata("distinct !{}");
  const std::string property = metadata(str("!{!\"llvm.loop.parallel_accesses\", ", group, '}'));
  return {str(", !llvm.access.group ", group), str(", !llvm.loop ", loop_metadata(property))};
}

std::string LlvmText::metadata(const std::string& node) {
  metadata_.push_back(node);
  return str('!', metadata_.size() - 1);
}

std::string LlvmText::loop_metadata(const std::string& property) {
  const std::string own = str('!', metadata_.size());
  return metadata(str("distinct !{", own, ", ", property, '}'));
}

std::string LlvmText::declarations() const {
  std::string text;
  for (size_t k = 0; k < metadata_.size(); ++k) text += str('!', k, " = ", metadata_[k], '\n');
  for (const auto& [name, declaration] : declared_) text += declaration + '\n';
  if (variants_.empty()) return text;
  // So that they are there when the vectoriser looks for them.
  text += str("@llvm.compiler.used = appending global [", variants_.size(), " x ptr] [");
  for (size_t k = 0; k < variants_.size(); ++k) text += str(k ? ", " : "", "ptr @", variants_[k]);
  return text + "], section \"llvm.metadata\"\n";
}

std::string LlvmText::intrinsic(std::string* to, const char* name, DType type,
                                const std::string& arguments, const std::string& parameters) {
  const char* own = type == DType::f32 ? "f32" : type == DType::f64 ? "f64" : llvm_type(type);
  const std::string full = str("llvm.", name, '.', own);
  declare(full, str("declare ", llvm_type(type), " @", full, '(', parameters, ')'));
  return emit(to, str("call ", llvm_type(type), " @", full, '(', arguments, ')'));
}

// A call of the function that the vector loops use; LLVM's vectoriser knows its vector forms.
std::string LlvmText::function(std::string* to, Opcode op, DType type, const std::string& a,
                               const std::string& b) {
  const cpu::ElementFn found = cpu::vec_table().find_element(op, type);
  const std::string t = llvm_type(type);
  const std::string own = str("jaxmps_", scalar::name(op), '_', ir::name(type));
  const bool two = !b.empty();
  std::string variants;
  for (int k = 0; k < 3; ++k) {
    if (!found.vectors[k]) continue;
    const int lanes = 4 << k;
    const std::string variant = str(own, '_', lanes), v = str('<', lanes, " x ", t, '>');
    if (declared_.count(variant) == 0) variants_.push_back(variant);
    declare(variant, str("declare ", v, " @", variant, '(', v, two ? ", " + v : "", ')', kPure),
            found.vectors[k]);
    variants += str(variants.empty() ? "" : ",", "_ZGV_LLVM_N", lanes, two ? "vv_" : "v_", own, '(',
                    variant, ')');
  }
  if (!variants.empty()) variants = str(" \"vector-function-abi-variant\"=\"", variants, '"');
  declare(own, str("declare ", t, " @", own, '(', t, two ? ", " + t : "", ')', kPure),
          found.single);
  const std::string arguments = two ? str(t, ' ', a, ", ", t, ' ', b) : str(t, ' ', a);
  return emit(to, str("call ", t, " @", own, '(', arguments, ')', variants));
}

bool LlvmText::knows(const ScalarInstr& instr, DType from) {
  switch (class_of(instr.op)) {
    case OpClass::structural:
      return true;
    case OpClass::reduction:
      return is_printed(combining(instr.op));
    default:
      return is_printed(instr.op) || cpu::vec_table().find_element(instr.op, from).single;
  }
}

std::string LlvmText::divide(std::string* to, Opcode op, DType type, const std::string& a,
                             const std::string& b) {
  const std::string t = llvm_type(type);
  const bool is_signed = ir::is_signed_int(type), divides = op == Opcode::div;
  const std::string zero = emit(to, str("icmp eq ", t, ' ', b, ", 0"));
  std::string special = zero, minus;
  if (is_signed) {
    minus = emit(to, str("icmp eq ", t, ' ', b, ", -1"));
    special = emit(to, str("or i1 ", zero, ", ", minus));
  }
  const std::string safe = emit(to, str("select i1 ", special, ", ", t, " 1, ", t, ' ', b));
  std::string r =
      emit(to, str(is_signed ? "s" : "u", divides ? "div " : "rem ", t, ' ', a, ", ", safe));
  if (is_signed) {
    const std::string other = divides ? emit(to, str("sub ", t, " 0, ", a)) : "0";
    r = emit(to, str("select i1 ", minus, ", ", t, ' ', other, ", ", t, ' ', r));
  }
  const std::string by_zero = divides ? "-1" : a;
  return emit(to, str("select i1 ", zero, ", ", t, ' ', by_zero, ", ", t, ' ', r));
}

std::string LlvmText::shift(std::string* to, Opcode op, DType type, const std::string& a,
                            const std::string& b) {
  const std::string t = llvm_type(type);
  const int width = width_of(type);
  const std::string inside = emit(to, str("icmp ult ", t, ' ', b, ", ", width));
  if (op == Opcode::shr_a) {
    const std::string n =
        emit(to, str("select i1 ", inside, ", ", t, ' ', b, ", ", t, ' ', width - 1));
    return emit(to, str("ashr ", t, ' ', a, ", ", n));
  }
  const std::string n = emit(to, str("and ", t, ' ', b, ", ", width - 1));
  const std::string r = emit(to, str(op == Opcode::shl ? "shl " : "lshr ", t, ' ', a, ", ", n));
  return emit(to, str("select i1 ", inside, ", ", t, ' ', r, ", ", t, " 0"));
}

// As max_of and min_of have it: NaN without a sign, zeros in order.
std::string LlvmText::extremum(std::string* to, bool is_max, DType type, const std::string& a,
                               const std::string& b) {
  if (is_real(type)) return extremum(to, is_max, type, {a, b});
  const std::string t = llvm_type(type);
  const bool is_signed = ir::is_signed_int(type);
  const std::string test =
      emit(to, str("icmp ", is_signed ? 's' : 'u', is_max ? "gt " : "lt ", t, ' ', a, ", ", b));
  return emit(to, str("select i1 ", test, ", ", t, ' ', a, ", ", t, ' ', b));
}

// Of floats: 0 is larger than -0, and there is one NaN, which whatever has been an extremum already
// is, if it is one.
std::string LlvmText::extremum(std::string* to, bool is_max, DType type,
                               std::vector<std::string> values) {
  const std::string t = llvm_type(type), i = str('i', width_of(type));
  auto pick = [&](const std::string& x, const std::string& y) {
    const std::string test = emit(to, str("fcmp o", is_max ? "gt " : "lt ", t, ' ', x, ", ", y));
    return emit(to, str("select i1 ", test, ", ", t, ' ', x, ", ", t, ' ', y));
  };
  auto cast = [&](const std::string& from, const std::string& x, const std::string& type_to) {
    return emit(to, str("bitcast ", from, ' ', x, " to ", type_to));
  };
  auto both = [&](const std::string& x, const std::string& y) {
    const std::string one = cast(t, pick(x, y), i), other = cast(t, pick(y, x), i);
    return cast(i, emit(to, str(is_max ? "and " : "or ", i, ' ', one, ", ", other)), t);
  };
  auto keep = [&](std::string value) { return *extrema_.insert(std::move(value)).first; };
  // Of a number that is no zero and no NaN nothing but its size counts.
  if (values.size() == 2 && is_plain_number(values[0])) std::swap(values[0], values[1]);
  const bool by_number = values.size() == 2 && is_plain_number(values[1]);
  if (by_number && extrema_.count(values[0])) return keep(pick(values[1], values[0]));
  std::string unordered;
  for (size_t k = 0; k < values.size(); k += 2) {
    const bool is_pair = k + 1 < values.size() && !by_number;
    const std::string pair =
        emit(to, str("fcmp uno ", t, ' ', values[k], ", ", is_pair ? values[k + 1] : values[k]));
    unordered = unordered.empty() ? pair : emit(to, str("or i1 ", unordered, ", ", pair));
  }
  while (values.size() > 1) {
    const size_t half = (values.size() + 1) / 2;
    for (size_t k = 0; k + half < values.size(); ++k) {
      const std::string &x = values[k], &y = values[k + half];
      values[k] = by_number ? pick(x, y) : both(x, y);
    }
    values.resize(half);
  }
  return keep(emit(to, str("select i1 ", unordered, ", ", t, ' ', hexadecimal(0x7ff8ull << 48),
                           ", ", t, ' ', values[0])));
}

std::string LlvmText::compare(std::string* to, Opcode op, DType from, const std::string& a,
                              const std::string& b) {
  const char* how;
  if (is_real(from)) {
    how = op == Opcode::eq ? "oeq" : op == Opcode::ne ? "une" : op == Opcode::lt ? "olt" : "ole";
  } else {
    const bool is_signed = ir::is_signed_int(from);
    how = op == Opcode::eq   ? "eq"
          : op == Opcode::ne ? "ne"
          : op == Opcode::lt ? (is_signed ? "slt" : "ult")
                             : (is_signed ? "sle" : "ule");
  }
  const std::string test =
      emit(to, str(is_real(from) ? "fcmp " : "icmp ", how, ' ', llvm_type(from), ' ', a, ", ", b));
  return emit(to, str("zext i1 ", test, " to i8"));
}

std::string LlvmText::convert(std::string* to, DType type, DType from, const std::string& a) {
  const std::string t = llvm_type(type), f = llvm_type(from);
  if (type == DType::pred) {
    const std::string test = is_real(from) ? emit(to, str("fcmp une ", f, ' ', a, ", 0.0"))
                                           : emit(to, str("icmp ne ", f, ' ', a, ", 0"));
    return emit(to, str("zext i1 ", test, " to i8"));
  }
  auto as = [&](const char* op) { return emit(to, str(op, ' ', f, ' ', a, " to ", t)); };
  if (is_real(from) && is_real(type)) {
    return type == from ? a : as(type == DType::f64 ? "fpext" : "fptrunc");
  }
  if (is_real(type)) return as(ir::is_signed_int(from) ? "sitofp" : "uitofp");
  if (is_real(from)) return saturate(to, type, from, a);
  if (width_of(type) == width_of(from)) return a;
  if (width_of(type) < width_of(from)) return as("trunc");
  return as(ir::is_signed_int(from) ? "sext" : "zext");
}

// The nearest number of the integer type, and 0 for NaN. LLVM's own function for this becomes one
// conversion after the other in vector code.
std::string LlvmText::saturate(std::string* to, DType type, DType from, const std::string& a) {
  const std::string t = llvm_type(type), f = llvm_type(from);
  const bool has_sign = ir::is_signed_int(type);
  const int digits = width_of(type) - (has_sign ? 1 : 0);
  auto constant = [&](double x) {
    return llvm_constant(from, from == DType::f32 ? bits_of(static_cast<float>(x)) : bits_of(x));
  };
  const std::string low = constant(has_sign ? -std::ldexp(1.0, digits) : 0.0);
  const std::string top = constant(std::ldexp(1.0, digits));
  auto test = [&](const char* how, const std::string& x, const std::string& y) {
    return emit(to, str("fcmp ", how, ' ', f, ' ', x, ", ", y));
  };
  auto select = [&](const std::string& which, const std::string& of, const std::string& yes,
                    const std::string& no) {
    return emit(to, str("select i1 ", which, ", ", of, ' ', yes, ", ", of, ' ', no));
  };
  const std::string x = select(test("olt", a, low), f, low, a);
  const std::string inside = select(test("olt", x, top), f, x, constant(0));
  const std::string r = emit(to, str(has_sign ? "fptosi " : "fptoui ", f, ' ', inside, " to ", t));
  const uint64_t largest = ~uint64_t{0} >> (64 - digits);
  return select(test("oge", a, top), t, llvm_constant(type, largest), r);
}

std::string LlvmText::threefry(std::string* to, const std::string (&words)[4]) {
  declare("llvm.fshl.i32", "declare i32 @llvm.fshl.i32(i32, i32, i32)");
  auto op = [&](const char* name, const std::string& a, const std::string& b) {
    return emit(to, str(name, " i32 ", a, ", ", b));
  };
  const std::string k[3] = {words[0], words[1],
                            op("xor", op("xor", words[0], words[1]), str(0x1bd11bda))};
  std::string x = op("add", words[2], k[0]), y = op("add", words[3], k[1]);
  static constexpr int kRotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  for (int round = 0; round < 5; ++round) {
    for (const int r : kRotations[round % 2]) {
      x = op("add", x, y);
      y = emit(to, str("call i32 @llvm.fshl.i32(i32 ", y, ", i32 ", y, ", i32 ", r, ')'));
      y = op("xor", y, x);
    }
    x = op("add", x, k[(round + 1) % 3]);
    y = op("add", op("add", y, k[(round + 2) % 3]), str(round + 1));
  }
  second_words_[x] = y;
  return x;
}

std::string LlvmText::unary(std::string* to, const ScalarInstr& instr, DType from,
                            const std::string& a) {
  const std::string t = llvm_type(from);
  const bool real = is_real(from);
  auto math = [&](const char* name) { return intrinsic(to, name, from, str(t, ' ', a), t); };
  switch (instr.op) {
    case Opcode::neg:
      return emit(to, real ? str("fneg ", t, ' ', a) : str("sub ", t, " 0, ", a));
    case Opcode::abs: {
      if (real) return math("fabs");
      if (!ir::is_signed_int(from)) return a;
      const std::string minus = emit(to, str("sub ", t, " 0, ", a));
      const std::string test = emit(to, str("icmp slt ", t, ' ', a, ", 0"));
      return emit(to, str("select i1 ", test, ", ", t, ' ', minus, ", ", t, ' ', a));
    }
    case Opcode::sign: {
      if (real) {
        const std::string one =
            intrinsic(to, "copysign", from, str(t, " 1.0, ", t, ' ', a), str(t, ", ", t));
        const std::string test = emit(to, str("fcmp ueq ", t, ' ', a, ", 0.0"));
        return emit(to, str("select i1 ", test, ", ", t, ' ', a, ", ", t, ' ', one));
      }
      const std::string some = emit(to, str("icmp ne ", t, ' ', a, ", 0"));
      std::string one = emit(to, str("zext i1 ", some, " to ", t));
      if (!ir::is_signed_int(from)) return one;
      const std::string test = emit(to, str("icmp slt ", t, ' ', a, ", 0"));
      return emit(to, str("select i1 ", test, ", ", t, " -1, ", t, ' ', one));
    }
    case Opcode::sqrt:
      return math("sqrt");
    case Opcode::rsqrt:
      return emit(to, str("fdiv ", t, " 1.0, ", math("sqrt")));
    case Opcode::ceil:
      return math("ceil");
    case Opcode::floor:
      return math("floor");
    case Opcode::round_even:
      return math("rint");
    case Opcode::popcnt:
      return math("ctpop");
    case Opcode::clz:
      return intrinsic(to, "ctlz", from, str(t, ' ', a, ", i1 false"), t + ", i1");
    case Opcode::bit_not:
      return emit(to, str("xor ", t, ' ', a, ", -1"));
    case Opcode::is_finite: {
      const std::string infinity = hexadecimal(0x7ff0ull << 48);
      const std::string test = emit(to, str("fcmp olt ", t, ' ', math("fabs"), ", ", infinity));
      return emit(to, str("zext i1 ", test, " to i8"));
    }
    default:
      return function(to, instr.op, from, a, {});
  }
}

std::string LlvmText::binary(std::string* to, const ScalarInstr& instr, DType from,
                             const std::string& a, const std::string& b) {
  const std::string t = llvm_type(from);
  const char* f = is_real(from) ? "f" : "";
  auto plain = [&](const char* prefix, const char* name) {
    return emit(to, str(prefix, name, ' ', t, ' ', a, ", ", b));
  };
  switch (instr.op) {
    case Opcode::add:
      return plain(f, "add");
    case Opcode::sub:
      return plain(f, "sub");
    case Opcode::mul:
      return plain(f, "mul");
    case Opcode::div:
      return is_real(from) ? plain("f", "div") : divide(to, instr.op, from, a, b);
    case Opcode::rem:
      return is_real(from) ? function(to, instr.op, from, a, b) : divide(to, instr.op, from, a, b);
    case Opcode::max:
    case Opcode::min:
      return extremum(to, instr.op == Opcode::max, from, a, b);
    case Opcode::bit_and:
      return plain("", "and");
    case Opcode::bit_or:
      return plain("", "or");
    case Opcode::bit_xor:
      return plain("", "xor");
    case Opcode::shl:
    case Opcode::shr_a:
    case Opcode::shr_l:
      return shift(to, instr.op, from, a, b);
    case Opcode::rotl:
      return intrinsic(to, "fshl", from, str(t, ' ', a, ", ", t, ' ', a, ", ", t, ' ', b),
                       str(t, ", ", t, ", ", t));
    case Opcode::eq:
    case Opcode::ne:
    case Opcode::lt:
    case Opcode::le:
      return compare(to, instr.op, from, a, b);
    default:
      return function(to, instr.op, from, a, b);
  }
}

std::string LlvmText::instruction(std::string* to, const ScalarInstr& instr, DType from,
                                  const std::string (&operands)[4]) {
  const auto& [a, b, c, d] = operands;
  const std::string t = llvm_type(instr.type);
  switch (instr.op) {
    case Opcode::constant:
      return llvm_constant(instr.type, instr.imm);
    case Opcode::convert:
      return convert(to, instr.type, from, a);
    case Opcode::bitcast:
      return t == llvm_type(from) ? a
                                  : emit(to, str("bitcast ", llvm_type(from), ' ', a, " to ", t));
    case Opcode::encode:
    case Opcode::decode:
    case Opcode::round_to:
    case Opcode::wrap:
      return narrow(to, instr, a);
    case Opcode::reduce_precision: {
      const std::string own = str("jaxmps_precision_", ir::name(instr.type));
      declare(own, str("declare ", t, " @", own, '(', t, ", i64)", kPure),
              instr.type == DType::f32 ? address_of(precision_f32) : address_of(precision_f64));
      return emit(to, str("call ", t, " @", own, '(', t, ' ', a, ", i64 ", instr.imm, ')'));
    }
    case Opcode::select: {
      const std::string test = emit(to, str("icmp ne i8 ", a, ", 0"));
      return emit(to, str("select i1 ", test, ", ", t, ' ', b, ", ", t, ' ', c));
    }
    case Opcode::threefry:
      return threefry(to, operands);
    case Opcode::threefry_second:
      return second_words_.at(a);
    default:
      return b.empty() ? unary(to, instr, from, a) : binary(to, instr, from, a, b);
  }
}

}  // namespace jaxmps::kernels
