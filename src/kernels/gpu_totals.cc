// Sums over all rows, in the kernel that walks the rows. Each block adds up its own, in registers
// and then in shared memory, and leaves the sums in scratch memory. The block of each team that
// ends last adds up the team's, and the last of these all of them: in an order that is always the
// same, so that equal operands give equal bits.
#include <algorithm>

#include "kernels/gpu_printer.h"

namespace jaxmps::kernels {
namespace {

// Counters of teams, and behind them that of all.
constexpr int64_t kTeam = BlockWalk::kTeam, kAll = BlockWalk::kMaxBlocks / kTeam;
static_assert(kAll < GpuKernel::kCounters);

constexpr std::string_view kNothing = "-0.0f";  // that a sum does not change by

}  // namespace

// The loop over the tiles of a block, inside of which add_to_totals() is called.
void GpuPrinter::open_tiles(const BlockWalk& w) {
  for (const int32_t v : totals_) {
    line(str("f32 t", v, "[", w.per_lane, "];"));
    line("#pragma unroll");
    line(str("for (int j = 0; j < ", w.per_lane, "; ++j) t", v, "[j] = ", kNothing, ";"));
  }
  line(str("for (u32 tile = block_id; tile < ", w.tiles, "; tile += ", w.blocks, ") {"));
  ++depth_;
}

// Element j of a thread; groups that repeat the last row add nothing.
void GpuPrinter::add_to_totals(int stage) {
  for (const int32_t v : totals_) {
    if (schedule_[v].stage != stage) continue;
    std::string element = value(instr(v).a, stage);
    if (!condition_.empty()) element = str(condition_, " ? ", element, " : ", kNothing);
    line(str("t", v, "[j] += ", element, ";"));
  }
}

// From the totals of one block to those of the next, in the scratch memory. They are read as
// vectors of four, of which the last may have something that is no total's.
int64_t GpuPrinter::stride() const {
  return (static_cast<int64_t>(totals_.size()) * schedule_.length() + 3) / 4 * 4;
}

void GpuPrinter::open_positions(const BlockWalk& w, int64_t count) {
  line(str("for (", index_type(), " c = thread_id; c < ", count, "; c += ", w.threads, ") {"));
  ++depth_;
}

void GpuPrinter::close() {
  --depth_;
  line("}");
}

// What the threads of the block have becomes its part of the scratch memory: the totals, one behind
// the other.
void GpuPrinter::leave_totals(const BlockWalk& w) {
  const int64_t width = w.per_lane * w.lanes, length = schedule_.length();
  line(str("SHARED(f32, sums, ", w.groups * width, ");"));
  shared_bytes_ += w.groups * width * 4;
  for (size_t k = 0; k < totals_.size(); ++k) {
    line("#pragma unroll");
    line(str("for (int j = 0; j < ", w.per_lane, "; ++j) sums[group * ", width, " + lane + j * ",
             w.lanes, "] = t", totals_[k], "[j];"));
    line("BARRIER();");
    open_positions(w, length);
    line("f32 part = sums[c];");
    line(str("for (int g = 1; g < ", w.groups, "; ++g) part += sums[g * ", width, " + c];"));
    line(str("SCRATCH(f32, 0)[block_id * ", stride(), " + ", k * length, " + c] = part;"));
    close();
    line("BARRIER();");
  }
}

// Adds up what so many blocks have left, in the place of the first of them; each is `apart` from
// the one before. All loads are under way together.
void GpuPrinter::add_up_blocks(const BlockWalk& w, std::string_view first, int64_t blocks,
                               int64_t apart) {
  const auto part = [&](std::string_view block) {
    return str("SCRATCH(float4, 0)[(", block, ") * ", stride() / 4, " + c]");
  };
  open_positions(w, stride() / 4);
  line(str("float4 sum = of_others(&", part(first), ");"));
  line("#pragma unroll");
  line(str("for (u32 m = 1; m < ", blocks, "; ++m) sum = sum + of_others(&",
           part(str(first, " + m * ", apart)), ");"));
  line(str(part(first), " = sum;"));
  close();
}

// Ends the loop over tiles; the last block goes on to store what is computed of the totals.
Status GpuPrinter::finish_totals(GpuKernel* kernel, const BlockWalk& w) {
  line("BARRIER();");  // before the next tile shares anything
  close();
  const int64_t length = schedule_.length();
  kernel->scratch_bytes = w.blocks * stride() * 4;
  kernel->has_counters = w.blocks > 1;
  leave_totals(w);
  const int64_t team = w.blocks > kTeam ? kTeam : 1, left = w.blocks / team;
  if (team > 1) {
    line(str("const u32 team = block_id / ", team, ";"));
    line(str("if (!is_last(counters + team, ", team, ")) return;"));
    add_up_blocks(w, str("team * ", team), team, 1);
  }
  if (left > 1) {
    line(str("if (!is_last(counters + ", kAll, ", ", left, ")) return;"));
    add_up_blocks(w, "0", left, team);
    line("BARRIER();");
  }
  open_positions(w, length);
  axes("c", f_.reduced_begin, f_.reduced_end);
  for (const int32_t v : schedule_.behind_walks(f_)) {
    const auto k = std::find(totals_.begin(), totals_.end(), v) - totals_.begin();
    if (instr(v).op == Opcode::total) {
      line(str("const f32 v", v, " = 0.0f + SCRATCH(f32, 0)[", k * length, " + c];"));
    } else {
      CHECK_OK(define(v));
    }
  }
  for (const OutputPart& part : schedule_.parts()) {
    if (part.is_total) store(part);
  }
  close();
  return {};
}

}  // namespace jaxmps::kernels
