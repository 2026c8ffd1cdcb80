#include <algorithm>

#include "fusion/write_out.h"
#include "kernels/cpu/tile_compiler.h"

namespace jaxmps::cpu {

namespace {

constexpr int64_t kRowBuffer = 1 << 18;  // bytes of a row kept between stages
constexpr double kSegmentCost = 60e3;    // nanoseconds of one unit of parallel work

// Nanoseconds per element, by the width of a 512-bit machine; only ratios matter.
double op_cost(const ScalarInstr& instr) {
  if (instr.op == Opcode::load && instr.a >= 0) return 0.5;  // one by one, at worst
  if (instr.op == Opcode::threefry) return 2;
  const double scale = ir::byte_size(instr.type) / 4.0, cost = kernels::info(instr.op).cost;
  // Functions of float64 go through the C library.
  const bool called = instr.type == DType::f64 && cost >= kernels::kExpensive;
  return (called ? std::max(cost, 6.0) : cost) * scale;
}

}  // namespace

void TileCompiler::analyse() {
  static_cast<kernels::Tiling&>(k_) = schedule_.tiling();
  uint64_t in_tile = 0;
  for (size_t a = static_cast<size_t>(k_.tile_begin); a < f_.dims.size(); ++a) in_tile |= 1ull << a;
  for (int32_t v = 0; v < schedule_.size(); ++v) {
    TileValue& x = value(v);
    static_cast<kernels::ScheduledValue&>(x) = schedule_[v];
    x.single = (x.axes & in_tile) == 0;
    k_.element_cost += x.live && x.is_element() ? op_cost(instr(v)) : 0;
  }
  k_.element_cost = std::max(k_.element_cost, 0.1);
}

// Additions whose operand is a product that nothing else reads: one loop less over the tile.
void TileCompiler::find_multiply_adds() {
  std::vector<int> uses(values_.size(), 0);
  const auto count = static_cast<int32_t>(values_.size());
  auto use = [&](int32_t v) {
    if (v >= 0) ++uses[static_cast<size_t>(v)];
  };
  for (int32_t v = 0; v < count; ++v) {
    if (!value(v).live) continue;
    for (int32_t operand : instr(v).operands()) use(operand);
  }
  for (const FusionOutput& o : f_.outputs) {
    use(o.value.re);
    use(o.value.im);
  }
  for (int32_t v = 0; v < count; ++v) {
    const ScalarInstr& i = instr(v);
    TileValue& x = value(v);
    if (!x.live || !x.is_element() || x.single || i.op != Opcode::add) continue;
    if (!k_.table->find_multiply_add(i.type, 0)) continue;
    for (int32_t product : {i.a, i.b}) {
      const TileValue& m = value(product);
      if (instr(product).op != Opcode::mul || !m.is_element() || m.single || m.stage != x.stage ||
          uses[static_cast<size_t>(product)] != 1) {
        continue;
      }
      x.product = product;
      break;
    }
  }
}

std::array<int32_t, 4> TileCompiler::operands(int32_t v) const {
  const ScalarInstr& i = instr(v);
  const int32_t product = value(v).product;
  if (product < 0) return i.operands();
  // The loop takes the first factor as a vector only.
  int32_t a = instr(product).a, b = instr(product).b;
  if (value(a).single) std::swap(a, b);
  return {a, b, i.a == product ? i.b : i.a, -1};
}

// Values that are one per group and follow from the outer axes alone.
void TileCompiler::choose_batch() {
  if (k_.red_begin == 0 || k_.outer_count < 2) return;
  std::vector<bool> read(values_.size(), false);
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    TileValue& x = value(v);
    const ScalarInstr& i = instr(v);
    if (!x.live) continue;
    x.batched = x.level == TileValue::Level::group && x.single && !is_reduce(i) &&
                i.op != Opcode::threefry && i.op != Opcode::threefry_second;
    for (int32_t operand : i.operands()) {
      if (operand >= 0)
        x.batched &= value(operand).level == TileValue::Level::uniform || value(operand).batched;
    }
    for (int32_t operand : i.operands()) {
      if (operand >= 0 && !x.batched) read[static_cast<size_t>(operand)] = true;
    }
  }
  for (const OutputPart& part : k_.parts) read[static_cast<size_t>(part.value)] = true;
  for (size_t v = 0; v < values_.size(); ++v) values_[v].is_read = read[v];
}

void TileCompiler::add_parts() {
  for (const kernels::OutputPart& part : schedule_.parts()) {
    k_.parts.push_back({part, size_of(part.value)});
    k_.parts.back().output %= static_cast<int>(outputs_);
    part_done_.push_back(false);
  }
}

// An output may overwrite an input that is read at the same element only, and not in a later stage.
void TileCompiler::find_aliases() {
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
    const TileValue& x = value(f_.outputs[o].value.re);
    written[o] = x.is_element() ? x.stage : schedule_.stages();
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
      const bool same = instr(v).a < 0 && access.bounds.empty() && access.strides == out.strides &&
                        access.offset / parts * parts == out.offset &&
                        parts == (ir::is_complex(out.type.dtype) ? 2 : 1);
      // Loads may be repeated by any later stage, so only the last stage may overwrite; and the two
      // halves of a complex number are not written at once.
      // What is stored as it was loaded is read where it lies, perhaps after another output is
      // stored.
      const bool stored_by_another =
          std::any_of(f_.outputs.begin(), f_.outputs.end(), [&](const FusionOutput& other) {
            return &other != &out && (other.value.re == v || other.value.im == v);
          });
      if (!same || parts == 2 || stored_by_another || written[o] + 1 < schedule_.stages()) {
        k_.aliases[i][o] = false;
      }
    }
  }
}

bool TileCompiler::dense_in_tile(const std::vector<int64_t>& strides) const {
  int64_t expected = 1;
  for (int a = static_cast<int>(f_.dims.size()) - 1; a >= k_.tile_begin; --a) {
    if (strides[static_cast<size_t>(a)] != expected) return false;
    expected *= f_.dims[static_cast<size_t>(a)];
  }
  return true;
}

// Whether reading kPanel neighbouring groups at once turns scattered reads into whole cache lines.
bool TileCompiler::panel_helps(const ScalarInstr& load) const {
  if (load.a >= 0) return false;
  const Access& access = f_.accesses[load.imm];
  constexpr int64_t kLongest = 1 << 13;
  const size_t rank = f_.dims.size();
  if (k_.has_reductions || rank < 2 || k_.red_begin + 1 != static_cast<int>(rank)) return false;
  return access.strides[rank - 2] == 1 && f_.dims[rank - 2] >= kPanel &&
         access.strides[rank - 1] >= kPanel && k_.red_count <= kLongest;
}

int64_t TileCompiler::take(int64_t* area, int64_t bytes) {
  const int64_t at = *area;
  *area += (bytes + 63) / 64 * 64;
  return at;
}

int32_t TileCompiler::new_entry(Entry::Area area, int64_t bytes) {
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

int32_t TileCompiler::entry_of(int32_t v, const std::vector<int32_t>* local) {
  if (v < 0) return -1;
  if (local && (*local)[static_cast<size_t>(v)] >= 0) return (*local)[static_cast<size_t>(v)];
  return value(v).entry;
}

// The loop for an instruction; operands that the loop takes only as vectors are spread first.
Result<Step> TileCompiler::compute_step(int32_t v, std::vector<Step>* steps,
                                        const std::vector<int32_t>* local) {
  const ScalarInstr& i = instr(v);
  const TileValue& x = value(v);
  Step step;
  step.single = x.single && !x.batched;
  step.imm = i.imm;
  auto is_single = [&](int32_t u) { return value(u).single && !(x.batched && value(u).batched); };
  const auto [a, b, c, d] = operands(v);
  step.a = entry_of(a, local);
  step.b = entry_of(b, local);
  step.c = entry_of(c, local);
  const bool narrow = i.op == Opcode::encode || i.op == Opcode::decode || i.op == Opcode::round_to;
  const DType from = narrow ? static_cast<DType>(i.imm) : instr(i.a).type;
  int form = 0;
  if (!step.single) {
    if (is_single(a)) form |= kScalarA;
    if (b >= 0 && is_single(b)) form |= kScalarB;
    if (c >= 0 && is_single(c)) form |= kScalarC;
  }
  if (x.product >= 0) {
    step.fn = k_.table->find_multiply_add(i.type, form);
    return step;
  }
  step.fn = k_.table->find(i.op, i.type, from, form);
  if (!step.fn && form) {
    for (int bit = 0; bit < 3; ++bit) {
      if (!(form & (1 << bit))) continue;
      const int32_t operand = bit == 0 ? i.a : bit == 1 ? i.b : i.c;
      int32_t* slot = bit == 0 ? &step.a : bit == 1 ? &step.b : &step.c;
      const uint8_t size = size_of(operand);
      Step spread;
      spread.fn = k_.table->find_spread(size);
      spread.a = *slot;
      spread.dst = *slot = new_entry(local ? Entry::Area::tile : Entry::Area::group,
                                     (x.batched ? kBatch : k_.width) * size);
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

// With `is_batched`, for a load that is batched itself.
Shift TileCompiler::shift_of(const ScalarInstr& load, const std::vector<int32_t>* local,
                             bool is_batched) {
  if (load.a < 0) return {};
  const TileValue& by = value(load.a);
  const size_t end = is_batched ? static_cast<size_t>(k_.red_begin) : f_.dims.size();
  const uint64_t last = end == 0 ? 0 : 1ull << (end - 1);
  return {entry_of(load.a, local), instr(load.a).type == DType::s64,
          by.single && !(is_batched && by.batched), (by.axes & last) == 0,
          by.batched && !is_batched};
}

// Appends the step that computes v into its entry.
Status TileCompiler::make_step(int32_t v, std::vector<Step>* steps,
                               const std::vector<int32_t>* local) {
  const ScalarInstr& i = instr(v);
  const int32_t dst = entry_of(v, local);
  if (i.op == Opcode::threefry_second) return {};
  if (i.op == Opcode::load) {
    Step step;
    step.kind = Step::Kind::load;
    step.single = value(v).single && !value(v).batched;
    step.size = size_of(v);
    step.dst = dst;
    step.access = static_cast<int32_t>(i.imm);
    step.shift = shift_of(i, local, value(v).batched);
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
      const Entry::Area area = value(v).level == TileValue::Level::uniform ? Entry::Area::uniform
                               : value(v).level == TileValue::Level::group ? Entry::Area::group
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

Status TileCompiler::fixed_values() {
  k_.stages.resize(static_cast<size_t>(schedule_.stages()));
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    TileValue& x = value(v);
    if (!x.live || x.is_element()) continue;
    const ScalarInstr& i = instr(v);
    const int64_t bytes = (x.batched ? kBatch : x.single ? 1 : k_.width) * size_of(v);
    x.entry = new_entry(
        x.level == TileValue::Level::uniform ? Entry::Area::uniform : Entry::Area::group, bytes);
    if (i.op == Opcode::constant) k_.constants.emplace_back(x.entry, i.imm);
    if (x.batched && x.is_read) k_.batched.push_back({x.entry, size_of(v)});
  }
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    const TileValue& x = value(v);
    if (!x.live || x.is_element() || instr(v).op == Opcode::constant || is_reduce(instr(v)))
      continue;
    std::vector<Step>* steps = x.level == TileValue::Level::uniform ? &k_.uniform_steps
                               : x.batched                          ? &k_.batch_steps
                                           : &k_.stages[static_cast<size_t>(x.stage)].group_steps;
    CHECK_OK(make_step(v, steps, nullptr));
  }
  return {};
}

void TileCompiler::finish_group() {
  for (size_t p = 0; p < k_.parts.size(); ++p) {
    const int32_t v = k_.parts[p].value;
    if (value(v).is_element()) continue;
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
    if (spread)
      k_.stages[static_cast<size_t>(value(v).stage)].steps.push_back(step);
    else
      k_.final_steps.push_back(step);
  }
}

// Where operands and results are more than the caches hold, and tiles are runs of them.
void TileCompiler::look_ahead() {
  constexpr int64_t kCache = 16 << 20;
  int64_t bytes = 0, ahead = 0, steps = 0;
  for (const ir::Type& type : f_.inputs) bytes += type.byte_count();
  for (const FusionOutput& o : f_.outputs) bytes += o.type.byte_count();
  if (bytes < kCache || k_.red_end < static_cast<int>(k_.dims.size())) return;
  const bool is_whole = k_.red_count <= k_.rows;
  for (Stage& stage : k_.stages) {
    steps += static_cast<int64_t>(stage.steps.size() + stage.reductions.size());
    for (Binding& b : stage.bindings) {
      const bool is_input = b.kind == Binding::Kind::input;
      if ((!is_input && b.kind != Binding::Kind::output) || b.shift.entry >= 0) continue;
      const auto at = static_cast<size_t>(b.index);
      const auto& strides = is_input ? k_.accesses[at].strides : k_.parts[at].strides;
      if (strides.empty() || strides.back() == 0 || (is_whole && k_.red_begin == 0)) continue;
      b.to_next = b.size * (is_whole ? strides[static_cast<size_t>(k_.red_begin) - 1] : k_.rows);
      if (b.to_next != 0) ahead += b.tile_bytes = b.size * std::min(k_.rows, k_.red_count);
    }
  }
  k_.ahead_by_step = ahead / std::max<int64_t>(1, steps);
}

void TileCompiler::place_bindings() {
  for (Stage& stage : k_.stages) {
    for (Binding& b : stage.bindings) {
      if (b.kind == Binding::Kind::input) {
        const Access& access = k_.accesses[static_cast<size_t>(b.index)];
        b.buffer = access.input;
        b.first = access.offset * b.size;
      } else if (b.kind == Binding::Kind::output) {
        const OutputPart& part = k_.parts[static_cast<size_t>(b.index)];
        b.buffer = part.output;
        b.first = part.offset * b.size;
      }
    }
  }
  look_ahead();
  k_.is_one_tile = k_.inner_count > 0 && k_.red_count > 0 && k_.red_count <= k_.rows &&
                   (k_.clip == 0 || k_.red_count <= k_.clip);
  k_.is_small = k_.is_one_tile && k_.groups() == 1 && k_.panels.empty();
}

Status TileCompiler::compile() {
  if (schedule_.has_totals()) return unimplemented("sums over all rows beside those of rows");
  for (const FusionOutput& o : f_.outputs) {
    if (o.updates >= 0) return unimplemented("an update in place");
  }
  k_.accesses = f_.accesses;
  analyse();
  find_multiply_adds();
  add_parts();
  choose_batch();
  if (k_.aliases.empty()) find_aliases();
  CHECK_OK(fixed_values());
  row_buffer_.assign(values_.size(), -1);
  const bool row = k_.red_end == static_cast<int>(f_.dims.size());
  if (schedule_.stages() > 1 && row) {
    for (int32_t v = 0; v < schedule_.size(); ++v) {
      if (!value(v).is_kept || value(v).single || is_cheap_load(v)) continue;
      if (k_.red_count * size_of(v) > kRowBuffer) continue;
      k_.tile_bytes = (k_.tile_bytes + 63) / 64 * 64;
      row_buffer_[static_cast<size_t>(v)] = take(&k_.tile_bytes, k_.red_count * size_of(v));
    }
  }
  for (int s = 0; s < schedule_.stages(); ++s) CHECK_OK(build_stage(s));
  finish_group();
  const int64_t positions =
      static_cast<int64_t>(kSegmentCost / k_.element_cost / static_cast<double>(k_.chunk));
  k_.segment = std::max<int64_t>(1, positions / std::max<int64_t>(1, k_.rows)) * k_.rows;
  // Kept rows belong to one thread.
  for (int64_t offset : row_buffer_) {
    if (offset >= 0) k_.segment = std::max(k_.segment, k_.red_count);
  }
  place_bindings();
  return {};
}

std::vector<std::vector<bool>> TileCompiler::aliases() {
  analyse();
  find_aliases();
  return std::move(k_.aliases);
}

Result<TileKernel> compile_tile(const Fusion& fusion, const VecTable* table) {
  const VecTable& loops = table ? *table : vec_table();
  const size_t outputs = fusion.outputs.size();
  auto impl = std::make_shared<TileKernel::Impl>();
  const auto written = kernels::write_out_short_axes(fusion);
  if (written) {
    // A tile reads all that lies side by side before it writes any of it, so this stays as it is.
    TileKernel::Impl whole;
    impl->aliases = TileCompiler(fusion, outputs, loops, &whole).aliases();
  }
  CHECK_OK(TileCompiler(written ? *written : fusion, outputs, loops, impl.get()).compile());
  return TileKernel(std::move(impl));
}

}  // namespace jaxmps::cpu
