#include "fusion/schedule.h"

#include <algorithm>

namespace jaxmps::fusion {
namespace {

// The axes [begin, end).
uint64_t mask_of(int begin, int end) {
  uint64_t mask = 0;
  for (int a = begin; a < end; ++a) mask |= 1ull << a;
  return mask;
}

uint64_t axes_of(const Access& access) {
  uint64_t axes = 0;
  for (size_t a = 0; a < access.strides.size(); ++a) {
    if (access.strides[a]) axes |= 1ull << a;
  }
  for (const Bound& b : access.bounds) axes |= 1ull << b.axis;
  return axes;
}

}  // namespace

FusionSchedule::FusionSchedule(const Fusion& fusion)
    : FusionSchedule(fusion, fusion.reduced_begin, fusion.reduced_end) {}

FusionSchedule::FusionSchedule(const Fusion& fusion, int walk_begin, int walk_end)
    : walk_begin_(walk_begin), walk_end_(walk_end), values_(fusion.program.instrs.size()) {
  for (int a = 0; a < static_cast<int>(fusion.dims.size()); ++a) {
    const bool is_walked = a >= walk_begin && a < walk_end;
    (is_walked ? length_ : groups_) *= fusion.dims[static_cast<size_t>(a)];
  }
  for (size_t o = 0; o < fusion.outputs.size(); ++o) {
    const FusionOutput& out = fusion.outputs[o];
    const int output = static_cast<int>(o);
    parts_.push_back({out, output, out.value.re, out.shift});
    if (out.value.im >= 0)
      parts_.push_back({{out.offset + 1, out.strides}, output, out.value.im, out.shift});
  }
  mark_live(fusion);
  analyse(fusion);
  spread_parts();
}

void FusionSchedule::mark_live(const Fusion& fusion) {
  for (const OutputPart& part : parts_) {
    for (const int32_t v : {part.value, part.shift}) {
      if (v >= 0) values_[static_cast<size_t>(v)].live = true;
    }
  }
  for (size_t v = values_.size(); v-- > 0;) {
    if (!values_[v].live) continue;
    for (int32_t operand : fusion.program.instrs[v].operands()) {
      if (operand >= 0) values_[static_cast<size_t>(operand)].live = true;
    }
  }
}

void FusionSchedule::analyse(const Fusion& fusion) {
  using Level = ScheduledValue::Level;
  const uint64_t walked = mask_of(walk_begin_, walk_end_);
  const uint64_t inner = mask_of(walk_end_, static_cast<int>(fusion.dims.size()));
  for (size_t v = 0; v < values_.size(); ++v) {
    ScheduledValue& x = values_[v];
    const ScalarInstr& i = fusion.program.instrs[v];
    if (!x.live) continue;
    const bool reduces = is_reduction(i.op);
    if (i.op == Opcode::load) x.axes = axes_of(fusion.accesses[i.imm]);
    for (int32_t operand : i.operands()) {
      if (operand < 0) continue;
      ScheduledValue& from = values_[static_cast<size_t>(operand)];
      x.axes |= from.axes;
      x.stage = std::max(x.stage, from.stage);
      if (from.level != Level::uniform) x.level = std::max(x.level, Level::group);
      if (from.is_total()) x.level = Level::total;
    }
    if (i.op == Opcode::total) {
      x.level = Level::total;
      x.axes = walked;
      continue;
    }
    if (x.is_total()) {
      x.stage = 0;
      continue;
    }
    // Its elements are read in the stage that it ends.
    for (int32_t operand : i.operands()) {
      if (operand < 0) continue;
      ScheduledValue& from = values_[static_cast<size_t>(operand)];
      from.is_kept |= from.is_element() && from.stage < x.stage;
    }
    if (reduces) {
      // A vector over the inner axes, even if all its elements are equal.
      x.axes = (x.axes & ~walked) | inner;
      stages_ = std::max(stages_, ++x.stage + 1);
      x.level = Level::group;
    } else if (x.axes & walked) {
      x.level = Level::element;
    } else if (x.axes) {
      x.level = Level::group;
    }
  }
}

// The parts of an output are spread alike, and computed of totals alike.
void FusionSchedule::spread_parts() {
  const auto outputs = static_cast<size_t>(parts_.empty() ? 0 : parts_.back().output + 1);
  std::vector<bool> spread(outputs), total(outputs);
  for (const OutputPart& part : parts_) {
    const auto output = static_cast<size_t>(part.output);
    if ((*this)[part.value].is_total()) total[output] = true;
    if ((*this)[part.value].is_element()) spread[output] = true;
    for (int a = walk_begin_; a < walk_end_; ++a) {
      if (part.strides[static_cast<size_t>(a)] != 0) spread[output] = true;
    }
  }
  for (OutputPart& part : parts_) {
    part.is_total = total[static_cast<size_t>(part.output)];
    part.is_spread = !part.is_total && spread[static_cast<size_t>(part.output)];
    const auto is_zero = [](int64_t stride) { return stride == 0; };
    part.is_single = !part.is_total && !part.is_spread && groups_ > 1 &&
                     std::all_of(part.strides.begin(), part.strides.end(), is_zero);
  }
}

std::vector<int32_t> FusionSchedule::live() const {
  std::vector<int32_t> values;
  for (int32_t v = 0; v < size(); ++v) {
    if ((*this)[v].live) values.push_back(v);
  }
  return values;
}

bool FusionSchedule::has_totals() const {
  return std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part.is_total; });
}

std::vector<int32_t> FusionSchedule::behind_walks(const Fusion& fusion) const {
  std::vector<bool> needed(values_.size());
  for (const OutputPart& part : parts_) {
    if (part.is_total) needed[static_cast<size_t>(part.value)] = true;
  }
  std::vector<int32_t> values;
  for (int32_t v = size(); v-- > 0;) {
    if (!needed[static_cast<size_t>(v)]) continue;
    values.insert(values.begin(), v);
    const ScalarInstr& i = fusion.program.instrs[static_cast<size_t>(v)];
    for (const int32_t operand : i.operands()) {
      if (operand >= 0 && i.op != Opcode::total) needed[static_cast<size_t>(operand)] = true;
    }
  }
  return values;
}

double FusionSchedule::count(int32_t v, const ScalarInstr& instr) const {
  const ScheduledValue& x = (*this)[v];
  const auto groups = static_cast<double>(groups_);
  if (x.is_element() || is_reduction(instr.op) || instr.op == Opcode::total)
    return groups * static_cast<double>(length_);
  if (x.is_total()) return static_cast<double>(length_);
  return x.level == ScheduledValue::Level::group ? groups : 1;
}

bool FusionSchedule::rereads_elements() const {
  for (const ScheduledValue& x : values_) {
    if (x.live && x.is_element() && x.stage > 0) return true;
  }
  return std::any_of(parts_.begin(), parts_.end(), [&](const OutputPart& part) {
    return part.is_spread && (*this)[part.value].stage > 0;
  });
}

}  // namespace jaxmps::fusion
