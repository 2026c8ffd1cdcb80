// How the blocks of a GPU share the rows, columns and long reductions of a fusion.
#include <algorithm>

#include "fusion/schedule.h"

namespace jaxmps::fusion {
namespace {

constexpr int64_t kKept = 16;         // elements of a row that a thread keeps in registers
constexpr int64_t kMaxThreads = 512;  // for one row
static_assert(kKept * kMaxThreads == ir::kCuda.longest_row && kMaxThreads <= ir::kCuda.max_threads);
constexpr int64_t kFewBlocks = 128;  // do not fill a machine
constexpr int64_t kMinColumns = 8;   // that are read at once
constexpr int64_t kMaxColumns = 32;
constexpr int64_t kMaxWalk =
    64;  // elements of a thread for which a second launch would take longer
constexpr int64_t kBlocks = 1024;       // wanted to fill a machine
constexpr int64_t kMinPiece = 16;       // elements for each lane, at least
constexpr int64_t kShortTotals = 1024;  // positions, whatever the number of rows
constexpr int64_t kWarp = 32;

int64_t up(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Columns side by side.
int64_t inner_of(const Fusion& f) {
  return ir::element_count({f.dims.begin() + f.reduced_end, f.dims.end()});
}

}  // namespace

void FusionSchedule::plan_walk(const Fusion& f, const ir::Target& target) {
  BlockWalk& w = walk_.emplace();
  w.is_column = f.kind == Fusion::Kind::column;
  if (w.is_column) {
    w.inner = inner_of(f);
    const auto blocks = [&] { return groups_ / w.inner * up(w.inner, w.groups); };
    while (w.groups < kMaxColumns && w.groups < w.inner) w.groups *= 2;
    while (w.groups > kMinColumns && blocks() < kFewBlocks) w.groups /= 2;
    w.threads = 256;
    while (w.threads < target.max_threads && length_ * w.groups > kKept * w.threads) w.threads *= 2;
    w.lanes = w.threads / w.groups;
    w.blocks = blocks();
  } else {
    // Many loads in flight at once, and few threads that meet at a barrier; where rows are few,
    // threads. Totals are the fewer to add up the more rows a block has.
    const auto wanted = [&] {
      return w.lanes < kWarp || (groups_ < kBlocks && !has_totals()) ? 4 : 8;
    };
    while (w.lanes < kMaxThreads && w.lanes * wanted() < length_) w.lanes *= 2;
    const int64_t threads = has_totals() ? kMaxThreads : groups_ < kBlocks ? 128 : 256;
    w.groups = std::max<int64_t>(1, threads / w.lanes);
    w.threads = w.lanes * w.groups;
    w.tiles = w.blocks = std::max<int64_t>(1, up(groups_, w.groups));
    if (has_totals()) {
      w.blocks = up(w.tiles, up(w.tiles, BlockWalk::kMaxBlocks));
      if (w.blocks > BlockWalk::kTeam) w.blocks = up(w.blocks, BlockWalk::kTeam) * BlockWalk::kTeam;
    }
  }
  w.per_lane = up(length_, w.lanes);
  w.is_repeated = w.per_lane > kKept;
}

void FusionSchedule::plan_split(const Fusion& f, const ir::Target& target) {
  BlockSplit& s = split_.emplace();
  s.length = length_;
  s.kept = groups_;
  s.inner = inner_of(f);
  while (s.columns < kWarp && s.columns < s.inner) s.columns *= 2;
  s.lanes = BlockSplit::kThreads / s.columns;
  const int64_t blocks = s.kept / s.inner * up(s.inner, s.columns);
  const int64_t most = up(s.length, s.lanes * kMinPiece);
  // No block may take too long either.
  const int64_t wanted = std::max(kBlocks, target.pace.pieces(nanoseconds_));
  s.pieces = std::clamp<int64_t>(up(wanted, blocks), 1, most);
  s.piece = up(s.length, s.pieces);
  s.pieces = up(s.length, s.piece);
  for (const int32_t v : live()) {
    const ScalarInstr& i = f.program.instrs[static_cast<size_t>(v)];
    if (!is_reduction(i.op)) continue;
    s.values.push_back(v);
    s.offsets.push_back(s.bytes);
    s.bytes += up(s.pieces * s.kept * ir::byte_size(i.type), 16) * 16;
  }
}

double FusionSchedule::estimate(const Fusion& f, const ir::Pace& pace) const {
  constexpr double kFlop = 0.06;  // what the table says of an addition
  constexpr double kLine = 32;    // bytes that are moved for one element that stands alone
  const auto is_scattered = [](const Affine& at) {
    return !at.strides.empty() && at.strides.back() > 1;
  };
  double flops = 0, bytes = 0;
  for (const int32_t v : live()) {
    const ScalarInstr& i = f.program.instrs[static_cast<size_t>(v)];
    flops += info(i.op).cost / kFlop * count(v, i);
    if (i.op != Opcode::load || !(*this)[v].is_element()) continue;
    const bool is_alone = i.a >= 0 || is_scattered(f.accesses[i.imm]);
    bytes += count(v, i) * (is_alone ? kLine : static_cast<double>(ir::byte_size(i.type)));
  }
  for (const FusionOutput& o : f.outputs) {
    const auto size = static_cast<double>(f.written(o));
    bytes += size * (is_scattered(o) ? kLine : static_cast<double>(ir::byte_size(o.type.dtype)));
  }
  return pace.nanoseconds(flops, bytes);
}

// Rows keep to themselves, and what is computed of totals needs nothing of them.
Status FusionSchedule::check_totals(const Fusion& f, const ir::Target& target) const {
  if (!target.ordered_blocks) {
    return unimplemented(
        str("sums over all rows beside those of rows in a ", target.name, " kernel"));
  }
  for (const OutputPart& part : parts_) {
    if (part.is_total && part.shift >= 0)
      return unimplemented("a GPU kernel of sums over all rows that updates an array");
  }
  for (const int32_t v : behind_walks(f)) {
    const ScheduledValue& x = (*this)[v];
    const ScalarInstr& i = f.program.instrs[static_cast<size_t>(v)];
    const bool is_total = i.op == Opcode::total;
    const bool is_of_rows =
        (x.stage > 0 && !is_total) || (x.axes & ((1ull << walk_begin_) - 1)) != 0;
    const bool is_of_totals = is_total && (*this)[i.a].is_total();
    if (is_reduction(i.op) || is_of_rows || is_of_totals)
      return unimplemented("a GPU kernel of rows and their sums of which one needs the other");
  }
  // They are added up by single blocks in the end, which takes the longer the longer rows are.
  if (walk_->is_repeated || length_ > std::max(kShortTotals, 4 * groups_)) {
    return unimplemented(
        str("a GPU kernel of sums over ", groups_, " rows of ", length_, " elements"));
  }
  return {};
}

Result<FusionSchedule> FusionSchedule::for_gpu(const Fusion& f, const ir::Target& target) {
  if (f.size() == 0) return unimplemented("a GPU kernel of nothing");
  FusionSchedule s(f);
  for (const int32_t v : s.live()) {
    if (f.program.instrs[static_cast<size_t>(v)].type == DType::f64)
      return unimplemented("a GPU kernel of float64");
  }
  s.nanoseconds_ = s.estimate(f, target.pace);
  if (f.kind == Fusion::Kind::loop) return s;
  // What reads a reduction of the same elements walks them once more; otherwise a long reduction is
  // cut in pieces, so that it fills the machine.
  const bool rereads = s.stages_ > 2 || s.rereads_elements();
  s.plan_walk(f, target);
  if (s.has_totals()) {
    CHECK_OK(s.check_totals(f, target));
    return s;
  }
  if (s.length_ <= target.longest_row && (rereads || s.walk_->per_lane <= kMaxWalk)) return s;
  if (rereads) {
    return unimplemented(
        str("a GPU reduction of ", s.length_, " elements that are read again with its result"));
  }
  s.walk_.reset();
  s.plan_split(f, target);
  return s;
}

}  // namespace jaxmps::fusion
