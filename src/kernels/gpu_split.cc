// Long reductions, along rows or columns, on GPUs: one kernel reduces pieces of each, and if there
// are several pieces, a second one combines them, one warp per result.
#include <algorithm>
#include <utility>

#include "kernels/gpu.h"
#include "kernels/gpu_printer.h"

namespace jaxmps::kernels {
namespace {

constexpr int64_t kThreads = BlockSplit::kThreads, kWarp = 32;

int64_t up(int64_t n, int64_t by) { return (n + by - 1) / by; }

}  // namespace

// Values that are one per result, of the given stage.
Status GpuPrinter::kept_values(int stage) {
  for (const int32_t v : schedule_.live()) {
    const ScheduledValue& x = schedule_[v];
    const bool is_one = !x.is_element() && !x.is_total() && !is_reduce(v);
    if (is_one && schedule_[v].stage == stage) CHECK_OK(define(v));
  }
  return {};
}

// Combines what the lanes of a block have; the first lane ends up with the total.
void GpuPrinter::fold_pieces(const BlockSplit& s) {
  for (int32_t v : s.values) {
    share(instr(v).type, v, kThreads);
    line(str("all", v, "[thread_id] = part", v, ";"));
  }
  line("BARRIER();");
  line("#pragma unroll");
  line(str("for (int half = ", kThreads / 2, "; half >= ", s.columns, "; half /= 2) {"));
  ++depth_;
  line("if (thread_id < half) {");
  for (int32_t v : s.values) {
    const std::string all = str("all", v, "[thread_id]");
    line(str("  part", v, " = ",
             gpu_combine(instr(v).op, instr(v).type, str("part", v),
                         str("all", v, "[thread_id + half]")),
             ";"));
    line(str("  ", all, " = part", v, ";"));
  }
  line("}");
  line("BARRIER();");
  --depth_;
  line("}");
}

// What a thread finds of its piece.
Status GpuPrinter::add_up_piece(const BlockSplit& s) {
  const std::string index = index_type();
  for (int32_t v : s.values) {
    const ScalarInstr& i = instr(v);
    line(str(gpu_type(i.type), " part", v, " = ", gpu_neutral(i.op, i.type), ";"));
  }
  line(str("const ", index, " end = min_of<", index, ">(", s.length, ", (piece + 1) * ", s.piece,
           ");"));
  line("#pragma unroll 4");
  line(str("for (", index, " r = piece * ", s.piece, " + lane; r < end; r += ", s.lanes, ") {"));
  ++depth_;
  axes("r", f_.reduced_begin, f_.reduced_end);
  for (const int32_t v : schedule_.live()) {
    if (schedule_[v].is_element()) CHECK_OK(define(v));
  }
  for (const OutputPart& part : schedule_.parts()) {
    if (part.is_spread) store(part);
  }
  for (int32_t v : s.values) {
    const ScalarInstr& i = instr(v);
    line(str("part", v, " = ", gpu_combine(i.op, i.type, str("part", v), value(i.a, 0)), ";"));
  }
  --depth_;
  line("}");
  return {};
}

Status GpuPrinter::split_pieces(GpuKernel* kernel, const BlockSplit& s) {
  const int64_t tiles = up(s.inner, s.columns);
  kernel->threads = kThreads;
  kernel->blocks = s.kept / s.inner * tiles * s.pieces;
  const std::string index = index_type();
  line(str("const int lane = thread_id / ", s.columns, ";"));
  line(str("const ", index, " piece = block_id % ", s.pieces, ", tile = block_id / ", s.pieces,
           " % ", tiles, ", outer = block_id / ", s.pieces * tiles, ";"));
  // Threads beyond the last column repeat it, so that all of them meet at the barriers.
  line(str(index, " inner = tile * ", s.columns, " + thread_id % ", s.columns, ";"));
  if (s.inner % s.columns) {
    line(str("const bool is_column = inner < ", s.inner, ";"));
    line(str("if (!is_column) inner = ", s.inner - 1, ";"));
    condition_ = "is_column";
  }
  axes("outer", 0, f_.reduced_begin);
  axes("inner", f_.reduced_end, static_cast<int>(f_.dims.size()));
  CHECK_OK(kept_values(0));
  CHECK_OK(add_up_piece(s));
  fold_pieces(s);
  const std::string condition = std::exchange(condition_, "");
  const std::string first = str("lane == 0", condition.empty() ? "" : " && ", condition);
  if (s.pieces > 1) {
    line(str("if (", first, ") {"));
    line(str("  const ", index, " at = piece * (", index, ")", s.kept, " + outer * ", s.inner,
             " + inner;"));
    for (size_t k = 0; k < s.values.size(); ++k) {
      line(str("  SCRATCH(", gpu_type(instr(s.values[k]).type), ", ", s.offsets[k], ")[at] = part",
               s.values[k], ";"));
    }
    line("}");
    return {};
  }
  for (int32_t v : s.values) {
    const ScalarInstr& i = instr(v);
    line(str("const ", gpu_type(i.type), " v", v, " = ",
             gpu_combine(i.op, i.type, str("v", i.b), str("part", v)), ";"));
  }
  CHECK_OK(kept_values(1));
  store_kept(first);
  return {};
}

Status GpuPrinter::split_total(GpuKernel* kernel, const BlockSplit& s) {
  constexpr int64_t kResults = kThreads / kWarp;  // of a block
  kernel->threads = kThreads;
  kernel->blocks = up(s.kept, kResults);
  const std::string index = index_type();
  line(str("const int lane = thread_id % ", kWarp, ";"));
  line(str(index, " result = (", index, ")block_id * ", kResults, " + thread_id / ", kWarp, ";"));
  line(str("if (result >= ", s.kept, ") return;"));
  line(str("const ", index, " outer = result / ", s.inner, ", inner = result % ", s.inner, ";"));
  axes("outer", 0, f_.reduced_begin);
  axes("inner", f_.reduced_end, static_cast<int>(f_.dims.size()));
  CHECK_OK(kept_values(0));
  for (size_t k = 0; k < s.values.size(); ++k) {
    const int32_t v = s.values[k];
    const ScalarInstr& i = instr(v);
    const std::string type = gpu_type(i.type), part = str("part", v);
    line(str(type, " ", part, " = ", gpu_neutral(i.op, i.type), ";"));
    line("#pragma unroll 4");
    line(str("for (", index, " p = lane; p < ", s.pieces, "; p += ", kWarp, ") ", part, " = ",
             gpu_combine(
                 i.op, i.type, part,
                 str("SCRATCH(const ", type, ", ", s.offsets[k], ")[p * ", s.kept, " + result]")),
             ";"));
    for (int64_t mask = kWarp / 2; mask; mask /= 2) {
      line(str(part, " = ", gpu_combine(i.op, i.type, part, str("shuffle(", part, ", ", mask, ")")),
               ";"));
    }
    line(str("const ", type, " v", v, " = ", gpu_combine(i.op, i.type, str("v", i.b), part), ";"));
  }
  CHECK_OK(kept_values(1));
  store_kept("lane == 0");
  return {};
}

Status GpuPrinter::split(GpuFusion* fusion, const BlockSplit& s) {
  const bool is_cut = s.pieces > 1;
  GpuKernel pieces, total;
  for (size_t i = 0; i < f_.inputs.size(); ++i) {
    pieces.inputs.push_back(static_cast<int>(i));
    total.inputs.push_back(static_cast<int>(i));
  }
  for (const OutputPart& part : schedule_.parts()) {
    auto& outputs = (!is_cut || part.is_spread ? pieces : total).outputs;
    if (outputs.empty() || outputs.back() != part.output) outputs.push_back(part.output);
  }
  pieces.scratch_bytes = is_cut ? s.bytes : 0;
  CHECK_OK(split_pieces(&pieces, s));
  CHECK_OK(finish(&pieces, "pieces", schedule_.nanoseconds()));
  fusion->kernels.push_back(std::move(pieces));
  if (!is_cut) return {};
  total.reads_scratch = true;
  CHECK_OK(split_total(&total, s));
  CHECK_OK(
      finish(&total, "total", dialect_.target.pace.nanoseconds(0, static_cast<double>(s.bytes))));
  fusion->kernels.push_back(std::move(total));
  return {};
}

}  // namespace jaxmps::kernels
