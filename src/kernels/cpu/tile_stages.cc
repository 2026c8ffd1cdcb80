#include <algorithm>

#include "kernels/cpu/tile_compiler.h"

namespace jaxmps::cpu {

// Which element values a stage computes: what its reductions, its outputs and later stages need.
void TileCompiler::collect(int s, Local* local) {
  const std::vector<bool> needed = schedule_.elements_of(
      s, f_, [&](int32_t v) { return row_buffer_[static_cast<size_t>(v)] >= 0; },
      [&](int32_t v) { return operands(v); });
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    if (needed[static_cast<size_t>(v)]) local->order.push_back(v);
  }
  local->entry.assign(values_.size(), -1);
  local->last_use.assign(values_.size(), -1);
  for (size_t at = 0; at < local->order.size(); ++at) {
    const ScalarInstr& i = instr(local->order[at]);
    const bool kept = row_buffer_[static_cast<size_t>(local->order[at])] >= 0 &&
                      value(local->order[at]).stage < s;
    for (int32_t operand : operands(local->order[at])) {
      if (operand >= 0 && !kept)
        local->last_use[static_cast<size_t>(operand)] = static_cast<int32_t>(at);
    }
    // The second word of a threefry exists as soon as the first.
    if (i.op == Opcode::threefry_second)
      local->last_use[static_cast<size_t>(i.a)] = static_cast<int32_t>(at);
  }
  const int32_t end = static_cast<int32_t>(local->order.size());
  for (int32_t v = 0; v < static_cast<int32_t>(values_.size()); ++v) {
    if (value(v).live && is_reduce(instr(v)) && value(v).stage == s + 1) {
      local->last_use[static_cast<size_t>(instr(v).a)] = end;
    }
  }
  for (size_t p = 0; p < k_.parts.size(); ++p) {
    if (value(k_.parts[p].value).stage == s)
      local->last_use[static_cast<size_t>(k_.parts[p].value)] = end;
  }
}

// Lets values be computed straight into an output, unless a later step still reads an input that
// the output may be overwriting.
void TileCompiler::place_outputs(int s, Local* local) {
  Stage& stage = k_.stages[static_cast<size_t>(s)];
  std::vector<int32_t> position(values_.size(), -1);
  for (size_t at = 0; at < local->order.size(); ++at) {
    position[static_cast<size_t>(local->order[at])] = static_cast<int32_t>(at);
  }
  for (size_t p = 0; p < k_.parts.size(); ++p) {
    const int32_t v = k_.parts[p].value;
    const TileValue& x = value(v);
    if (!x.is_element() || x.stage != s || x.single || local->entry[static_cast<size_t>(v)] >= 0)
      continue;
    if (row_buffer_[static_cast<size_t>(v)] >= 0 || !dense_in_tile(k_.parts[p].strides)) continue;
    if (instr(v).op == Opcode::load && panel_helps(instr(v))) continue;
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
    stage.bindings.push_back(
        {Binding::Kind::output, entry, static_cast<int32_t>(p), k_.parts[p].size});
    part_done_[p] = true;
  }
}

void TileCompiler::bind_row_buffers(int s, Local* local) {
  for (int32_t v : local->order) {
    const int64_t offset = row_buffer_[static_cast<size_t>(v)];
    if (offset < 0 || value(v).stage > s) continue;
    const int32_t entry = new_entry(Entry::Area::bound, 0);
    local->entry[static_cast<size_t>(v)] = entry;
    k_.stages[static_cast<size_t>(s)].bindings.push_back(
        {Binding::Kind::row, entry, v, size_of(v), offset});
  }
}

int64_t TileCompiler::allocate(Local* local, int size) {
  for (size_t k = 0; k < local->free.size(); ++k) {
    if (local->free[k].second != size) continue;
    const int64_t offset = local->free[k].first;
    local->free.erase(local->free.begin() + static_cast<int64_t>(k));
    return offset;
  }
  k_.tile_bytes = (k_.tile_bytes + 63) / 64 * 64;
  return take(&k_.tile_bytes, k_.width * size);
}

void TileCompiler::give_slot(int32_t v, Local* local) {
  int32_t& entry = local->entry[static_cast<size_t>(v)];
  if (entry >= 0) return;
  if (value(v).single) {
    entry = new_entry(Entry::Area::tile, 8);
    return;
  }
  const int64_t offset = allocate(local, size_of(v));
  local->slot[static_cast<size_t>(v)] = offset;
  k_.entries.push_back({Entry::Area::tile, offset});
  entry = static_cast<int32_t>(k_.entries.size() - 1);
}

// Frees the slot of v if step `at` is its last use and, unless only_size is 0, that is its size.
void TileCompiler::release_slot(int32_t v, int32_t at, int only_size, Local* local) {
  if (v < 0 || local->slot[static_cast<size_t>(v)] < 0) return;
  if (local->last_use[static_cast<size_t>(v)] != at) return;
  if (only_size && size_of(v) != only_size) return;
  local->free.emplace_back(local->slot[static_cast<size_t>(v)], size_of(v));
  local->slot[static_cast<size_t>(v)] = -1;
}

// Lets a load be read where it is, or from a panel; false if it takes a step.
bool TileCompiler::bind_load(int s, int32_t v, Local* local) {
  const ScalarInstr& i = instr(v);
  if (i.op != Opcode::load || local->entry[static_cast<size_t>(v)] >= 0) return false;
  const Access& access = f_.accesses[i.imm];
  if (access.kind != Access::Kind::memory || !access.bounds.empty()) return false;
  Stage& stage = k_.stages[static_cast<size_t>(s)];
  // What says where to read must be there before the tile begins.
  const bool is_known = i.a < 0 || (!value(i.a).is_element() && value(i.a).single);
  if (is_known && (value(v).single || dense_in_tile(access.strides))) {
    const int32_t entry = new_entry(Entry::Area::bound, 0);
    local->entry[static_cast<size_t>(v)] = entry;
    Binding binding{Binding::Kind::input, entry, static_cast<int32_t>(i.imm), size_of(v)};
    binding.shift = shift_of(i, nullptr, false);
    stage.bindings.push_back(binding);
    return true;
  }
  if (!panel_helps(i)) return false;
  const int32_t entry = new_entry(Entry::Area::bound, 0);
  local->entry[static_cast<size_t>(v)] = entry;
  k_.tile_bytes = (k_.tile_bytes + 63) / 64 * 64;
  const int64_t offset = take(&k_.tile_bytes, kPanel * panel_pitch(k_.red_count) * size_of(v));
  k_.panels.push_back(
      {Binding::Kind::panel, entry, static_cast<int32_t>(i.imm), size_of(v), offset});
  stage.bindings.push_back(k_.panels.back());
  return true;
}

// Stores the outputs that were not computed in place.
void TileCompiler::store_parts(int s, Local* local) {
  for (size_t p = 0; p < k_.parts.size(); ++p) {
    const int32_t v = k_.parts[p].value;
    if (!value(v).is_element() || value(v).stage != s || part_done_[p]) continue;
    Step step;
    step.kind = Step::Kind::store;
    step.single = value(v).single;
    step.size = k_.parts[p].size;
    step.a = entry_of(v, &local->entry);
    step.access = static_cast<int32_t>(p);
    k_.stages[static_cast<size_t>(s)].steps.push_back(step);
  }
}

Status TileCompiler::schedule(int s, Local* local) {
  local->slot.assign(values_.size(), -1);
  for (int32_t at = 0; at < static_cast<int32_t>(local->order.size()); ++at) {
    const int32_t v = local->order[static_cast<size_t>(at)];
    const ScalarInstr& i = instr(v);
    if (row_buffer_[static_cast<size_t>(v)] >= 0 && value(v).stage < s) continue;
    if (bind_load(s, v, local)) continue;
    // In place where the sizes agree; a gather may read a number more than once.
    if (i.op != Opcode::threefry && i.op != Opcode::load) {
      for (int32_t operand : operands(v)) release_slot(operand, at, size_of(v), local);
    }
    give_slot(v, local);
    if (i.op == Opcode::threefry) {
      for (int32_t u : local->order) {
        if (instr(u).op == Opcode::threefry_second && instr(u).a == v) give_slot(u, local);
      }
    }
    CHECK_OK(make_step(v, &k_.stages[static_cast<size_t>(s)].steps, &local->entry));
    for (int32_t operand : operands(v)) release_slot(operand, at, 0, local);
  }
  store_parts(s, local);
  return {};
}

Status TileCompiler::reductions(int s, Local* local) {
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
    r.combine = k_.table->find(kernels::combining(i.op), i.type, i.type, 0);
    if (!r.fold || !r.combine) {
      return unimplemented(
          str("no vector loop for ", kernels::name(i.op), " of ", ir::name(i.type)));
    }
    if (r.init < 0 || !value(i.b).single) {
      return unimplemented("a reduction whose initial value is not one value");
    }
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

Status TileCompiler::build_stage(int s) {
  Local local;
  collect(s, &local);
  bind_row_buffers(s, &local);
  place_outputs(s, &local);
  CHECK_OK(schedule(s, &local));
  return reductions(s, &local);
}

}  // namespace jaxmps::cpu
