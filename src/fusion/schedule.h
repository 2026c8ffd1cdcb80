// When the values of a fusion are computed, and how its walks are cut: what every printer reads.
//
// The walked axes are those that one group of work goes along: the reduced ones, or those that the
// tile machine chooses of a loop. A stage is one walk along them: it ends in reductions, whose
// results the next stages use. Values; immutable once made, and independent of the fusion but for
// its numbers of instructions and outputs.
#pragma once

#include <optional>
#include <vector>

#include "fusion/fusion.h"
#include "ir/target.h"

namespace jaxmps::fusion {

struct ScheduledValue {
  // uniform: one for the whole fusion; group: one for each group; element: one for each position
  // of a walk; total: one for each position of all walks, computed of totals behind them.
  enum class Level : uint8_t { uniform, group, element, total };
  bool live = false;     // some output needs it; nothing else is known of values that are not
  bool is_kept = false;  // an element that a later stage reads
  Level level = Level::uniform;
  // The first that has it; a reduction is there in the one that follows it, and a total is added to
  // in its operand's.
  int stage = 0;
  uint64_t axes = 0;  // that it depends on, as a mask

  bool is_element() const { return level == Level::element; }
  bool is_total() const { return level == Level::total; }
};

// A real component of an output, and where point i goes in real elements: complex outputs have two.
struct OutputPart : Affine {
  int output;
  int32_t value;
  int32_t shift = -1;      // FusionOutput::shift
  bool is_spread = false;  // there is a place for every walked position, not only every group
  bool is_single = false;  // there is one place for all of several groups
  bool is_total = false;   // it is computed of totals
};

// How the tile machine cuts the axes. Outer ones are [0, red_begin), walked ones [red_begin,
// red_end), inner ones [red_end, rank). A group is a point of the outer axes and one chunk of the
// inner ones.
struct Tiling {
  ir::Dims dims;
  bool has_reductions = false;
  int red_begin = 0, red_end = 0;
  int tile_begin = 0;  // tiles are dense runs of axes [tile_begin, rank)
  int64_t outer_count = 1, red_count = 1, inner_count = 1;
  int64_t chunk = 1, chunks = 1;  // of the inner axes
  int64_t rows = 1;               // walked positions in one tile, times `chunk` elements
  int64_t clip = 0;               // extent of the last walked axis when tiles must not cross it
  int64_t width = 1;              // elements of a tile
};

// How the threads of a GPU's blocks share whole rows or columns.
struct BlockWalk {
  // Blocks that share totals, and how many are added up at once: full teams if there are several.
  static constexpr int64_t kMaxBlocks = 256, kTeam = 16;
  bool is_column = false;
  int64_t inner = 1;              // columns side by side
  int64_t lanes = 1, groups = 1;  // threads along a row or column, and of these in a block
  int64_t threads = 1, blocks = 1;
  int64_t tiles = 1;         // of `groups` rows; where there are totals a block may take several
  int64_t per_lane = 1;      // elements
  bool is_repeated = false;  // by each stage, as a thread's elements do not stay in its registers
};

// How long reductions are cut on a GPU. Blocks are some columns wide along the kept axes inside of
// the reduced ones, so that neighbours read neighbours; rows are the case of one column.
struct BlockSplit {
  static constexpr int64_t kThreads = 256;  // of a block
  int64_t length = 1, kept = 1, inner = 1;  // elements of one; results; of these, on the last axes
  int64_t columns = 1, lanes = 1;  // threads of a block along `inner` and along the reduction
  int64_t pieces = 1, piece = 1;   // of each reduction, and its length
  std::vector<int32_t> values;     // the reductions
  std::vector<int64_t> offsets;    // of their pieces in the scratch memory, in bytes
  int64_t bytes = 0;
};

class FusionSchedule {
 public:
  // Along the reduced axes, or along [walk_begin, walk_end).
  explicit FusionSchedule(const Fusion& fusion);
  FusionSchedule(const Fusion& fusion, int walk_begin, int walk_end);
  static FusionSchedule for_tiles(const Fusion& fusion);
  // One kernel, or pieces and their total: rows and columns of the target's longest length, and
  // reductions of any length and along any axes whose elements are not read again with their
  // result. Refuses others, float64, and totals that are not those of rows that threads hold.
  static Result<FusionSchedule> for_gpu(const Fusion& fusion, const ir::Target& target);

  const ScheduledValue& operator[](int32_t v) const { return values_[static_cast<size_t>(v)]; }
  int32_t size() const { return static_cast<int32_t>(values_.size()); }
  const std::vector<OutputPart>& parts() const { return parts_; }
  std::vector<int32_t> live() const;
  bool has_totals() const;
  // What is computed behind the walks: what parts of totals need, down to the totals.
  std::vector<int32_t> behind_walks(const Fusion& fusion) const;
  int stages() const { return stages_; }
  // Positions of one walk, and the groups that walk.
  int64_t length() const { return length_; }
  int64_t groups() const { return groups_; }
  // How many results or steps of the instruction there are; its operands', for a reduction.
  double count(int32_t v, const ScalarInstr& instr) const;
  // Whether some element is computed, or stored, with the result of a reduction.
  bool rereads_elements() const;
  // The elements that the walk of a stage reads or computes: what its reductions, what it stores
  // and what it keeps for later stages are made of. `is_kept(v)`: the stage that has v stores it
  // for those behind, which do not compute it again. `operands_of(v)`: what v is computed from.
  template <typename Kept, typename Operands>
  std::vector<bool> elements_of(int stage, const Fusion& fusion, const Kept& is_kept,
                                const Operands& operands_of) const;

  const Tiling& tiling() const { return tiling_; }
  // Of a GPU's reduction one is there, of a loop neither.
  const std::optional<BlockWalk>& walk() const { return walk_; }
  const std::optional<BlockSplit>& split() const { return split_; }
  // Of one walk over all elements, estimated for a slow machine of the GPU's kind.
  double nanoseconds() const { return nanoseconds_; }

 private:
  void mark_live(const Fusion& fusion);
  void analyse(const Fusion& fusion);
  void spread_parts();
  Status check_totals(const Fusion& fusion, const ir::Target& target) const;
  void plan_walk(const Fusion& fusion, const ir::Target& target);
  void plan_split(const Fusion& fusion, const ir::Target& target);
  double estimate(const Fusion& fusion, const ir::Pace& pace) const;

  int walk_begin_, walk_end_;
  std::vector<ScheduledValue> values_;
  std::vector<OutputPart> parts_;
  int stages_ = 1;
  int64_t length_ = 1, groups_ = 1;
  Tiling tiling_;
  std::optional<BlockWalk> walk_;
  std::optional<BlockSplit> split_;
  double nanoseconds_ = 0;
};

template <typename Kept, typename Operands>
std::vector<bool> FusionSchedule::elements_of(int stage, const Fusion& fusion, const Kept& is_kept,
                                              const Operands& operands_of) const {
  std::vector<bool> needed(values_.size());
  const auto need = [&](int32_t v) {
    if (v >= 0 && (*this)[v].is_element()) needed[static_cast<size_t>(v)] = true;
  };
  for (const OutputPart& part : parts_) {
    if (part.is_spread && (*this)[part.value].stage == stage) need(part.value);
  }
  for (int32_t v = size(); v-- > 0;) {
    const ScheduledValue& x = (*this)[v];
    const ScalarInstr& i = fusion.program.instrs[static_cast<size_t>(v)];
    if (!x.live) continue;
    if (is_reduction(i.op) && x.stage == stage + 1) need(i.a);
    if (i.op == Opcode::total && x.stage == stage) need(i.a);
    if (x.stage == stage && is_kept(v)) need(v);
    if (!needed[static_cast<size_t>(v)] || (x.stage < stage && is_kept(v))) continue;
    for (const int32_t operand : operands_of(v)) need(operand);
  }
  return needed;
}

}  // namespace jaxmps::fusion
