#include <algorithm>

#include "kernels/cpu/tile_program.h"

namespace jaxmps::cpu {

using kernels::ScalarValue;

namespace {

constexpr int64_t kTile = 1024;          // elements
constexpr int64_t kSmallRow = 512;       // inner axes below this share a tile among red positions
constexpr int64_t kRowBuffer = 1 << 18;  // bytes of a row kept between stages
constexpr double kSegmentCost = 60e3;    // nanoseconds of one unit of parallel work

// Nanoseconds per element, by the width of a 512-bit machine; only ratios matter.
double op_cost(Opcode op, DType type) {
  const double scale = ir::byte_size(type) / 4.0;
  if (op == Opcode::pow || op == Opcode::rem) return 4 * scale;
  if (op >= Opcode::cbrt && op <= Opcode::erf_inv) return (type == DType::f64 ? 6 : 0.8) * scale;
  if (op == Opcode::threefry) return 2;
  if (op == Opcode::div || op == Opcode::sqrt || op == Opcode::rsqrt || op == Opcode::atan2) return 0.3 * scale;
  return 0.06 * scale;
}

int64_t product(const ir::Dims& dims, int begin, int end) {
  int64_t n = 1;
  for (int a = begin; a < end; ++a) n *= dims[static_cast<size_t>(a)];
  return n;
}

struct Value {
  bool live = false;
  uint64_t axes = 0;  // that it depends on
  int level = 0;      // 0 uniform, 1 group, 2 element
  int stage = 0;
  bool single = true;  // one element for a whole tile
  int32_t entry = -1;  // of uniform and group values
};

class Compiler {
 public:
  Compiler(const Fusion& fusion, const VecTable& table, TileKernel::Impl* out)
      : f_(fusion), k_(*out), values_(fusion.program.instrs.size()) {
    k_.table = &table;
  }
  Status compile();

 private:
  struct Local {  // per stage
    std::vector<int32_t> entry, last_use;
    std::vector<int32_t> order;  // element instructions of the stage, in program order
    std::vector<std::pair<int64_t, int>> free;  // slot offset and class
  };

  const ScalarInstr& instr(int32_t v) const { return f_.program.instrs[static_cast<size_t>(v)]; }
  Value& value(int32_t v) { return values_[static_cast<size_t>(v)]; }
  static bool is_reduce(const ScalarInstr& i) { return i.op >= Opcode::reduce_add; }
  uint8_t size_of(int32_t v) const { return static_cast<uint8_t>(ir::byte_size(instr(v).type)); }

  void choose_axes();
  void mark_live();
  void analyse();
  void add_parts();
  void find_aliases();
  bool panel_helps(const Access& access) const;
  bool dense_in_tile(const std::vector<int64_t>& strides) const;
  int32_t new_entry(Entry::Area area, int64_t bytes);
  int64_t take(int64_t* area, int64_t bytes);
  Status fixed_values();  // uniform and group values, everything that is not element level
  Status make_step(int32_t v, std::vector<Step>* steps, const std::vector<int32_t>* local);
  Result<Step> compute_step(int32_t v, std::vector<Step>* steps, const std::vector<int32_t>* local);
  Status build_stage(int s);
  void collect(int s, Local* local);
  void place_outputs(int s, Local* local);
  void bind_row_buffers(int s, Local* local);
  Status schedule(int s, Local* local);
  int64_t allocate(Local* local, int size);
  Status reductions(int s, Local* local);
  void finish_group();
  int32_t entry_of(int32_t v, const std::vector<int32_t>* local);

  const Fusion& f_;
  TileKernel::Impl& k_;
  std::vector<Value> values_;
  int stage_count_ = 1;
  uint64_t red_mask_ = 0, inner_mask_ = 0, tile_mask_ = 0;
  std::vector<int64_t> row_buffer_;      // per value: offset in the tile area, or -1
  std::vector<int32_t> part_value_;      // per output part
  std::vector<bool> part_done_;          // written by its own computation
};

void Compiler::choose_axes() {
  k_.dims = f_.dims;
  int rank = static_cast<int>(f_.dims.size());
  k_.has_reductions = f_.kind != Fusion::Kind::loop;
  if (k_.has_reductions) {
    k_.red_begin = f_.reduced_begin;
    k_.red_end = f_.reduced_end;
  } else {
    // A long innermost axis is walked alone, so that what varies along the others is one value.
    k_.red_end = rank;
    k_.red_begin = rank >= 2 && f_.dims.back() >= 256 ? rank - 1 : 0;
  }
  k_.outer_count = product(f_.dims, 0, k_.red_begin);
  k_.red_count = product(f_.dims, k_.red_begin, k_.red_end);
  k_.inner_count = product(f_.dims, k_.red_end, rank);
  k_.tile_begin = k_.red_begin;
  if (k_.red_end < rank) {
    const int64_t n = k_.inner_count;
    k_.rows = n <= kSmallRow && n > 0 ? std::max<int64_t>(1, std::min(kTile / n, k_.red_count)) : 1;
    k_.chunks = n <= kTile ? 1 : (n + kTile - 1) / kTile;
    k_.chunk = std::max<int64_t>(1, (n + k_.chunks - 1) / k_.chunks);
    if (k_.rows == 1) k_.tile_begin = k_.red_end;
    k_.width = k_.rows * k_.chunk;
  } else {
    int64_t extent = k_.red_count;
    if (k_.red_end - k_.red_begin > 1 && f_.dims.back() >= 128) {
      k_.clip = extent = f_.dims.back();
      k_.tile_begin = rank - 1;
    }
    // Equal tiles rather than full ones and a rest.
    const int64_t tiles = std::max<int64_t>(1, (extent + kTile - 1) / kTile);
    const int64_t even = (extent + tiles - 1) / tiles;
    k_.width = k_.rows = std::clamp<int64_t>(k_.clip || tiles < 4 ? (even + 15) / 16 * 16 : kTile, 1, kTile);
    k_.width = k_.rows = std::min(k_.rows, std::max<int64_t>(1, k_.red_count));
  }
  for (int a = k_.red_begin; a < k_.red_end; ++a) red_mask_ |= 1ull << a;
  for (int a = k_.red_end; a < rank; ++a) inner_mask_ |= 1ull << a;
  for (int a = k_.tile_begin; a < rank; ++a) tile_mask_ |= 1ull << a;
}

void Compiler::mark_live() {
  for (const FusionOutput& o : f_.outputs) {
    value(o.value.re).live = true;
    if (o.value.im >= 0) value(o.value.im).live = true;
  }
  for (int32_t v = static_cast<int32_t>(values_.size()) - 1; v >= 0; --v) {
    if (!value(v).live) continue;
    const ScalarInstr& i = instr(v);
    for (int32_t operand : {i.a, i.b, i.c, i.d}) {
      if (operand >= 0) value(operand).live = true;
    }
  }
}

void Compiler::analyse() {
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    Value& x = value(v);
    if (!x.live) continue;
    const ScalarInstr& i = instr(v);
    if (i.op == Opcode::load) {
      const Access& access = f_.accesses[i.imm];
      for (size_t a = 0; a < access.strides.size(); ++a) {
        if (access.strides[a]) x.axes |= 1ull << a;
      }
      for (const kernels::Bound& b : access.bounds) x.axes |= 1ull << b.axis;
    }
    for (int32_t operand : {i.a, i.b, i.c, i.d}) {
      if (operand < 0) continue;
      const Value& from = value(operand);
      x.axes |= from.axes;
      x.stage = std::max(x.stage, from.stage);
      x.level = std::max(x.level, std::min(from.level, 1));
    }
    if (is_reduce(i)) {
      // A vector over the inner axes, even if all its elements are equal.
      x.axes = (x.axes & ~red_mask_) | inner_mask_;
      x.stage = std::max(value(i.a).stage, value(i.b).stage) + 1;
      stage_count_ = std::max(stage_count_, x.stage + 1);
      x.level = 1;
    } else if (x.axes & red_mask_) {
      x.level = 2;
    } else if (x.axes) {
      x.level = 1;
    }
    x.single = (x.axes & tile_mask_) == 0;
    k_.element_cost += x.level == 2 ? op_cost(i.op, i.type) : 0;
  }
  k_.element_cost = std::max(k_.element_cost, 0.1);
}

void Compiler::add_parts() {
  for (size_t o = 0; o < f_.outputs.size(); ++o) {
    const FusionOutput& out = f_.outputs[o];
    for (int32_t v : {out.value.re, out.value.im}) {
      if (v < 0) continue;
      const int64_t part = v == out.value.im && v != out.value.re ? 1 : 0;
      k_.parts.push_back({static_cast<int>(o), out.offset + part, out.strides, size_of(v)});
      part_value_.push_back(v);
      part_done_.push_back(false);
    }
    if (out.value.im >= 0 && out.value.im == out.value.re) k_.parts.back().offset += 1;
  }
}

// An output may overwrite an input that is read at the same element only, and not in a later stage.
void Compiler::find_aliases() {
  k_.aliases.assign(f_.inputs.size(), std::vector<bool>(f_.outputs.size(), true));
  for (size_t i = 0; i < f_.inputs.size(); ++i) {
    for (size_t o = 0; o < f_.outputs.size(); ++o) {
      const FusionOutput& out = f_.outputs[o];
      if (ir::byte_size(f_.inputs[i].dtype) != ir::byte_size(out.type.dtype) ||
          f_.inputs[i].size() != out.type.size()) {
        k_.aliases[i][o] = false;
      }
    }
  }
  int last = 0;
  std::vector<int> written(f_.outputs.size());
  for (size_t o = 0; o < f_.outputs.size(); ++o) {
    const Value& x = value(f_.outputs[o].value.re);
    written[o] = x.level == 2 ? x.stage : stage_count_;
    last = std::max(last, written[o]);
  }
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    if (!value(v).live || instr(v).op != Opcode::load) continue;
    const Access& access = f_.accesses[instr(v).imm];
    if (access.kind != Access::Kind::memory) continue;
    const size_t i = static_cast<size_t>(access.input);
    for (size_t o = 0; o < f_.outputs.size(); ++o) {
      const FusionOutput& out = f_.outputs[o];
      const int64_t parts = ir::is_complex(f_.inputs[i].dtype) ? 2 : 1;
      const bool same = access.bounds.empty() && access.strides == out.strides &&
                        access.offset / parts * parts == out.offset &&
                        parts == (ir::is_complex(out.type.dtype) ? 2 : 1);
      // Loads may be repeated by any later stage, so only the last stage may overwrite; and the two
      // halves of a complex number are not written at once.
      if (!same || parts == 2 || written[o] + 1 < stage_count_) k_.aliases[i][o] = false;
    }
  }
}

bool Compiler::dense_in_tile(const std::vector<int64_t>& strides) const {
  int64_t expected = 1;
  for (int a = static_cast<int>(f_.dims.size()) - 1; a >= k_.tile_begin; --a) {
    if (strides[static_cast<size_t>(a)] != expected) return false;
    expected *= f_.dims[static_cast<size_t>(a)];
  }
  return true;
}

// Whether reading kPanel neighbouring groups at once turns scattered reads into whole cache lines.
bool Compiler::panel_helps(const Access& access) const {
  constexpr int64_t kLongest = 1 << 13;
  const size_t rank = f_.dims.size();
  if (k_.has_reductions || rank < 2 || k_.red_begin + 1 != static_cast<int>(rank)) return false;
  return access.strides[rank - 2] == 1 && f_.dims[rank - 2] >= kPanel &&
         access.strides[rank - 1] >= kPanel && k_.red_count <= kLongest;
}

int64_t Compiler::take(int64_t* area, int64_t bytes) {
  const int64_t at = *area;
  *area += (bytes + 63) / 64 * 64;
  return at;
}

int32_t Compiler::new_entry(Entry::Area area, int64_t bytes) {
  int64_t offset = 0;
  // Single values pack densely; vectors start on a cache line.
  int64_t* sizes[] = {&k_.uniform_bytes, &k_.group_bytes, &k_.tile_bytes};
  if (area != Entry::Area::bound && bytes > 0) {
    int64_t* size = sizes[static_cast<int>(area)];
    if (bytes <= 8) {
      offset = *size;
      *size += 8;
    } else {
      *size = (*size + 63) / 64 * 64;
      offset = take(size, bytes);
    }
  }
  k_.entries.push_back({area, offset});
  return static_cast<int32_t>(k_.entries.size() - 1);
}

int32_t Compiler::entry_of(int32_t v, const std::vector<int32_t>* local) {
  if (v < 0) return -1;
  if (local && (*local)[static_cast<size_t>(v)] >= 0) return (*local)[static_cast<size_t>(v)];
  return value(v).entry;
}

// The loop for an instruction; operands that the loop takes only as vectors are spread first.
Result<Step> Compiler::compute_step(int32_t v, std::vector<Step>* steps,
                                    const std::vector<int32_t>* local) {
  const ScalarInstr& i = instr(v);
  const Value& x = value(v);
  Step step;
  step.single = x.single;
  step.imm = i.imm;
  step.a = entry_of(i.a, local);
  step.b = entry_of(i.b, local);
  step.c = entry_of(i.c, local);
  const bool narrow = i.op == Opcode::encode || i.op == Opcode::decode || i.op == Opcode::round_to;
  const DType from = narrow ? static_cast<DType>(i.imm) : instr(i.a).type;
  int form = 0;
  if (!x.single) {
    if (value(i.a).single) form |= kScalarA;
    if (i.b >= 0 && value(i.b).single) form |= kScalarB;
    if (i.c >= 0 && value(i.c).single) form |= kScalarC;
  }
  step.fn = k_.table->find(i.op, i.type, from, form);
  if (!step.fn && form) {
    for (int bit = 0; bit < 3; ++bit) {
      if (!(form & (1 << bit))) continue;
      const int32_t operand = bit == 0 ? i.a : bit == 1 ? i.b : i.c;
      int32_t* slot = bit == 0 ? &step.a : bit == 1 ? &step.b : &step.c;
      const uint8_t size = size_of(operand);
      Step spread{Step::Kind::splat, false, size, nullptr, 0, -1, *slot, -1, -1, -1, -1, 0, -1};
      spread.dst = *slot = new_entry(local ? Entry::Area::tile : Entry::Area::group, k_.width * size);
      steps->push_back(spread);
    }
    step.fn = k_.table->find(i.op, i.type, from, 0);
  }
  if (!step.fn) {
    return unimplemented(str("no vector loop for ", kernels::name(i.op), " of ", ir::name(i.type),
                             " from ", ir::name(from)));
  }
  return step;
}

// Appends the step that computes v into its entry.
Status Compiler::make_step(int32_t v, std::vector<Step>* steps, const std::vector<int32_t>* local) {
  const ScalarInstr& i = instr(v);
  const int32_t dst = entry_of(v, local);
  if (i.op == Opcode::threefry_second) return {};
  if (i.op == Opcode::load) {
    Step step;
    step.kind = Step::Kind::load;
    step.single = value(v).single;
    step.size = size_of(v);
    step.dst = dst;
    step.access = static_cast<int32_t>(i.imm);
    steps->push_back(step);
    return {};
  }
  if (i.op == Opcode::threefry) {
    Step step;
    step.kind = Step::Kind::threefry;
    step.single = value(v).single;
    step.a = entry_of(i.a, local), step.b = entry_of(i.b, local);
    step.c = entry_of(i.c, local), step.d = entry_of(i.d, local);
    int bit = 0;
    for (int32_t word : {i.a, i.b, i.c, i.d}) {
      if (value(word).single) step.singles |= static_cast<uint8_t>(1 << bit);
      ++bit;
    }
    step.dst = dst;
    for (int32_t u = v + 1; u < static_cast<int32_t>(values_.size()) && step.dst2 < 0; ++u) {
      if (value(u).live && instr(u).op == Opcode::threefry_second && instr(u).a == v) {
        step.dst2 = entry_of(u, local);
      }
    }
    if (step.dst2 < 0) {
      const Entry::Area area = value(v).level == 0   ? Entry::Area::uniform
                               : value(v).level == 1 ? Entry::Area::group
                                                     : Entry::Area::tile;
      step.dst2 = new_entry(area, (step.single ? 1 : k_.width) * 4);
    }
    steps->push_back(step);
    return {};
  }
  TRY(Step step, compute_step(v, steps, local));
  step.dst = dst;
  steps->push_back(step);
  return {};
}

Status Compiler::fixed_values() {
  k_.stages.resize(static_cast<size_t>(stage_count_));
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    Value& x = value(v);
    if (!x.live || x.level == 2) continue;
    const ScalarInstr& i = instr(v);
    const int64_t bytes = (x.single ? 1 : k_.width) * size_of(v);
    x.entry = new_entry(x.level == 0 ? Entry::Area::uniform : Entry::Area::group, bytes);
    if (i.op == Opcode::constant) k_.constants.emplace_back(x.entry, i.imm);
  }
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    const Value& x = value(v);
    if (!x.live || x.level == 2 || instr(v).op == Opcode::constant || is_reduce(instr(v))) continue;
    std::vector<Step>* steps = x.level == 0 ? &k_.uniform_steps
                                            : &k_.stages[static_cast<size_t>(x.stage)].group_steps;
    CHECK_OK(make_step(v, steps, nullptr));
  }
  return {};
}

// Which element values a stage computes: what its reductions, its outputs and later stages need.
void Compiler::collect(int s, Local* local) {
  std::vector<bool> needed(values_.size(), false);
  auto need = [&](int32_t v) {
    if (v >= 0 && value(v).level == 2) needed[static_cast<size_t>(v)] = true;
  };
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    const Value& x = value(v);
    if (!x.live) continue;
    if (is_reduce(instr(v)) && x.stage == s + 1) need(instr(v).a);
    if (row_buffer_[static_cast<size_t>(v)] >= 0 && x.stage == s) need(v);
  }
  for (int32_t v : part_value_) {
    if (value(v).stage == s) need(v);
  }
  for (int32_t v = static_cast<int32_t>(values_.size()) - 1; v >= 0; --v) {
    if (!needed[static_cast<size_t>(v)]) continue;
    const bool kept = row_buffer_[static_cast<size_t>(v)] >= 0 && value(v).stage < s;
    if (kept) continue;
    for (int32_t operand : {instr(v).a, instr(v).b, instr(v).c, instr(v).d}) need(operand);
  }
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    if (needed[static_cast<size_t>(v)]) local->order.push_back(v);
  }
  local->entry.assign(values_.size(), -1);
  local->last_use.assign(values_.size(), -1);
  for (size_t at = 0; at < local->order.size(); ++at) {
    const ScalarInstr& i = instr(local->order[at]);
    const bool kept = row_buffer_[static_cast<size_t>(local->order[at])] >= 0 &&
                      value(local->order[at]).stage < s;
    for (int32_t operand : {i.a, i.b, i.c, i.d}) {
      if (operand >= 0 && !kept) local->last_use[static_cast<size_t>(operand)] = static_cast<int32_t>(at);
    }
    // The second word of a threefry exists as soon as the first.
    if (i.op == Opcode::threefry_second) local->last_use[static_cast<size_t>(i.a)] = static_cast<int32_t>(at);
  }
  const int32_t end = static_cast<int32_t>(local->order.size());
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    if (value(v).live && is_reduce(instr(v)) && value(v).stage == s + 1) {
      local->last_use[static_cast<size_t>(instr(v).a)] = end;
    }
  }
  for (size_t p = 0; p < part_value_.size(); ++p) {
    if (value(part_value_[p]).stage == s) local->last_use[static_cast<size_t>(part_value_[p])] = end;
  }
}

// Lets values be computed straight into an output, unless a later step still reads an input that
// the output may be overwriting.
void Compiler::place_outputs(int s, Local* local) {
  Stage& stage = k_.stages[static_cast<size_t>(s)];
  std::vector<int32_t> position(values_.size(), -1);
  for (size_t at = 0; at < local->order.size(); ++at) {
    position[static_cast<size_t>(local->order[at])] = static_cast<int32_t>(at);
  }
  for (size_t p = 0; p < k_.parts.size(); ++p) {
    const int32_t v = part_value_[p];
    const Value& x = value(v);
    if (x.level != 2 || x.stage != s || x.single || local->entry[static_cast<size_t>(v)] >= 0) continue;
    if (row_buffer_[static_cast<size_t>(v)] >= 0 || !dense_in_tile(k_.parts[p].strides)) continue;
    if (instr(v).op == Opcode::load && panel_helps(f_.accesses[instr(v).imm])) continue;
    bool hazard = false;
    for (int32_t u : local->order) {
      if (instr(u).op != Opcode::load) continue;
      const Access& access = f_.accesses[instr(u).imm];
      const bool later = local->last_use[static_cast<size_t>(u)] > position[static_cast<size_t>(v)];
      if (access.kind == Access::Kind::memory && later &&
          k_.aliases[static_cast<size_t>(access.input)][static_cast<size_t>(k_.parts[p].output)]) {
        hazard = true;
      }
    }
    if (hazard) continue;
    const int32_t entry = new_entry(Entry::Area::bound, 0);
    local->entry[static_cast<size_t>(v)] = entry;
    stage.bindings.push_back({Binding::Kind::output, entry, static_cast<int32_t>(p), k_.parts[p].size});
    part_done_[p] = true;
  }
}

void Compiler::bind_row_buffers(int s, Local* local) {
  for (int32_t v : local->order) {
    const int64_t offset = row_buffer_[static_cast<size_t>(v)];
    if (offset < 0 || value(v).stage > s) continue;
    const int32_t entry = new_entry(Entry::Area::bound, 0);
    local->entry[static_cast<size_t>(v)] = entry;
    k_.stages[static_cast<size_t>(s)].bindings.push_back({Binding::Kind::row, entry, v, size_of(v), offset});
  }
}

int64_t Compiler::allocate(Local* local, int size) {
  for (size_t k = 0; k < local->free.size(); ++k) {
    if (local->free[k].second != size) continue;
    const int64_t offset = local->free[k].first;
    local->free.erase(local->free.begin() + static_cast<int64_t>(k));
    return offset;
  }
  k_.tile_bytes = (k_.tile_bytes + 63) / 64 * 64;
  return take(&k_.tile_bytes, k_.width * size);
}

Status Compiler::schedule(int s, Local* local) {
  Stage& stage = k_.stages[static_cast<size_t>(s)];
  std::vector<int64_t> slot(values_.size(), -1);
  auto release = [&](int32_t v, int32_t at, int same_size) {
    if (v < 0 || slot[static_cast<size_t>(v)] < 0) return;
    if (local->last_use[static_cast<size_t>(v)] != at) return;
    if (same_size && size_of(v) != same_size) return;
    local->free.emplace_back(slot[static_cast<size_t>(v)], size_of(v));
    slot[static_cast<size_t>(v)] = -1;
  };
  auto give_slot = [&](int32_t v) {
    if (local->entry[static_cast<size_t>(v)] >= 0) return;
    if (value(v).single) {
      local->entry[static_cast<size_t>(v)] = new_entry(Entry::Area::tile, 8);
      return;
    }
    slot[static_cast<size_t>(v)] = allocate(local, size_of(v));
    k_.entries.push_back({Entry::Area::tile, slot[static_cast<size_t>(v)]});
    local->entry[static_cast<size_t>(v)] = static_cast<int32_t>(k_.entries.size() - 1);
  };
  for (int32_t at = 0; at < static_cast<int32_t>(local->order.size()); ++at) {
    const int32_t v = local->order[static_cast<size_t>(at)];
    const ScalarInstr& i = instr(v);
    if (row_buffer_[static_cast<size_t>(v)] >= 0 && value(v).stage < s) continue;
    if (i.op == Opcode::load) {
      const Access& access = f_.accesses[i.imm];
      const bool plain = access.kind == Access::Kind::memory && access.bounds.empty();
      if (plain && local->entry[static_cast<size_t>(v)] < 0 &&
          (value(v).single || dense_in_tile(access.strides))) {
        const int32_t entry = new_entry(Entry::Area::bound, 0);
        local->entry[static_cast<size_t>(v)] = entry;
        stage.bindings.push_back({Binding::Kind::input, entry, static_cast<int32_t>(i.imm), size_of(v)});
        continue;
      }
      if (plain && local->entry[static_cast<size_t>(v)] < 0 && panel_helps(access)) {
        const int32_t entry = new_entry(Entry::Area::bound, 0);
        local->entry[static_cast<size_t>(v)] = entry;
        k_.tile_bytes = (k_.tile_bytes + 63) / 64 * 64;
        const int64_t offset = take(&k_.tile_bytes, kPanel * panel_pitch(k_.red_count) * size_of(v));
        k_.panels.push_back({Binding::Kind::panel, entry, static_cast<int32_t>(i.imm), size_of(v), offset});
        stage.bindings.push_back(k_.panels.back());
        continue;
      }
    }
    // In place where the sizes agree.
    if (i.op != Opcode::threefry) {
      for (int32_t operand : {i.a, i.b, i.c}) release(operand, at, size_of(v));
    }
    give_slot(v);
    if (i.op == Opcode::threefry) {
      for (int32_t u : local->order) {
        if (instr(u).op == Opcode::threefry_second && instr(u).a == v) give_slot(u);
      }
    }
    CHECK_OK(make_step(v, &stage.steps, &local->entry));
    for (int32_t operand : {i.a, i.b, i.c, i.d}) release(operand, at, 0);
  }
  for (size_t p = 0; p < k_.parts.size(); ++p) {
    const int32_t v = part_value_[p];
    if (value(v).level != 2 || value(v).stage != s || part_done_[p]) continue;
    Step step;
    step.kind = Step::Kind::store;
    step.single = value(v).single;
    step.size = k_.parts[p].size;
    step.a = entry_of(v, &local->entry);
    step.access = static_cast<int32_t>(p);
    stage.steps.push_back(step);
  }
  return {};
}

Status Compiler::reductions(int s, Local* local) {
  static constexpr Opcode kCombine[] = {Opcode::add, Opcode::mul, Opcode::max, Opcode::min,
                                        Opcode::and_, Opcode::or_, Opcode::xor_};
  const bool row = k_.red_end == static_cast<int>(f_.dims.size());
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    const ScalarInstr& i = instr(v);
    if (!value(v).live || !is_reduce(i) || value(v).stage != s + 1) continue;
    Reduction r;
    r.operand = entry_of(i.a, &local->entry);
    r.init = value(i.b).entry;
    r.result = value(v).entry;
    r.operand_single = value(i.a).single;
    r.size = size_of(v);
    r.fold = k_.table->find(i.op, i.type, i.type, 0);
    const Opcode combine = kCombine[static_cast<int>(i.op) - static_cast<int>(Opcode::reduce_add)];
    r.combine = k_.table->find(combine, i.type, i.type, 0);
    if (!r.fold || !r.combine || r.init < 0) {
      return unimplemented(str("no vector loop for ", kernels::name(i.op), " of ", ir::name(i.type)));
    }
    if (!value(i.b).single) return unimplemented("a reduction whose initial value is not one value");
    const int64_t bytes = (row ? 1 : k_.width) * r.size;
    k_.tile_bytes = (k_.tile_bytes + 63) / 64 * 64;
    r.inner = take(&k_.tile_bytes, bytes);
    r.outer = take(&k_.tile_bytes, bytes);
    r.spread = take(&k_.tile_bytes, k_.width * r.size);
    r.partial = take(&k_.partial_bytes, bytes);
    k_.stages[static_cast<size_t>(s)].reductions.push_back(r);
  }
  return {};
}

Status Compiler::build_stage(int s) {
  Local local;
  collect(s, &local);
  bind_row_buffers(s, &local);
  place_outputs(s, &local);
  CHECK_OK(schedule(s, &local));
  return reductions(s, &local);
}

void Compiler::finish_group() {
  for (size_t p = 0; p < k_.parts.size(); ++p) {
    const int32_t v = part_value_[p];
    if (value(v).level == 2) continue;
    Step step;
    step.kind = Step::Kind::store;
    step.single = value(v).single;
    step.size = k_.parts[p].size;
    step.a = value(v).entry;
    step.access = static_cast<int32_t>(p);
    // A value of the group under an output of every element is stored tile by tile.
    const auto& strides = k_.parts[p].strides;
    bool spread = false;
    for (int a = k_.red_begin; a < k_.red_end; ++a) {
      spread |= strides[static_cast<size_t>(a)] != 0 && f_.dims[static_cast<size_t>(a)] > 1;
    }
    if (spread) k_.stages[static_cast<size_t>(value(v).stage)].steps.push_back(step);
    else k_.final_steps.push_back(step);
  }
}

Status Compiler::compile() {
  if (f_.dims.size() > 60) return unimplemented("more than 60 axes");
  k_.accesses = f_.accesses;
  choose_axes();
  mark_live();
  analyse();
  add_parts();
  find_aliases();
  CHECK_OK(fixed_values());
  row_buffer_.assign(values_.size(), -1);
  const bool row = k_.red_end == static_cast<int>(f_.dims.size());
  if (stage_count_ > 1 && row) {
    for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
      const ScalarInstr& i = instr(v);
      for (int32_t u : {i.a, i.b, i.c, i.d}) {
        if (u < 0 || !value(v).live || value(u).level != 2 || instr(u).op == Opcode::load) continue;
        const int used = value(v).stage - (is_reduce(i) ? 1 : 0);
        if (used == value(u).stage || row_buffer_[static_cast<size_t>(u)] >= 0) continue;
        if (value(u).single || k_.red_count * size_of(u) > kRowBuffer) continue;
        k_.tile_bytes = (k_.tile_bytes + 63) / 64 * 64;
        row_buffer_[static_cast<size_t>(u)] = take(&k_.tile_bytes, k_.red_count * size_of(u));
      }
    }
  }
  for (int s = 0; s < stage_count_; ++s) CHECK_OK(build_stage(s));
  finish_group();
  const int64_t positions = static_cast<int64_t>(kSegmentCost / k_.element_cost / static_cast<double>(k_.chunk));
  k_.segment = std::max<int64_t>(1, positions / std::max<int64_t>(1, k_.rows)) * k_.rows;
  // Kept rows belong to one thread.
  for (int64_t offset : row_buffer_) {
    if (offset >= 0) k_.segment = std::max(k_.segment, k_.red_count);
  }
  return {};
}

}  // namespace

Result<TileKernel> compile_tile(const Fusion& fusion, const VecTable* table) {
  auto impl = std::make_shared<TileKernel::Impl>();
  CHECK_OK(Compiler(fusion, table ? *table : vec_table(), impl.get()).compile());
  return TileKernel(std::move(impl));
}

}  // namespace jaxmps::cpu
