// Fusions by stages: nests whose results are reduced, as in a tile kernel that holds a row, or the
// rows of columns, in one tile.
#include "kernels/llvm/fusion_text.h"

#include <algorithm>
#include <numeric>

#include "fusion/schedule.h"
#include "kernels/llvm/nest_text.h"

namespace jaxmps::kernels {
namespace {

constexpr int64_t kLargestTile = 2048;  // elements

size_t at(int64_t i) { return static_cast<size_t>(i); }

// One reduction with where its values and its result are kept.
struct Reduction {
  int32_t instr;
  int stage;
  std::string values, result;  // addresses
};

class Stages {
 public:
  explicit Stages(const Fusion& f) : f_(f) {
    const FusionSchedule schedule(f);
    rows_ = schedule.length();
    for (const int32_t v : schedule.live()) {
      if (is_reduction(f.program.instrs[at(v)].op))
        reductions_.push_back({v, schedule[v].stage - 1, {}, {}});
    }
    std::stable_sort(reductions_.begin(), reductions_.end(),
                     [](const Reduction& a, const Reduction& b) { return a.stage < b.stage; });
    for (size_t a = at(f.reduced_end); a < f.dims.size(); ++a) chunk_ *= f.dims[a];
  }

  bool has_text() const {
    if (rows_ * chunk_ > kLargestTile) return false;
    for (const FusionOutput& o : f_.outputs) {
      if (o.value.im >= 0) return false;
    }
    for (int stage = 0; stage <= last_stage(); ++stage) {
      for (const bool whole : {true, false}) {
        if (!can_print_nest(nest(stage, whole), at(f_.reduced_begin))) return false;
      }
    }
    return true;
  }

  void print(LlvmText* text, std::string* to, std::vector<std::string> inputs,
             const std::vector<std::string>& outputs, int cut);

 private:
  int last_stage() const { return reductions_.empty() ? 0 : reductions_.back().stage + 1; }
  bool is_per_row(const FusionOutput& o) const {
    for (int a = f_.reduced_begin; a < f_.reduced_end; ++a) {
      if (o.strides[at(a)] != 0 && f_.dims[at(a)] > 1) return false;
    }
    return true;
  }
  std::vector<int64_t> tile_strides(bool with_rows) const;
  Fusion nest(int stage, bool whole) const;
  Fusion finish(const Reduction& r, size_t total) const;
  void load_results(Fusion* f, int stage) const;
  void fold(LlvmText* text, std::string* to, const Reduction& r) const;
  void combine(LlvmText* text, std::string* to, const Reduction& r, int64_t count,
               const std::string& target, const std::string& source, int64_t distance) const;

  const Fusion& f_;
  std::vector<Reduction> reductions_;
  int64_t rows_ = 1, chunk_ = 1;
};

// Of a buffer of the tile, or of one value per column.
std::vector<int64_t> Stages::tile_strides(bool with_rows) const {
  std::vector<int64_t> strides(f_.dims.size(), 0);
  int64_t stride = 1;
  for (int a = static_cast<int>(f_.dims.size()) - 1; a >= f_.reduced_begin; --a) {
    if (a < f_.reduced_end && !with_rows) break;
    strides[at(a)] = stride;
    stride *= f_.dims[at(a)];
  }
  return strides;
}

// What earlier stages have left is loaded: results behind the inputs, then the reduced values.
void Stages::load_results(Fusion* f, int stage) const {
  for (const Reduction& r : reductions_) {
    const DType type = f_.program.instrs[at(r.instr)].type;
    auto load = [&](int32_t v, bool with_rows) {
      Access access{{0, tile_strides(with_rows)},
                    Access::Kind::memory,
                    type,
                    static_cast<int>(f->inputs.size()),
                    {}};
      f->inputs.push_back(f_.outputs[0].type);  // only its number is looked at
      f->program.instrs[at(v)] = {Opcode::load, type, -1, -1, -1, -1, f->accesses.size()};
      f->accesses.push_back(std::move(access));
    };
    if (r.stage < stage) {
      load(r.instr, false);
    } else {
      // Nothing of this stage reads it.
      f->program.instrs[at(r.instr)] = {Opcode::constant, type, -1, -1, -1, -1, 0};
    }
  }
}

// The nest that computes the values which a stage reduces, or after the last one the results: those
// of the whole tile, or those per row or column.
Fusion Stages::nest(int stage, bool whole) const {
  Fusion f = f_;
  load_results(&f, stage);
  f.kind = Fusion::Kind::loop;
  f.outputs.clear();
  if (stage < last_stage()) {
    for (const Reduction& r : reductions_) {
      if (r.stage != stage || !whole) continue;
      const ScalarInstr& i = f_.program.instrs[at(r.instr)];
      f.outputs.push_back({{0, tile_strides(true)}, f_.outputs[0].type, {i.type, i.a, -1}});
    }
  } else {
    for (const FusionOutput& o : f_.outputs) {
      if (is_per_row(o) != whole) f.outputs.push_back(o);
    }
  }
  for (int a = f.reduced_begin; a < f.reduced_end && !whole; ++a) f.dims[at(a)] = 1;
  f.reduced_begin = f.reduced_end = static_cast<int>(f.dims.size());
  return f;
}

// The initial value with the total, which is the input behind all others.
Fusion Stages::finish(const Reduction& r, size_t total) const {
  Fusion f = f_;
  load_results(&f, r.stage);
  const ScalarInstr& i = f_.program.instrs[at(r.instr)];
  f.kind = Fusion::Kind::loop;
  f.inputs.resize(total + 1, f_.outputs[0].type);
  auto& instrs = f.program.instrs;
  instrs.push_back({Opcode::load, i.type, -1, -1, -1, -1, f.accesses.size()});
  f.accesses.push_back(
      {{0, tile_strides(false)}, Access::Kind::memory, i.type, static_cast<int>(total), {}});
  instrs.push_back({combining(i.op), i.type, i.b, static_cast<int32_t>(instrs.size()) - 1});
  const auto value = static_cast<int32_t>(instrs.size()) - 1;
  f.outputs.assign(1, {{0, tile_strides(false)}, f_.outputs[0].type, {i.type, value, -1}});
  for (int a = f.reduced_begin; a < f.reduced_end; ++a) f.dims[at(a)] = 1;
  f.reduced_begin = f.reduced_end = static_cast<int>(f.dims.size());
  return f;
}

// target[k] = target[k] with source[k + distance], for k below count.
void Stages::combine(LlvmText* text, std::string* to, const Reduction& r, int64_t count,
                     const std::string& target, const std::string& source, int64_t distance) const {
  if (count <= 0) return;
  const ScalarInstr& i = f_.program.instrs[at(r.instr)];
  const char* t = llvm_type(i.type);
  const LlvmText::Independent trips = text->independent();
  const LlvmText::Loop loop = text->loop(0, count, trips.branch);
  *to += loop.head;
  auto place = [&](const std::string& base, int64_t offset) {
    const std::string first =
        text->emit(to, str("getelementptr ", t, ", ptr ", base, ", i64 ", loop.index));
    return offset == 0
               ? first
               : text->emit(to, str("getelementptr ", t, ", ptr ", first, ", i64 ", offset));
  };
  auto load = [&](const std::string& from) {
    return text->emit(
        to, str("load ", t, ", ptr ", from, ", align ", ir::byte_size(i.type), trips.access));
  };
  const std::string own = place(target, 0), a = load(own), b = load(place(source, distance));
  const std::string value =
      text->instruction(to, {combining(i.op), i.type}, i.type, {a, b, {}, {}});
  *to += str("  store ", t, ' ', value, ", ptr ", own, ", align ", ir::byte_size(i.type),
             trips.access, '\n', loop.tail);
}

// As reduce_loop and fold_rows do (cpu/vec_impl.h, cpu/tile_run.cc), in the memory of the values.
void Stages::fold(LlvmText* text, std::string* to, const Reduction& r) const {
  const bool is_row = f_.reduced_end == static_cast<int>(f_.dims.size());
  const int64_t size = ir::byte_size(f_.program.instrs[at(r.instr)].type);
  const int64_t lanes = size >= 4 ? 256 / size : 64;
  int64_t live = rows_;
  if (is_row && live >= lanes) {
    for (int64_t from = lanes; from < rows_; from += lanes) {
      combine(text, to, r, std::min(lanes, rows_ - from), r.values, r.values, from);
    }
    live = lanes;
  }
  while (live > 1) {
    const int64_t half = (live + 1) / 2;
    combine(text, to, r, (live - half) * chunk_, r.values, r.values, half * chunk_);
    live = half;
  }
}

void Stages::print(LlvmText* text, std::string* to, std::vector<std::string> inputs,
                   const std::vector<std::string>& outputs, int cut) {
  for (size_t k = 0; k < reductions_.size(); ++k) {
    Reduction& r = reductions_[k];
    const int64_t size = ir::byte_size(f_.program.instrs[at(r.instr)].type);
    r.values = text->scratch(2 * k, rows_ * chunk_ * size);
    r.result = text->scratch(2 * k + 1, chunk_ * size);
  }
  std::vector<std::string> given, tails;
  for (int a = 0; a < f_.reduced_begin; ++a) {
    const int64_t extent = f_.dims[at(a)];
    const LlvmText::Loop loop = a == cut ? text->part(0, extent) : text->loop(0, extent);
    *to += loop.head;
    given.push_back(loop.index);
    tails.push_back(loop.tail);
  }
  for (int stage = 0; stage <= last_stage(); ++stage) {
    std::vector<std::string> values;
    for (const Reduction& r : reductions_) {
      if (r.stage == stage) values.push_back(r.values);
    }
    if (stage < last_stage()) {
      print_nest(text, to, nest(stage, true), inputs, values, given);
      const size_t before = inputs.size();
      for (const Reduction& r : reductions_) {
        if (r.stage != stage) continue;
        fold(text, to, r);
        std::vector<std::string> with_total(inputs.begin(),
                                            inputs.begin() + static_cast<int64_t>(before));
        with_total.push_back(r.values);
        print_nest(text, to, finish(r, before), with_total, {r.result}, given);
        inputs.push_back(r.result);
      }
      continue;
    }
    for (const bool whole : {true, false}) {
      std::vector<std::string> targets;
      for (size_t k = 0; k < f_.outputs.size(); ++k) {
        if (is_per_row(f_.outputs[k]) != whole) targets.push_back(outputs[k]);
      }
      if (!targets.empty()) print_nest(text, to, nest(stage, whole), inputs, targets, given);
    }
  }
  for (; !tails.empty(); tails.pop_back()) *to += tails.back();
}

// Longer rows are vectors themselves; of columns those side by side are one.
bool is_written_out(const Fusion& fusion) {
  constexpr int64_t kShortRow = 16;
  int64_t rows = 1;
  for (int a = fusion.reduced_begin; a < fusion.reduced_end; ++a) rows *= fusion.dims[at(a)];
  if (fusion.kind == Fusion::Kind::row && rows > kShortRow) return false;
  return fusion.kind == Fusion::Kind::loop || can_print_nest(fusion, 0);
}

void print(LlvmText* text, std::string* to, const Fusion& fusion,
           const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
           int cut) {
  if (is_written_out(fusion)) return print_nest(text, to, fusion, inputs, outputs, {}, cut);
  if (fusion.size() > 0) Stages(fusion).print(text, to, inputs, outputs, cut);
}

}  // namespace

bool can_print(const Fusion& fusion) {
  for (int a = fusion.reduced_begin; a < fusion.reduced_end; ++a) {
    if (fusion.dims[at(a)] == 0) return false;
  }
  return is_written_out(fusion) ? can_print_nest(fusion, 0) : Stages(fusion).has_text();
}

void print_fusion(LlvmText* text, std::string* to, const Fusion& fusion,
                  const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
  print(text, to, fusion, inputs, outputs, -1);
}

LlvmKernel print_kernel(const Fusion& fusion, const std::vector<bool>& kept) {
  LlvmText text;
  std::string entry, body;
  auto buffers = [&](const char* table, size_t count) {
    std::vector<std::string> names;
    for (size_t k = 0; k < count; ++k) {
      const std::string place =
          text.emit(&entry, str("getelementptr ptr, ptr %", table, ", i64 ", k));
      names.push_back(text.emit(&entry, str("load ptr, ptr ", place, ", align 8")));
    }
    return names;
  };
  const auto inputs = buffers("in", fusion.inputs.size());
  const auto outputs = buffers("out", fusion.outputs.size());
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (kept[k]) text.keep(inputs[k]);
  }
  std::vector<int> outer(static_cast<size_t>(fusion.reduced_begin));
  std::iota(outer.begin(), outer.end(), 0);
  const int cut = is_written_out(fusion) ? axis_to_cut(fusion) : longest_axis(fusion, outer);
  print(&text, &body, fusion, inputs, outputs, cut);
  std::string all = text.declarations();
  all += str("define void @", LlvmKernel::kName,
             "(ptr noalias %in, ptr noalias %out, i64 %begin, i64 %end) ", llvm_attributes(),
             " {\n", text.scratch_memory(), entry, body, "  ret void\n}\n");
  return {{std::move(all), LlvmKernel::kName, text.symbols()}, cut < 0 ? 1 : fusion.dims[at(cut)]};
}

}  // namespace jaxmps::kernels
