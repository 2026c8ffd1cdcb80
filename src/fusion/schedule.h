// When the values of a fusion are computed: what every printer reads before it lays them out.
//
// The walked axes are those that one group of work goes along: the reduced ones, or those that the
// printer of a loop chooses. A stage is one walk along them: it ends in reductions, whose results
// the next stages use. Values; immutable once made, and independent of the fusion but for its
// numbers of instructions and outputs.
#pragma once

#include <vector>

#include "fusion/fusion.h"

namespace jaxmps::fusion {

struct ScheduledValue {
  // uniform: one for the whole fusion; group: one for each group; element: one for each position
  // of a walk.
  enum class Level : uint8_t { uniform, group, element };
  bool live = false;     // some output needs it; nothing else is known of values that are not
  bool is_kept = false;  // an element that a later stage reads
  Level level = Level::uniform;
  int stage = 0;      // the first that has it; a reduction is there in the one that follows it
  uint64_t axes = 0;  // that it depends on, as a mask

  bool is_element() const { return level == Level::element; }
};

// A real component of an output: complex outputs have two.
struct OutputPart {
  int output;
  int32_t value;
  int64_t offset;                // where point i goes, in real elements
  std::vector<int64_t> strides;  // of the output
  bool is_spread = false;        // there is a place for every walked position, not only every group
  bool is_single = false;        // there is one place for all of several groups
};

class FusionSchedule {
 public:
  // Along the reduced axes, or along [walk_begin, walk_end).
  explicit FusionSchedule(const Fusion& fusion);
  FusionSchedule(const Fusion& fusion, int walk_begin, int walk_end);

  const ScheduledValue& operator[](int32_t v) const { return values_[static_cast<size_t>(v)]; }
  int32_t size() const { return static_cast<int32_t>(values_.size()); }
  const std::vector<OutputPart>& parts() const { return parts_; }
  int stages() const { return stages_; }
  // Positions of one walk, and the groups that walk.
  int64_t length() const { return length_; }
  int64_t groups() const { return groups_; }
  // Whether some element is computed, or stored, with the result of a reduction.
  bool rereads_elements() const;

 private:
  void mark_live(const Fusion& fusion);
  void analyse(const Fusion& fusion);
  void spread_parts();

  int walk_begin_, walk_end_;
  std::vector<ScheduledValue> values_;
  std::vector<OutputPart> parts_;
  int stages_ = 1;
  int64_t length_ = 1, groups_ = 1;
};

}  // namespace jaxmps::fusion
