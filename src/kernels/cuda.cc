#include "kernels/cuda.h"

#include <algorithm>

namespace jaxmps::kernels {
namespace {

std::string hex(uint64_t v) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  do text.insert(text.begin(), kDigits[v & 15]);
  while (v >>= 4);
  return "0x" + text;
}

std::string type_name(DType t) {
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

bool is_real(DType t) { return t == DType::f32 || t == DType::f64; }

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
        return is_real(i_.type) ? real_op() : int_op();
    }
  }

  static std::string combine(Opcode reduce, DType type, const std::string& a,
                             const std::string& b) {
    const bool real = is_real(type);
    const std::string t = type_name(type);
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

 private:
  std::string t() const { return type_name(i_.type); }
  DType from() const { return program_.instrs[static_cast<size_t>(i_.a)].type; }
  static std::string infinity(DType t) {
    return t == DType::f32 ? "__int_as_float(0x7f800000)"
                           : "__longlong_as_double(0x7ff0000000000000ll)";
  }
  static std::string call(std::string_view f, const std::string& x, DType type) {
    return str(f, type == DType::f32 ? "f(" : "(", x, ")");
  }

  std::string constant() const {
    if (i_.type == DType::f32) return str("__uint_as_float(", hex(i_.imm), "u)");
    if (i_.type == DType::f64) return str("__longlong_as_double((s64)", hex(i_.imm), "ull)");
    return str("(", t(), ")", hex(i_.imm), "ull");
  }
  std::string convert() const {
    if (i_.type == DType::pred) return str("(u8)(", a_, " != 0)");
    if (is_real(from()) && !is_real(i_.type))
      return str("f_to_i<", t(), ", ", type_name(from()), ">(", a_, ")");
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

constexpr int64_t kUnroll = 4;        // elements of a loop per thread
constexpr int64_t kKept = 16;         // elements of a row that a thread keeps in registers
constexpr int64_t kMaxThreads = 512;  // for one row

class Printer {
 public:
  explicit Printer(const Fusion& f)
      : f_(f), row_(f.kind == Fusion::Kind::row), n_(f.program.instrs.size()) {}

  Result<CudaKernel> print();

 private:
  const ScalarInstr& instr(int32_t v) const { return f_.program.instrs[static_cast<size_t>(v)]; }
  bool is_reduce(int32_t v) const { return instr(v).op >= Opcode::reduce_add; }
  void line(std::string text) {
    body_ += std::string(static_cast<size_t>(2 * depth_), ' ') + std::move(text) + '\n';
  }
  int output_stage(const FusionOutput& o) const {
    const int re = stage_[static_cast<size_t>(o.value.re)];
    return o.value.im < 0 ? re : std::max(re, stage_[static_cast<size_t>(o.value.im)]);
  }
  std::string index_type() const { return f_.size() < (int64_t{1} << 31) - 4096 ? "int" : "s64"; }

  void analyse();
  std::string position(int64_t offset, const std::vector<int64_t>& strides) const;
  std::string inside(const Access& access) const;
  std::string load(const Access& access) const;
  std::string value(int32_t v, int stage) const;
  Status define(int32_t v);
  void axes(std::string_view linear, int begin, int end);
  void store(size_t output);
  Status loop(CudaKernel* kernel);
  Status rows(CudaKernel* kernel);
  Status stage(int s, int64_t threads, int64_t per_thread);
  void reduce_block(int32_t v, int64_t threads, int64_t row_groups);
  std::string signature(const std::string& name, int64_t threads) const;

  const Fusion& f_;
  bool row_;
  size_t n_;
  std::string body_;
  int depth_ = 1;
  std::vector<bool> live_, element_;
  std::vector<int> stage_;
  std::vector<bool> kept_;  // in registers from one stage to the next
  int stages_ = 1;
};

void Printer::analyse() {
  live_.assign(n_, false);
  element_.assign(n_, false);
  stage_.assign(n_, 0);
  kept_.assign(n_, false);
  for (const FusionOutput& o : f_.outputs) {
    live_[static_cast<size_t>(o.value.re)] = true;
    if (o.value.im >= 0) live_[static_cast<size_t>(o.value.im)] = true;
  }
  for (size_t v = n_; v-- > 0;) {
    const ScalarInstr& i = f_.program.instrs[v];
    for (int32_t u : {i.a, i.b, i.c, i.d}) {
      if (u >= 0 && live_[v]) live_[static_cast<size_t>(u)] = true;
    }
  }
  for (size_t v = 0; v < n_; ++v) {
    const ScalarInstr& i = f_.program.instrs[v];
    for (int32_t u : {i.a, i.b, i.c, i.d}) {
      if (u < 0) continue;
      stage_[v] = std::max(stage_[v], stage_[static_cast<size_t>(u)]);
      element_[v] = element_[v] || element_[static_cast<size_t>(u)];
    }
    if (i.op == Opcode::load) {
      const Access& access = f_.accesses[i.imm];
      for (int a = f_.reduced_begin; a < f_.reduced_end; ++a) {
        if (access.strides[static_cast<size_t>(a)]) element_[v] = true;
        for (const Bound& b : access.bounds) element_[v] = element_[v] || b.axis == a;
      }
    }
    if (is_reduce(static_cast<int32_t>(v))) {
      element_[v] = false;
      ++stage_[v];
    }
    if (live_[v]) stages_ = std::max(stages_, stage_[v] + 1);
    if (!row_) element_[v] = true;
  }
  for (size_t v = 0; v < n_; ++v) {
    const ScalarInstr& i = f_.program.instrs[v];
    const int used = stage_[v] - (is_reduce(static_cast<int32_t>(v)) ? 1 : 0);
    for (int32_t u : {i.a, i.b, i.c, i.d}) {
      if (u >= 0 && live_[v] && element_[static_cast<size_t>(u)] &&
          used > stage_[static_cast<size_t>(u)]) {
        kept_[static_cast<size_t>(u)] = true;
      }
    }
  }
  for (const FusionOutput& o : f_.outputs) {
    for (int32_t v : {o.value.re, o.value.im}) {
      if (v < 0 || !element_[static_cast<size_t>(v)]) continue;
      if (stage_[static_cast<size_t>(v)] < output_stage(o)) kept_[static_cast<size_t>(v)] = true;
    }
  }
}

std::string Printer::position(int64_t offset, const std::vector<int64_t>& strides) const {
  std::string text = str(offset);
  for (size_t a = 0; a < strides.size(); ++a) {
    if (strides[a] == 0) continue;
    text += strides[a] == 1 ? str(" + (s64)i", a) : str(" + (s64)i", a, " * ", strides[a]);
  }
  return text;
}

std::string Printer::inside(const Access& access) const {
  std::string text;
  for (const Bound& b : access.bounds) {
    text +=
        str(text.empty() ? "" : " && ", "i", b.axis, " >= ", b.lo, " && i", b.axis, " < ", b.hi);
  }
  return text.empty() ? "true" : text;
}

std::string Printer::load(const Access& access) const {
  if (access.kind == Access::Kind::inside) return str("(u8)(", inside(access), ")");
  const std::string at = position(access.offset, access.strides);
  const std::string type = type_name(access.type);
  if (access.kind == Access::Kind::index) return str("(", type, ")(", at, ")");
  const std::string element = str("((const ", type, "*)in", access.input, ")[", at, "]");
  return access.bounds.empty() ? element
                               : str("(", inside(access), ") ? ", element, " : (", type, ")0");
}

std::string Printer::value(int32_t v, int stage) const {
  if (v < 0) return {};
  const bool from_before = kept_[static_cast<size_t>(v)] && stage_[static_cast<size_t>(v)] < stage;
  return from_before ? str("k", v, "[j]") : str("v", v);
}

Status Printer::define(int32_t v) {
  const ScalarInstr& i = instr(v);
  const std::string type = type_name(i.type);
  const int s = stage_[static_cast<size_t>(v)];
  if (i.op == Opcode::load) {
    line(str("const ", type, " v", v, " = ", load(f_.accesses[i.imm]), ";"));
    return {};
  }
  if (i.op == Opcode::threefry) {
    line(str("u32 v", v, ", w", v, "; threefry(", value(i.a, s), ", ", value(i.b, s), ", ",
             value(i.c, s), ", ", value(i.d, s), ", &v", v, ", &w", v, ");"));
    return {};
  }
  if (i.op == Opcode::threefry_second) {
    line(str("const u32 v", v, " = w", i.a, ";"));
    return {};
  }
  Expression e(f_.program, i, value(i.a, s), value(i.b, s), value(i.c, s));
  TRY(std::string text, e.text());
  line(str("const ", type, " v", v, " = ", text, ";"));
  return {};
}

// Declares the coordinates of axes [begin, end) from their row-major position.
void Printer::axes(std::string_view linear, int begin, int end) {
  std::string rest(linear);
  for (int a = end - 1; a >= begin; --a) {
    const int64_t extent = f_.dims[static_cast<size_t>(a)];
    line(a == begin ? str("const ", index_type(), " i", a, " = ", rest, ";")
                    : str("const ", index_type(), " i", a, " = ", rest, " % ", extent, ";"));
    rest = str("(", rest, " / ", extent, ")");
  }
}

void Printer::store(size_t o) {
  const FusionOutput& out = f_.outputs[o];
  int part = 0;
  for (int32_t v : {out.value.re, out.value.im}) {
    if (v < 0) continue;
    const std::string type = type_name(instr(v).type);
    const int s = output_stage(out);
    line(str("((", type, "*)out", o, ")[", position(out.offset + part, out.strides),
             "] = ", value(v, s), ";"));
    ++part;
  }
}

std::string Printer::signature(const std::string& name, int64_t threads) const {
  std::string text =
      str("extern \"C\" __global__ void __launch_bounds__(", threads, ") ", name, "(");
  for (size_t i = 0; i < f_.inputs.size(); ++i)
    text += str(i ? ", " : "", "const void* __restrict__ in", i);
  for (size_t o = 0; o < f_.outputs.size(); ++o) {
    text += str(o || !f_.inputs.empty() ? ", " : "", "void* __restrict__ out", o);
  }
  return text + ") {\n";
}

Status Printer::loop(CudaKernel* kernel) {
  kernel->threads = 256;
  const int64_t n = f_.size(), per_block = kernel->threads * kUnroll;
  kernel->blocks = std::max<int64_t>(1, (n + per_block - 1) / per_block);
  const std::string index = index_type();
  line(str("const ", index, " start = (", index, ")blockIdx.x * ", per_block, " + threadIdx.x;"));
  line("#pragma unroll");
  line(str("for (int u = 0; u < ", kUnroll, "; ++u) {"));
  ++depth_;
  line(str("const ", index, " n = start + u * ", kernel->threads, ";"));
  line(str("if (n >= ", n, ") continue;"));
  axes("n", 0, static_cast<int>(f_.dims.size()));
  for (int32_t v = 0; v < static_cast<int32_t>(n_); ++v) {
    if (live_[static_cast<size_t>(v)]) CHECK_OK(define(v));
  }
  for (size_t o = 0; o < f_.outputs.size(); ++o) store(o);
  --depth_;
  line("}");
  return {};
}

// Leaves the reduction of part<v> over the threads of a row in part<v> of each of them.
void Printer::reduce_block(int32_t v, int64_t threads, int64_t row_groups) {
  const ScalarInstr& i = instr(v);
  const std::string part = str("part", v), type = type_name(i.type);
  auto fold = [&](const std::string& other) {
    line(str(part, " = ", Expression::combine(i.op, i.type, part, other), ";"));
  };
  for (int64_t mask = std::min<int64_t>(threads, 32) / 2; mask; mask /= 2)
    fold(str("shuffle(", part, ", ", mask, ")"));
  if (threads > 32) {
    const int64_t warps = threads / 32;
    line(str("__shared__ ", type, " all", v, "[", row_groups * warps, "];"));
    line(str("if (lane % 32 == 0) all", v, "[group * ", warps, " + lane / 32] = ", part, ";"));
    line("__syncthreads();");
    line(str(part, " = all", v, "[group * ", warps, "];"));
    line("#pragma unroll");
    line(str("for (int w = 1; w < ", warps, "; ++w) ", part, " = ",
             Expression::combine(i.op, i.type, part, str("all", v, "[group * ", warps, " + w]")),
             ";"));
  }
  const std::string init = str("v", i.b);
  line(str("const ", type, " v", v, " = ", Expression::combine(i.op, i.type, init, part), ";"));
}

Status Printer::stage(int s, int64_t threads, int64_t per_thread) {
  const int64_t length =
      ir::element_count({f_.dims.begin() + f_.reduced_begin, f_.dims.begin() + f_.reduced_end});
  for (int32_t v = 0; v < static_cast<int32_t>(n_); ++v) {
    const size_t k = static_cast<size_t>(v);
    if (!live_[k]) continue;
    if (!element_[k] && !is_reduce(v) && stage_[k] == s) CHECK_OK(define(v));
    if (kept_[k] && stage_[k] == s)
      line(str(type_name(instr(v).type), " k", v, "[", per_thread, "];"));
  }
  std::vector<int32_t> reductions;
  for (int32_t v = 0; v < static_cast<int32_t>(n_); ++v) {
    const size_t k = static_cast<size_t>(v);
    if (!live_[k] || !is_reduce(v) || stage_[k] != s + 1) continue;
    reductions.push_back(v);
    const ScalarInstr& i = instr(v);
    ScalarInstr neutral{Opcode::constant, i.type};
    const int width = 8 * ir::byte_size(i.type);
    const uint64_t ones = width == 64 ? ~0ull : (1ull << width) - 1, sign = 1ull << (width - 1);
    const bool is_signed = ir::is_signed_int(i.type), real = is_real(i.type);
    const uint64_t inf = i.type == DType::f32 ? 0x7f800000ull : 0x7ff0000000000000ull;
    const uint64_t one = i.type == DType::f32   ? 0x3f800000ull
                         : i.type == DType::f64 ? 0x3ff0000000000000ull
                                                : 1;
    switch (i.op) {
      case Opcode::reduce_mul:
        neutral.imm = one;
        break;
      case Opcode::reduce_max:
        neutral.imm = real ? inf | sign : is_signed ? sign : 0;
        break;
      case Opcode::reduce_min:
        neutral.imm = real ? inf : is_signed ? sign - 1 : ones;
        break;
      case Opcode::reduce_and:
        neutral.imm = ones;
        break;
      case Opcode::reduce_add:
        neutral.imm = real ? sign : 0;
        break;  // -0: the sum of nothing but -0 is -0
      default:
        break;
    }
    TRY(std::string text, Expression(f_.program, neutral, "", "", "").text());
    line(str(type_name(i.type), " part", v, " = ", text, ";"));
  }
  line("#pragma unroll");
  line(str("for (int j = 0; j < ", per_thread, "; ++j) {"));
  ++depth_;
  line(str("const ", index_type(), " r = lane + j * ", threads, ";"));
  if (per_thread * threads != length) line(str("if (r >= ", length, ") continue;"));
  axes("r", f_.reduced_begin, f_.reduced_end);
  for (int32_t v = 0; v < static_cast<int32_t>(n_); ++v) {
    const size_t k = static_cast<size_t>(v);
    if (!live_[k] || !element_[k] || stage_[k] != s) continue;
    CHECK_OK(define(v));
    if (kept_[k]) line(str("k", v, "[j] = v", v, ";"));
  }
  for (size_t o = 0; o < f_.outputs.size(); ++o) {
    const size_t k = static_cast<size_t>(f_.outputs[o].value.re);
    bool spread = element_[k];
    for (int a = f_.reduced_begin; a < f_.reduced_end; ++a)
      spread |= f_.outputs[o].strides[static_cast<size_t>(a)] != 0;
    if (spread && output_stage(f_.outputs[o]) == s) store(o);
  }
  for (int32_t v : reductions) {
    const ScalarInstr& i = instr(v);
    line(str("part", v, " = ", Expression::combine(i.op, i.type, str("part", v), value(i.a, s)),
             ";"));
  }
  --depth_;
  line("}");
  const int64_t row_groups = std::max<int64_t>(1, 128 / threads);
  for (int32_t v : reductions) reduce_block(v, threads, row_groups);
  return {};
}

Status Printer::rows(CudaKernel* kernel) {
  const int64_t length =
      ir::element_count({f_.dims.begin() + f_.reduced_begin, f_.dims.begin() + f_.reduced_end});
  const int64_t count = ir::element_count({f_.dims.begin(), f_.dims.begin() + f_.reduced_begin});
  int64_t threads = 32;
  while (threads < kMaxThreads && threads * 4 < length) threads *= 2;
  const int64_t per_thread = (length + threads - 1) / threads;
  if (per_thread > kKept) return unimplemented(str("a CUDA row of ", length, " elements"));
  if (length == 0) return unimplemented("a CUDA reduction of nothing");
  const int64_t row_groups = std::max<int64_t>(1, 128 / threads);
  kernel->threads = static_cast<int>(threads * row_groups);
  kernel->blocks = std::max<int64_t>(1, (count + row_groups - 1) / row_groups);
  const std::string index = index_type();
  line(str("const int lane = threadIdx.x % ", threads, ", group = threadIdx.x / ", threads, ";"));
  // Groups beyond the last row repeat it, so that all threads meet at the barriers.
  line(str(index, " row = (", index, ")blockIdx.x * ", row_groups, " + group;"));
  line(str("if (row >= ", count, ") row = ", count - 1, ";"));
  axes("row", 0, f_.reduced_begin);
  for (int s = 0; s < stages_; ++s) CHECK_OK(stage(s, threads, per_thread));
  for (size_t o = 0; o < f_.outputs.size(); ++o) {
    const size_t k = static_cast<size_t>(f_.outputs[o].value.re);
    bool spread = element_[k];
    for (int a = f_.reduced_begin; a < f_.reduced_end; ++a)
      spread |= f_.outputs[o].strides[static_cast<size_t>(a)] != 0;
    if (spread) continue;
    line("if (lane == 0) {");
    ++depth_;
    store(o);
    --depth_;
    line("}");
  }
  return {};
}

Result<CudaKernel> Printer::print() {
  if (f_.size() == 0) return unimplemented("a CUDA kernel of nothing");
  CudaKernel kernel;
  analyse();
  if (f_.kind == Fusion::Kind::column) return unimplemented("a CUDA column reduction");
  if (row_)
    CHECK_OK(rows(&kernel));
  else
    CHECK_OK(loop(&kernel));
  uint64_t hash = 0xcbf29ce484222325ull;
  for (char c : body_) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  kernel.name = str(row_ ? "mps_rows_" : "mps_loop_", hex(hash).substr(2));
  kernel.source = str(cuda_prelude(), signature(kernel.name, kernel.threads), body_, "}\n");
  return kernel;
}

}  // namespace

Result<CudaKernel> print_cuda(const Fusion& fusion) { return Printer(fusion).print(); }

}  // namespace jaxmps::kernels
