// Small tile kernels as lists of calls: every address and length is known before the kernel runs.
#include "kernels/cpu/tile_program.h"

namespace jaxmps::cpu {
namespace {

using In = TilePlace::In;
using Impl = TileKernel::Impl;

// Does what run_small does, at compile time. Each method is false if there are no such calls.
class Lister {
 public:
  explicit Lister(const Impl& k) : k_(k), places_(k.entries.size()) {
    group_ = whole_lines(k.uniform_bytes);
    tile_ = group_ + whole_lines(k.group_bytes);
    out.memory_bytes = tile_ + whole_lines(k.tile_bytes);
    const int64_t areas[] = {0, group_, tile_, 0};
    for (size_t e = 0; e < k.entries.size(); ++e) {
      const Entry& entry = k.entries[e];
      if (entry.area != Entry::Area::bound) {
        places_[e] = memory(areas[static_cast<int>(entry.area)] + entry.offset);
      }
    }
    for (const auto& [entry, bits] : k.constants) {
      at(entry) = {In::constant, -1, 0, bits};
    }
  }

  bool list() {
    // Other reductions take as many calls as their rows.
    const bool row = k_.red_end == static_cast<int>(k_.dims.size());
    if (!k_.is_small || (k_.has_reductions && !row)) return false;
    const int64_t n = k_.red_count * k_.inner_count;
    if (!add(k_.uniform_steps, 1)) return false;
    for (const Stage& stage : k_.stages) {
      if (!add(stage.group_steps, 1)) return false;
      for (const Binding& b : stage.bindings) {
        if (b.shift.entry >= 0) return false;  // known only when it runs
        bind(b);
      }
      if (!add(stage.steps, n)) return false;
      for (const Reduction& r : stage.reductions) reduce(r, n);
    }
    return add(k_.final_steps, 1);
  }

  TileCalls out;

 private:
  static TilePlace memory(int64_t offset) { return {In::memory, -1, offset, 0}; }
  TilePlace& at(int32_t entry) { return places_[static_cast<size_t>(entry)]; }
  TilePlace operand(int32_t entry) { return entry < 0 ? TilePlace() : at(entry); }

  void call(VecFn fn, TilePlace dst, TilePlace a, TilePlace b, int64_t n) {
    out.calls.push_back({fn, dst, a, b, {}, n, 0});
  }
  void copy(TilePlace dst, TilePlace a, int64_t n, int size) {
    static constexpr DType kBits[] = {DType::u8, DType::u16, DType::u32, DType::u64};
    const DType type = kBits[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3];
    call(k_.table->find(Opcode::bitcast, type, type, kAllVectors), dst, a, {}, n);
  }

  void bind(const Binding& b) {
    if (b.kind == Binding::Kind::row) {
      at(b.entry) = memory(tile_ + b.offset);
    } else {
      const bool reads = b.kind == Binding::Kind::input;
      at(b.entry) = {reads ? In::input : In::output, b.buffer, b.first, 0};
    }
  }

  bool add(const std::vector<Step>& steps, int64_t n) {
    for (const Step& s : steps) {
      const int64_t count = s.single ? 1 : n;
      switch (s.kind) {
        case Step::Kind::compute:
          out.calls.push_back(
              {s.fn, at(s.dst), operand(s.a), operand(s.b), operand(s.c), count, s.imm});
          break;
        case Step::Kind::load:
          if (!load(s)) return false;
          break;
        case Step::Kind::store:
          if (!store(s, n)) return false;
          break;
        case Step::Kind::threefry:
          return false;
      }
    }
    return true;
  }

  // Single elements.
  bool load(const Step& s) {
    const Access& access = k_.accesses[static_cast<size_t>(s.access)];
    if (access.kind != Access::Kind::memory || !access.bounds.empty() || !s.single ||
        s.shift.entry >= 0) {
      return false;
    }
    copy(at(s.dst), {In::input, access.input, access.offset * s.size, 0}, 1, s.size);
    return true;
  }

  bool store(const Step& s, int64_t n) {
    const OutputPart& part = k_.parts[static_cast<size_t>(s.access)];
    int64_t expected = 1;
    for (size_t a = k_.dims.size(); n > 1 && a-- > static_cast<size_t>(k_.tile_begin);) {
      if (part.strides[a] != expected) return false;
      expected *= k_.dims[a];
    }
    const TilePlace to = {In::output, part.output, part.offset * part.size, 0};
    if (s.single && n > 1) {
      call(k_.table->find_spread(part.size), to, at(s.a), {}, n);
    } else {
      copy(to, at(s.a), n, part.size);
    }
    return true;
  }

  void reduce(const Reduction& r, int64_t n) {
    TilePlace x = at(r.operand);
    if (r.operand_single) {
      call(k_.table->find_spread(r.size), memory(tile_ + r.spread), x, {}, n);
      x = memory(tile_ + r.spread);
    }
    const TilePlace total = memory(tile_ + r.inner);
    call(r.fold, total, x, {}, n);
    call(r.combine, at(r.result), at(r.init), total, 1);
  }

  const Impl& k_;
  int64_t group_ = 0, tile_ = 0;
  std::vector<TilePlace> places_;
};

}  // namespace

std::optional<TileCalls> TileKernel::calls() const {
  Lister lister(*impl_);
  if (!lister.list()) return std::nullopt;
  return std::move(lister.out);
}

}  // namespace jaxmps::cpu
