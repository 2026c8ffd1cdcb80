#include "kernels/gpu.h"

#include <algorithm>
#include <numeric>

#include "kernels/gpu_printer.h"

namespace jaxmps::kernels {
namespace {

constexpr int64_t kUnroll = 4;        // elements of a loop per thread
constexpr int64_t kKept = 16;         // elements of a row that a thread keeps in registers
constexpr int64_t kMaxThreads = 512;  // for one row
static_assert(kKept * kMaxThreads == ir::kCuda.longest_row && kMaxThreads <= ir::kCuda.max_threads);
constexpr int64_t kFewBlocks = 128;  // do not fill a machine
constexpr int64_t kMinColumns = 8;   // that are read at once
constexpr int64_t kMaxColumns = 32;
constexpr int64_t kMaxWalk =
    64;  // elements of a thread for which a second launch would take longer

}  // namespace

std::vector<int32_t> GpuPrinter::live() const {
  std::vector<int32_t> values;
  for (int32_t v = 0; v < schedule_.size(); ++v) {
    if (schedule_[v].live) values.push_back(v);
  }
  return values;
}

std::string GpuPrinter::position(int64_t offset, const std::vector<int64_t>& strides) const {
  const std::string_view wide = index_type() == "s32" ? "" : "(s64)";
  std::string text = str(offset);
  for (size_t a = 0; a < strides.size(); ++a) {
    if (strides[a] == 0) continue;
    text +=
        strides[a] == 1 ? str(" + ", wide, "i", a) : str(" + ", wide, "i", a, " * ", strides[a]);
  }
  return text;
}

std::string GpuPrinter::inside(const Access& access) const {
  std::string text;
  for (const Bound& b : access.bounds) {
    text +=
        str(text.empty() ? "" : " && ", "i", b.axis, " >= ", b.lo, " && i", b.axis, " < ", b.hi);
  }
  return text.empty() ? "true" : text;
}

std::string GpuPrinter::load(const ScalarInstr& instr, int stage) const {
  const Access& access = f_.accesses[instr.imm];
  if (access.kind == Access::Kind::inside) return str("(u8)(", inside(access), ")");
  std::string at = position(access.offset, access.strides);
  if (instr.a >= 0) at += str(" + ", value(instr.a, stage));
  const std::string type = gpu_type(access.type);
  if (access.kind == Access::Kind::index) return str("(", type, ")(", at, ")");
  const std::string element = str("in", access.input, "[", at, "]");
  return access.bounds.empty() ? element
                               : str("(", inside(access), ") ? ", element, " : (", type, ")0");
}

std::string GpuPrinter::value(int32_t v, int stage) const {
  if (v < 0) return {};
  const bool from_before = !walks_again_ && schedule_[v].is_kept && schedule_[v].stage < stage;
  return from_before ? str("k", v, "[j]") : str("v", v);
}

Status GpuPrinter::define(int32_t v) {
  const ScalarInstr& i = instr(v);
  const std::string type = gpu_type(i.type);
  const int s = schedule_[v].stage;
  if (i.op == Opcode::load) {
    line(str("const ", type, " v", v, " = ", load(i, s), ";"));
    return {};
  }
  if (i.op == Opcode::threefry) {
    line(str("const Words w", v, " = threefry(", value(i.a, s), ", ", value(i.b, s), ", ",
             value(i.c, s), ", ", value(i.d, s), ");"));
    line(str("const u32 v", v, " = w", v, ".first;"));
    return {};
  }
  if (i.op == Opcode::threefry_second) {
    line(str("const u32 v", v, " = w", i.a, ".second;"));
    return {};
  }
  TRY(std::string text, gpu_expression(f_.program, i, value(i.a, s), value(i.b, s), value(i.c, s)));
  line(str("const ", type, " v", v, " = ", text, ";"));
  return {};
}

// Declares the coordinates of axes [begin, end) from their row-major position.
void GpuPrinter::axes(std::string_view linear, int begin, int end) {
  std::string rest(linear);
  for (int a = end - 1; a >= begin; --a) {
    const int64_t extent = f_.dims[static_cast<size_t>(a)];
    line(a == begin ? str("const ", index_type(), " i", a, " = ", rest, ";")
                    : str("const ", index_type(), " i", a, " = ", rest, " % ", extent, ";"));
    rest = str("(", rest, " / ", extent, ")");
  }
}

void GpuPrinter::store(const OutputPart& part) {
  std::string when = part.is_spread ? condition_ : "";
  for (int a = 0; a < static_cast<int>(f_.dims.size()) && part.is_single; ++a) {
    const bool is_walked = a >= f_.reduced_begin && a < f_.reduced_end;
    if (!is_walked && f_.dims[static_cast<size_t>(a)] > 1)
      when += str(when.empty() ? "" : " && ", "i", a, " == 0");
  }
  const std::string only = when.empty() ? "" : str("if (", when, ") ");
  line(str(only, "out", part.output, "[", position(part.offset, part.strides),
           "] = ", value(part.value, schedule_[part.value].stage), ";"));
}

// Declares shared memory all<v>.
void GpuPrinter::share(DType type, int32_t v, int64_t count) {
  line(str("SHARED(", gpu_type(type), ", all", v, ", ", count, ");"));
  // Each array begins on 16 bytes, at worst.
  shared_bytes_ += (count * ir::byte_size(type) + 15) / 16 * 16;
}

std::string GpuPrinter::signature(const GpuKernel& kernel) const {
  std::string parameters;
  int number = 0;
  auto add = [&](std::string_view word, std::string_view type, const std::string& name) {
    parameters +=
        str(parameters.empty() ? "" : ", ", word, "(", type, ", ", name, ", ", number++, ")");
  };
  auto type_of = [](const ir::Type& type) {
    return gpu_type(storage_machine_type(ir::real_type(type.dtype)));
  };
  for (int i : kernel.inputs) add("IN", type_of(f_.inputs[i]), str("in", i));
  if (kernel.reads_scratch) add("IN", "u8", "scratch");
  for (int o : kernel.outputs) add("OUT", type_of(f_.outputs[o].type), str("out", o));
  if (kernel.scratch_bytes) add("OUT", "u8", "scratch");
  if (kernel.pieces == 1) return str(parameters, " POSITION) {\n  ENTER\n");
  return str(parameters, " FIRST_BLOCK(", number, ") POSITION) {\n  ENTER\n",
             "  block_id += first_block;\n");
}

void GpuPrinter::store_kept(std::string_view condition) {
  const auto& parts = schedule_.parts();
  if (std::all_of(parts.begin(), parts.end(), [](const auto& part) { return part.is_spread; }))
    return;
  line(str("if (", condition, condition_.empty() ? "" : " && ", condition_, ") {"));
  ++depth_;
  for (const OutputPart& part : parts) {
    if (!part.is_spread) store(part);
  }
  --depth_;
  line("}");
}

Status GpuPrinter::loop(GpuKernel* kernel) {
  kernel->threads = 256;
  const int64_t n = f_.size(), per_block = kernel->threads * kUnroll;
  kernel->blocks = (n + per_block - 1) / per_block;
  const std::string index = index_type();
  line(str("const ", index, " start = (", index, ")block_id * ", per_block, " + thread_id;"));
  line("#pragma unroll");
  line(str("for (int u = 0; u < ", kUnroll, "; ++u) {"));
  ++depth_;
  line(str("const ", index, " n = start + u * ", kernel->threads, ";"));
  line(str("if (n >= ", n, ") continue;"));
  axes("n", 0, static_cast<int>(f_.dims.size()));
  for (int32_t v : live()) CHECK_OK(define(v));
  for (const OutputPart& part : schedule_.parts()) store(part);
  --depth_;
  line("}");
  return {};
}

// Leaves the reduction of part<v> over the lanes of a group in v<v> of each of them.
void GpuPrinter::reduce_block(int32_t v, const Walk& w) {
  const ScalarInstr& i = instr(v);
  const std::string part = str("part", v), type = gpu_type(i.type);
  auto fold = [&](const std::string& other) {
    line(str(part, " = ", gpu_combine(i.op, i.type, part, other), ";"));
  };
  const int64_t apart = w.is_column ? w.groups : 1;  // threads from lane to lane
  for (int64_t mask = std::min<int64_t>(w.lanes * apart, 32) / 2; mask >= apart; mask /= 2)
    fold(str("shuffle(", part, ", ", mask, ")"));
  const int64_t warps = w.lanes * apart / 32;  // that have lanes of one group
  if (warps > 1) {
    share(i.type, v, w.groups * warps);
    const auto at = [&](std::string_view warp) {
      return w.is_column ? str("all", v, "[", warp, " * ", w.groups, " + group]")
                         : str("all", v, "[group * ", warps, " + ", warp, "]");
    };
    line(w.is_column
             ? str("if (thread_id % 32 < ", w.groups, ") ", at("thread_id / 32"), " = ", part, ";")
             : str("if (lane % 32 == 0) ", at("lane / 32"), " = ", part, ";"));
    line("BARRIER();");
    line(str(part, " = ", at("0"), ";"));
    line("#pragma unroll");
    line(str("for (int w = 1; w < ", warps, "; ++w) ", part, " = ",
             gpu_combine(i.op, i.type, part, at("w")), ";"));
  }
  const std::string init = str("v", i.b);
  line(str("const ", type, " v", v, " = ", gpu_combine(i.op, i.type, init, part), ";"));
}

// The elements that a walk of the stage needs.
std::vector<bool> GpuPrinter::needed_in(int s) const {
  std::vector<bool> needed(static_cast<size_t>(schedule_.size()));
  for (const OutputPart& part : schedule_.parts()) {
    if (part.is_spread && schedule_[part.value].stage == s)
      needed[static_cast<size_t>(part.value)] = true;
  }
  for (int32_t v = schedule_.size(); v-- > 0;) {
    const ScheduledValue& x = schedule_[v];
    const bool ends = x.live && is_reduce(v) && x.stage == s + 1;
    if (!walks_again_ && x.live && x.is_kept && x.stage == s) needed[static_cast<size_t>(v)] = true;
    if (!ends && (!needed[static_cast<size_t>(v)] || !x.is_element())) continue;
    const bool is_known = !ends && !walks_again_ && x.stage < s;
    for (const int32_t operand : instr(v).operands()) {
      if (operand >= 0 && !is_known) needed[static_cast<size_t>(operand)] = true;
    }
  }
  for (int32_t v = 0; v < schedule_.size(); ++v) {
    const bool is_here = walks_again_ || schedule_[v].stage == s;
    if (!schedule_[v].is_element() || !is_here) needed[static_cast<size_t>(v)] = false;
  }
  return needed;
}

Status GpuPrinter::stage(int s, const Walk& w) {
  const int64_t length = schedule_.length();
  std::vector<int32_t> reductions;
  CHECK_OK(kept_values(s));
  for (int32_t v : live()) {
    const ScalarInstr& i = instr(v);
    if (!walks_again_ && schedule_[v].is_kept && schedule_[v].stage == s)
      line(str(gpu_type(i.type), " k", v, "[", w.per_lane, "];"));
    if (!is_reduce(v) || schedule_[v].stage != s + 1) continue;
    reductions.push_back(v);
    line(str(gpu_type(i.type), " part", v, " = ", gpu_neutral(i.op, i.type), ";"));
  }
  line(walks_again_ ? "#pragma unroll 4" : "#pragma unroll");
  line(str("for (int j = 0; j < ", w.per_lane, "; ++j) {"));
  ++depth_;
  line(str("const ", index_type(), " r = lane + j * ", w.lanes, ";"));
  if (w.per_lane * w.lanes != length) line(str("if (r >= ", length, ") continue;"));
  axes("r", f_.reduced_begin, f_.reduced_end);
  const std::vector<bool> needed = needed_in(s);
  for (int32_t v = 0; v < schedule_.size(); ++v) {
    if (!needed[static_cast<size_t>(v)]) continue;
    CHECK_OK(define(v));
    if (!walks_again_ && schedule_[v].is_kept) line(str("k", v, "[j] = v", v, ";"));
  }
  for (const OutputPart& part : schedule_.parts()) {
    if (part.is_spread && schedule_[part.value].stage == s) store(part);
  }
  for (int32_t v : reductions) {
    const ScalarInstr& i = instr(v);
    line(str("part", v, " = ", gpu_combine(i.op, i.type, str("part", v), value(i.a, s)), ";"));
  }
  --depth_;
  line("}");
  for (int32_t v : reductions) reduce_block(v, w);
  return {};
}

GpuPrinter::Walk GpuPrinter::plan_walk() const {
  Walk w{};
  const int64_t length = schedule_.length(), count = schedule_.groups();
  w.is_column = f_.kind == Fusion::Kind::column;
  w.lanes = w.groups = 1;
  if (w.is_column) {
    w.inner = ir::element_count({f_.dims.begin() + f_.reduced_end, f_.dims.end()});
    const auto tiles = [&] { return (w.inner + w.groups - 1) / w.groups; };
    while (w.groups < kMaxColumns && w.groups < w.inner) w.groups *= 2;
    while (w.groups > kMinColumns && count / w.inner * tiles() < kFewBlocks) w.groups /= 2;
    w.threads = 256;
    while (w.threads < dialect_.target.max_threads && length * w.groups > kKept * w.threads)
      w.threads *= 2;
    w.lanes = w.threads / w.groups;
    w.blocks = count / w.inner * tiles();
  } else {
    while (w.lanes < kMaxThreads && w.lanes * 4 < length) w.lanes *= 2;
    w.groups = std::max<int64_t>(1, 128 / w.lanes);
    w.threads = w.lanes * w.groups;
    w.blocks = std::max<int64_t>(1, (count + w.groups - 1) / w.groups);
  }
  w.per_lane = (length + w.lanes - 1) / w.lanes;
  return w;
}

// Blocks take whole rows, or columns side by side.
Status GpuPrinter::walk(GpuKernel* kernel, const Walk& w) {
  const int64_t count = w.is_column ? w.inner : schedule_.groups();
  kernel->threads = static_cast<int>(w.threads);
  kernel->blocks = w.blocks;
  walks_again_ = w.per_lane > kKept;
  const std::string index = index_type();
  const std::string lane = w.is_column ? str(" / ", w.groups) : str(" % ", w.lanes);
  const std::string group = w.is_column ? str(" % ", w.groups) : str(" / ", w.lanes);
  line(str("const int lane = thread_id", lane, ", group = thread_id", group, ";"));
  const int64_t tiles = w.is_column ? (count + w.groups - 1) / w.groups : 0;
  const std::string tile = w.is_column ? str("(block_id % ", tiles, ")") : "block_id";
  // Groups beyond the last one repeat it, so that all threads meet at the barriers.
  line(str(index, " at = (", index, ")", tile, " * ", w.groups, " + group;"));
  if (count % w.groups) {
    line(str("const bool is_group = at < ", count, ";"));
    line(str("if (!is_group) at = ", count - 1, ";"));
    condition_ = "is_group";
  }
  if (w.is_column) {
    axes(str("((", index, ")block_id / ", tiles, ")"), 0, f_.reduced_begin);
    axes("at", f_.reduced_end, static_cast<int>(f_.dims.size()));
  } else {
    axes("at", 0, f_.reduced_begin);
  }
  for (int s = 0; s < schedule_.stages(); ++s) CHECK_OK(stage(s, w));
  store_kept("lane == 0");
  condition_.clear();
  walks_again_ = false;
  return {};
}

// Of the whole fusion.
double GpuPrinter::nanoseconds() const {
  constexpr double kFlop = 0.06;  // what the table says of an addition
  constexpr double kLine = 32;    // bytes that are moved for one element that stands alone
  const auto points = static_cast<double>(f_.size()),
             groups = static_cast<double>(schedule_.groups());
  double flops = 0, bytes = 0;
  for (int32_t v : live()) {
    const ScalarInstr& i = instr(v);
    const bool is_element = schedule_[v].is_element() || is_reduce(v);
    flops += info(i.op).cost / kFlop * (is_element ? points : groups);
    if (i.op != Opcode::load || !is_element) continue;
    const Access& access = f_.accesses[i.imm];
    const bool is_scattered = i.a >= 0 || (!access.strides.empty() && access.strides.back() > 1);
    bytes += points * (is_scattered ? kLine : static_cast<double>(ir::byte_size(access.type)));
  }
  for (const FusionOutput& o : f_.outputs) {
    const bool is_scattered = !o.strides.empty() && o.strides.back() > 1;
    bytes += static_cast<double>(is_scattered ? o.type.size() * kLine : o.type.byte_count());
  }
  return dialect_.target.pace.nanoseconds(flops, bytes);
}

// Names the kernel after its text and closes it.
Status GpuPrinter::finish(GpuKernel* kernel, std::string_view kind, double nanoseconds) {
  kernel->nanoseconds = nanoseconds;
  kernel->pieces = std::min(kernel->blocks, dialect_.target.pace.pieces(nanoseconds));
  const int buffers = static_cast<int>(kernel->inputs.size() + kernel->outputs.size()) +
                      kernel->reads_scratch + (kernel->scratch_bytes != 0) + (kernel->pieces > 1);
  if (buffers > dialect_.target.max_buffers) {
    return unimplemented(str("a ", dialect_.target.name, " kernel of ", buffers, " buffers"));
  }
  if (shared_bytes_ > dialect_.target.shared_bytes) {
    return unimplemented(
        str("a ", dialect_.target.name, " kernel with ", shared_bytes_, " bytes of shared memory"));
  }
  const std::string text = str(signature(*kernel), body_, "}\n");
  uint64_t hash = 0xcbf29ce484222325ull;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  kernel->name = str("mps_", kind, "_", gpu_hex(hash).substr(2));
  kernel->source =
      str(dialect_.prelude, "KERNEL(", kernel->name, ", ", kernel->threads, ")(", text);
  body_.clear();
  shared_bytes_ = 0;
  return {};
}

// Float64 is refused with its op by those who know it.
bool GpuPrinter::has_float64() const {
  const auto values = live();
  return std::any_of(values.begin(), values.end(),
                     [&](int32_t v) { return instr(v).type == DType::f64; });
}

Result<GpuFusion> GpuPrinter::print() {
  if (f_.size() == 0) return unimplemented("a GPU kernel of nothing");
  if (has_float64()) return unimplemented("a GPU kernel of float64");
  GpuFusion fusion;
  // What reads a reduction of the same elements walks them once more; otherwise a long reduction is
  // cut in pieces, so that it fills the machine.
  const bool rereads = schedule_.stages() > 2 || schedule_.rereads_elements();
  const Walk w = reduces_ ? plan_walk() : Walk{};
  const bool is_short = schedule_.length() <= dialect_.target.longest_row;
  if (!reduces_ || (is_short && (rereads || w.per_lane <= kMaxWalk))) {
    GpuKernel kernel;
    kernel.inputs.resize(f_.inputs.size());
    std::iota(kernel.inputs.begin(), kernel.inputs.end(), 0);
    kernel.outputs.resize(f_.outputs.size());
    std::iota(kernel.outputs.begin(), kernel.outputs.end(), 0);
    CHECK_OK(reduces_ ? walk(&kernel, w) : loop(&kernel));
    const int walks = w.per_lane > kKept ? schedule_.stages() : 1;
    CHECK_OK(finish(&kernel,
                    !reduces_     ? "loop"
                    : w.is_column ? "columns"
                                  : "rows",
                    walks * nanoseconds()));
    fusion.kernels.push_back(std::move(kernel));
    return fusion;
  }
  if (rereads) {
    return unimplemented(str("a GPU reduction of ", schedule_.length(),
                             " elements that are read again with its result"));
  }
  CHECK_OK(split(&fusion));
  return fusion;
}

Result<GpuFusion> print_gpu(const Fusion& fusion, const Dialect& dialect) {
  return GpuPrinter(fusion, dialect).print();
}

}  // namespace jaxmps::kernels
