#include "kernels/gpu.h"

#include <algorithm>
#include <numeric>

#include "kernels/gpu_printer.h"

namespace jaxmps::kernels {
namespace {

// Elements of a loop per thread, as long as so many threads are left: fewer do not fill a machine.
constexpr int64_t kUnroll = 4, kManyThreads = int64_t{1} << 18;

}  // namespace

std::string GpuPrinter::position(const Affine& at) const {
  const std::string_view wide = index_type() == "s32" ? "" : "(s64)";
  std::string text = str(at.offset);
  for (size_t a = 0; a < at.strides.size(); ++a) {
    if (at.strides[a] == 0) continue;
    text += str(" + ", wide, "i", a);
    if (at.strides[a] != 1) text += str(" * ", at.strides[a]);
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
  std::string at = position(access);
  if (instr.a >= 0) at += str(" + ", value(instr.a, stage));
  const std::string type = gpu_type(access.type);
  if (access.kind == Access::Kind::index) return str("(", type, ")(", at, ")");
  const std::string element = str("in", access.input, "[", at, "]");
  return access.bounds.empty() ? element
                               : str("(", inside(access), ") ? ", element, " : (", type, ")0");
}

std::string GpuPrinter::value(int32_t v, int stage) const {
  if (v < 0) return {};
  const bool from_before = is_kept(v) && schedule_[v].stage < stage;
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
    line(str("const ThreefryWords w", v, " = threefry_of(", value(i.a, s), ", ", value(i.b, s),
             ", ", value(i.c, s), ", ", value(i.d, s), ");"));
    line(str("const u32 v", v, " = w", v, ".x0;"));
    return {};
  }
  if (i.op == Opcode::threefry_second) {
    line(str("const u32 v", v, " = w", i.a, ".x1;"));
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
  std::string when = part.is_spread || f_.kind == Fusion::Kind::loop ? condition_ : "";
  for (int a = 0; a < static_cast<int>(f_.dims.size()) && part.is_single; ++a) {
    const bool is_walked = a >= f_.reduced_begin && a < f_.reduced_end;
    if (!is_walked && f_.dims[static_cast<size_t>(a)] > 1)
      when += str(when.empty() ? "" : " && ", "i", a, " == 0");
  }
  const std::string only = when.empty() ? "" : str("if (", when, ") ");
  const std::string shift = part.shift < 0 ? "" : str(" + ", value(part.shift, 0));
  line(str(only, "out", part.output, "[", position(part), shift,
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
  if (kernel.has_counters) add("OUT", "u32", "counters");
  if (kernel.pieces == 1) return str(parameters, " POSITION) {\n  ENTER\n");
  return str(parameters, " FIRST_BLOCK(", number, ") POSITION) {\n  ENTER\n",
             "  block_id += first_block;\n");
}

void GpuPrinter::store_kept(std::string_view condition) {
  const auto& parts = schedule_.parts();
  const auto is_elsewhere = [](const OutputPart& part) { return part.is_spread || part.is_total; };
  if (std::all_of(parts.begin(), parts.end(), is_elsewhere)) return;
  line(str("if (", condition, condition_.empty() ? "" : " && ", condition_, ") {"));
  ++depth_;
  for (const OutputPart& part : parts) {
    if (!is_elsewhere(part)) store(part);
  }
  --depth_;
  line("}");
}

// Declares the position `name` of a thread among `count`, of which `walked` are looked at. Those
// beyond the last one repeat it, and what is done with them alone is under the condition that is
// returned (none: there are none): a branch around all of it would keep loads from being in flight
// together.
std::string GpuPrinter::within(std::string_view name, std::string_view position, int64_t count,
                               int64_t walked) {
  if (count == walked) {
    line(str("const ", index_type(), " ", name, " = ", position, ";"));
    return {};
  }
  line(str("const ", index_type(), " place = ", position, ";"));
  line(str("const ", index_type(), " ", name, " = place < ", count, " ? place : ", count - 1, ";"));
  return str("place < ", count);
}

Status GpuPrinter::loop(GpuKernel* kernel) {
  kernel->threads = 256;
  const int64_t n = f_.size(), unroll = std::clamp<int64_t>(n / kManyThreads, 1, kUnroll);
  const int64_t per_block = kernel->threads * unroll;
  kernel->blocks = (n + per_block - 1) / per_block;
  const std::string index = index_type();
  line(str("const ", index, " start = (", index, ")block_id * ", per_block, " + thread_id;"));
  line("#pragma unroll");
  line(str("for (int u = 0; u < ", unroll, "; ++u) {"));
  ++depth_;
  condition_ = within("n", str("start + u * ", kernel->threads), n, kernel->blocks * per_block);
  axes("n", 0, static_cast<int>(f_.dims.size()));
  for (const int32_t v : schedule_.live()) CHECK_OK(define(v));
  for (const OutputPart& part : schedule_.parts()) store(part);
  condition_.clear();
  --depth_;
  line("}");
  return {};
}

// Leaves the reduction of part<v> over the lanes of a group in v<v> of each of them.
void GpuPrinter::reduce_block(int32_t v, const BlockWalk& w) {
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

std::vector<bool> GpuPrinter::elements_of(int stage) const {
  return schedule_.elements_of(
      stage, f_, [&](int32_t v) { return is_kept(v); },
      [&](int32_t v) { return instr(v).operands(); });
}

Status GpuPrinter::stage(int s, const BlockWalk& w) {
  const int64_t length = schedule_.length();
  std::vector<int32_t> reductions;
  CHECK_OK(kept_values(s));
  for (const int32_t v : schedule_.live()) {
    const ScalarInstr& i = instr(v);
    if (is_kept(v) && schedule_[v].stage == s)
      line(str(gpu_type(i.type), " k", v, "[", w.per_lane, "];"));
    if (!is_reduce(v) || schedule_[v].stage != s + 1) continue;
    reductions.push_back(v);
    line(str(gpu_type(i.type), " part", v, " = ", gpu_neutral(i.op, i.type), ";"));
  }
  line(w.is_repeated ? "#pragma unroll 4" : "#pragma unroll");
  line(str("for (int j = 0; j < ", w.per_lane, "; ++j) {"));
  ++depth_;
  const std::string inside = within("r", str("lane + j * ", w.lanes), length, w.per_lane * w.lanes);
  axes("r", f_.reduced_begin, f_.reduced_end);
  const std::vector<bool> elements = elements_of(s);
  for (int32_t v = 0; v < schedule_.size(); ++v) {
    if (!elements[static_cast<size_t>(v)] || (is_kept(v) && schedule_[v].stage < s)) continue;
    CHECK_OK(define(v));
    if (is_kept(v)) line(str("k", v, "[j] = v", v, ";"));
  }
  const std::string outer = condition_;
  condition_ += str(outer.empty() || inside.empty() ? "" : " && ", inside);
  for (const OutputPart& part : schedule_.parts()) {
    if (part.is_spread && schedule_[part.value].stage == s) store(part);
  }
  condition_ = outer;
  add_to_totals(s);
  for (int32_t v : reductions) {
    const ScalarInstr& i = instr(v);
    std::string element = value(i.a, s);
    if (!inside.empty())
      element = str("(", inside, " ? ", element, " : ", gpu_neutral(i.op, i.type), ")");
    line(str("part", v, " = ", gpu_combine(i.op, i.type, str("part", v), element), ";"));
  }
  --depth_;
  line("}");
  for (int32_t v : reductions) reduce_block(v, w);
  return {};
}

// Blocks take whole rows, or columns side by side.
Status GpuPrinter::walk(GpuKernel* kernel, const BlockWalk& w) {
  const int64_t count = w.is_column ? w.inner : schedule_.groups();
  kernel->threads = static_cast<int>(w.threads);
  kernel->blocks = w.blocks;
  const std::string index = index_type();
  const std::string lane = w.is_column ? str(" / ", w.groups) : str(" % ", w.lanes);
  const std::string group = w.is_column ? str(" % ", w.groups) : str(" / ", w.lanes);
  line(str("const int lane = thread_id", lane, ", group = thread_id", group, ";"));
  if (!totals_.empty()) open_tiles(w);
  const int64_t tiles = w.is_column ? (count + w.groups - 1) / w.groups : 0;
  const std::string tile = w.is_column       ? str("(block_id % ", tiles, ")")
                           : totals_.empty() ? "block_id"
                                             : "tile";
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
  return totals_.empty() ? Status() : finish_totals(kernel, w);
}

// What the kernel in hand reads of an input: elements that several accesses touch come once.
int64_t GpuPrinter::bytes_of(int input) const {
  if (body_.find(str("in", input, "[")) == std::string::npos) return 0;
  const int64_t whole = f_.inputs[static_cast<size_t>(input)].byte_count();
  int64_t bytes = 0;
  for (const int32_t v : schedule_.live()) {
    const ScalarInstr& i = instr(v);
    if (i.op != Opcode::load || f_.accesses[i.imm].input != input) continue;
    const Access& access = f_.accesses[i.imm];
    int64_t count = 1;
    for (size_t a = 0; a < f_.dims.size(); ++a) {
      int64_t lo = 0, hi = f_.dims[a];
      for (const Bound& b : access.bounds) {
        if (b.axis != static_cast<int>(a)) continue;
        lo = std::max(lo, b.lo);
        hi = std::min(hi, b.hi);
      }
      if (access.strides[a] != 0) count *= std::max<int64_t>(0, hi - lo);
    }
    // Moved by what the program computes: some other element at each point.
    if (i.a >= 0) count = static_cast<int64_t>(schedule_.count(v, i));
    bytes += count * ir::byte_size(access.type);
    if (bytes >= whole) return whole;
  }
  return bytes;
}

// Which outputs are written in the memory of an input.
void GpuPrinter::note_updates(GpuKernel* kernel) const {
  for (size_t o = 0; o < kernel->outputs.size(); ++o) {
    const FusionOutput& out = f_.outputs[static_cast<size_t>(kernel->outputs[o])];
    if (out.updates < 0) continue;
    const auto at = std::find(kernel->inputs.begin(), kernel->inputs.end(), out.updates);
    kernel->updates.push_back({static_cast<int>(o), static_cast<int>(at - kernel->inputs.begin()),
                               f_.written(out) * ir::byte_size(out.type.dtype)});
  }
}

// Names the kernel after its text and closes it.
Status GpuPrinter::finish(GpuKernel* kernel, std::string_view kind, double nanoseconds) {
  kernel->nanoseconds = nanoseconds;
  std::erase_if(kernel->inputs, [&](int input) {
    const bool is_read = body_.find(str("in", input, "[")) != std::string::npos;
    return !is_read && std::none_of(kernel->outputs.begin(), kernel->outputs.end(), [&](int o) {
      return f_.outputs[static_cast<size_t>(o)].updates == input;
    });
  });
  for (const int input : kernel->inputs) kernel->reads.push_back(bytes_of(input));
  note_updates(kernel);
  kernel->pieces = std::min(kernel->blocks, dialect_.target.pace.pieces(nanoseconds));
  const int buffers = static_cast<int>(kernel->inputs.size() + kernel->outputs.size()) +
                      kernel->reads_scratch + (kernel->scratch_bytes != 0) + kernel->has_counters +
                      (kernel->pieces > 1);
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
  // Two blocks at once, where registers suffice.
  const bool is_half = !totals_.empty() && schedule_.walk()->per_lane <= 8;
  kernel->source = str(dialect_.prelude, "KERNEL(", kernel->name, ", ", kernel->threads,
                       is_half ? ", 2)(" : ")(", text);
  body_.clear();
  shared_bytes_ = 0;
  return {};
}

Result<GpuFusion> GpuPrinter::print() {
  GpuFusion fusion;
  if (schedule_.split()) {
    CHECK_OK(split(&fusion, *schedule_.split()));
    return fusion;
  }
  GpuKernel kernel;
  kernel.inputs.resize(f_.inputs.size());
  std::iota(kernel.inputs.begin(), kernel.inputs.end(), 0);
  kernel.outputs.resize(f_.outputs.size());
  std::iota(kernel.outputs.begin(), kernel.outputs.end(), 0);
  const auto& w = schedule_.walk();
  CHECK_OK(w ? walk(&kernel, *w) : loop(&kernel));
  int walks = 1;
  for (int s = 1; w && w->is_repeated && s < schedule_.stages(); ++s) {
    const std::vector<bool> elements = elements_of(s);  // none: only results are left
    walks += std::find(elements.begin(), elements.end(), true) != elements.end();
  }
  CHECK_OK(finish(&kernel,
                  !w             ? "loop"
                  : w->is_column ? "columns"
                                 : "rows",
                  walks * schedule_.nanoseconds()));
  for (int64_t& bytes : kernel.reads) bytes *= walks;
  fusion.kernels.push_back(std::move(kernel));
  return fusion;
}

Result<GpuFusion> print_gpu(const Fusion& fusion, const Dialect& dialect) {
  TRY(FusionSchedule schedule, FusionSchedule::for_gpu(fusion, dialect.target));
  return GpuPrinter(fusion, dialect, std::move(schedule)).print();
}

}  // namespace jaxmps::kernels
