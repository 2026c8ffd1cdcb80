#include "kernels/loop_code.h"

#include <algorithm>

namespace jaxmps::kernels {
namespace {

// Conditions of up to this many instructions are repeated at the end of the loop: one jump less.
constexpr size_t kRepeatedCondition = 8;

using Kind = CodeItem::Kind;

// Visits every value that the item reads, nested blocks included.
template <typename F>
void for_reads(const ScalarProgram& p, const CodeItem& item, const F& f);

template <typename F>
void for_reads(const ScalarProgram& p, const CodeBlock& block, const F& f) {
  for (const CodeItem& item : block) for_reads(p, item, f);
}

template <typename F>
void for_reads(const ScalarProgram& p, const CodeItem& item, const F& f) {
  auto visit = [&](int32_t v) {
    if (v >= 0) f(v);
  };
  if (item.kind == Kind::scalar) {
    const ScalarInstr& i = p.instrs[static_cast<size_t>(item.value)];
    for (int32_t v : {i.a, i.b, i.c, i.d}) visit(v);
    return;
  }
  for (int32_t v : {item.a, item.b, item.c}) visit(v);
  if (item.control == Control::copy) visit(item.value);
  for (int32_t v : item.reads) visit(v);
  if (item.loop) {
    for_reads(p, item.loop->condition, f);
    for_reads(p, item.loop->body, f);
    visit(item.loop->verdict);
    for (const Phi& phi : item.loop->phis) {
      visit(phi.init);
      visit(phi.next);
    }
  }
  if (item.branch) {
    visit(item.branch->index);
    for (const CodeBlock& block : item.branch->blocks) for_reads(p, block, f);
    for (const auto& results : item.branch->results) {
      for (int32_t v : results) visit(v);
    }
  }
}

class Emitter {
 public:
  Emitter(const ScalarProgram& values, const std::vector<int32_t>& results)
      : p_(values), results_(results), uses_(values.instrs.size()), extra_(values.instrs.size()) {
    code_.home.resize(values.instrs.size());
    code_.registers.resize(values.instrs.size());
    for (size_t v = 0; v < values.instrs.size(); ++v) {
      code_.home[v] = static_cast<int32_t>(v);
      if (values.instrs[v].op == Opcode::constant) code_.registers[v] = values.instrs[v].imm;
    }
  }

  RegisterCode emit(CodeBlock block) {
    for (int32_t v : results_) ++uses_[at(v)];
    drop_dead(block);
    emit_block(block);
    append(Control::stop);
    return std::move(code_);
  }

 private:
  static size_t at(int32_t v) { return static_cast<size_t>(v); }
  const ScalarInstr& instr(int32_t v) const { return p_.instrs[at(v)]; }
  int size(int32_t v) const { return ir::byte_size(instr(v).type); }
  int32_t home(int32_t v) const { return v < 0 ? -1 : code_.home[at(v)]; }
  int32_t new_register() {
    code_.registers.push_back(0);
    return static_cast<int32_t>(code_.registers.size() - 1);
  }
  int64_t here() const { return static_cast<int64_t>(code_.ops.size()); }

  // Counts uses, and removes scalar instructions that have none.
  void drop_dead(CodeBlock& block) {
    for_reads(p_, block, [&](int32_t v) { ++uses_[at(v)]; });
    sweep(block);
  }
  void sweep(CodeBlock& block) {
    for (size_t k = block.size(); k-- > 0;) {
      CodeItem& item = block[k];
      if (item.loop) {
        sweep(item.loop->body);
        sweep(item.loop->condition);
      }
      if (item.branch) {
        for (CodeBlock& inner : item.branch->blocks) sweep(inner);
      }
      if (item.kind != Kind::scalar || uses_[at(item.value)] > 0) continue;
      for_reads(p_, item, [&](int32_t v) { --uses_[at(v)]; });
      block.erase(block.begin() + static_cast<int64_t>(k));
    }
  }

  // --- straight code ----------------------------------------------------------------------------

  ThreadedOp& append(ThreadedFn fn) {
    code_.ops.emplace_back().fn = fn;
    return code_.ops.back();
  }
  ThreadedOp& append(Control control, int size = 8) { return append(find_control(control, size)); }

  void emit_block(const CodeBlock& block) { emit_items(block, block.size()); }

  void emit_items(const CodeBlock& block, size_t count) {
    for (size_t k = 0; k < count; ++k) {
      const CodeItem& item = block[k];
      if (item.kind == Kind::scalar) {
        if (k + 1 < count && emit_multiply_add(item, block[k + 1])) {
          ++k;
        } else {
          emit_scalar(item.value);
        }
      } else if (item.kind == Kind::control) {
        const bool stores = item.control == Control::store;
        ThreadedOp& op = append(item.control, stores ? size(item.b) : size(item.value));
        set(op, home(item.value), item.a, item.b, item.c, item.imm);
      } else if (item.kind == Kind::call) {
        set(append(item.fn), home(item.value), item.a, item.b, item.c, item.imm);
      } else if (item.kind == Kind::loop) {
        emit_loop(*item.loop);
      } else {
        emit_branch(*item.branch);
      }
    }
  }

  void set(ThreadedOp& op, int32_t d, int32_t a, int32_t b, int32_t c, uint64_t imm) {
    op.d = d;
    op.a = home(a);
    op.b = home(b);
    op.c = home(c);
    op.imm = imm;
  }

  void emit_scalar(int32_t v) {
    const ScalarInstr& i = instr(v);
    if (i.op == Opcode::threefry_second) return emit_move(home(v), extra_[at(i.a)], size(v));
    const DType from = i.op == Opcode::select || i.a < 0 ? i.type : instr(i.a).type;
    const void* called = called_function(i, from);
    const uint64_t imm = called ? reinterpret_cast<uint64_t>(called) : i.imm;
    set(append(find_threaded(i, from)), home(v), i.a, i.b, i.c, imm);
    if (i.op != Opcode::threefry) return;
    extra_[at(v)] = new_register();
    code_.ops.back().imm = static_cast<uint64_t>(home(i.d)) | static_cast<uint64_t>(extra_[at(v)])
                                                                  << 32;
  }

  bool emit_multiply_add(const CodeItem& first, const CodeItem& second) {
    if (second.kind != Kind::scalar) return false;
    const ScalarInstr& mul = instr(first.value);
    const ScalarInstr& add = instr(second.value);
    if (mul.op != Opcode::mul || add.op != Opcode::add || uses_[at(first.value)] != 1) return false;
    if (add.a != first.value && add.b != first.value) return false;
    ThreadedFn fn = find_multiply_add(add.type);
    if (!fn) return false;
    set(append(fn), home(second.value), mul.a, mul.b, add.a == first.value ? add.b : add.a, 0);
    return true;
  }

  // --- moves ------------------------------------------------------------------------------------

  struct Move {
    int32_t to, from;  // registers
    int size;
  };

  void emit_move(int32_t to, int32_t from, int size) {
    ThreadedOp& op = append(Control::move, size);
    op.d = to;
    op.a = from;
  }

  // All at once: no register is overwritten before it is read.
  void emit_moves(std::vector<Move> moves) {
    std::erase_if(moves, [](const Move& m) { return m.to == m.from; });
    while (!moves.empty()) {
      auto is_read = [&](int32_t reg) {
        return std::any_of(moves.begin(), moves.end(),
                           [&](const Move& m) { return m.from == reg; });
      };
      auto free =
          std::find_if(moves.begin(), moves.end(), [&](const Move& m) { return !is_read(m.to); });
      if (free != moves.end()) {
        emit_move(free->to, free->from, free->size);
        moves.erase(free);
        continue;
      }
      // Only cycles are left. Afterwards the first target is right and what it held is where its
      // source was.
      const Move first = moves.front();
      if (first.size == 8) {
        ThreadedOp& op = append(Control::swap);
        op.d = first.to;
        op.a = first.from;
        moves.erase(moves.begin());
        for (Move& m : moves) {
          if (m.from == first.to) m.from = first.from;
        }
        std::erase_if(moves, [](const Move& m) { return m.to == m.from; });
      } else {
        const int32_t kept = new_register();
        emit_move(kept, first.to, first.size);
        for (Move& m : moves) {
          if (m.from == first.to) m.from = kept;
        }
      }
    }
  }

  // --- loops ------------------------------------------------------------------------------------

  void emit_loop(CodeLoop& loop) {
    sink_updates(loop);
    share_registers(loop);
    std::vector<Move> moves;
    for (const Phi& phi : loop.phis)
      moves.push_back({home(phi.value), home(phi.init), size(phi.value)});
    emit_moves(std::move(moves));
    if (loop.trips) return emit_counted(loop);
    const int64_t start = here();
    const int64_t exit = emit_condition(loop, false);
    const int64_t head = here();
    emit_trip(loop);
    const bool repeats =
        loop.condition.size() <= kRepeatedCondition &&
        std::all_of(loop.condition.begin(), loop.condition.end(),
                    [](const CodeItem& item) { return item.kind == Kind::scalar; });
    const int64_t back = repeats ? emit_condition(loop, true) : here();
    if (!repeats) append(Control::jump);
    set_target(back, repeats ? head : start);
    set_target(exit, here());
  }

  void emit_counted(CodeLoop& loop) {
    if (*loop.trips <= 0) return;
    const int32_t trips = new_register(), counter = new_register();
    code_.registers[at(trips)] = static_cast<uint64_t>(*loop.trips);
    emit_move(counter, trips, 8);
    const int64_t head = here();
    emit_trip(loop);
    append(Control::count_down).d = counter;
    set_target(here() - 1, head);
  }

  void emit_trip(const CodeLoop& loop) {
    emit_block(loop.body);
    std::vector<Move> moves;
    for (const Phi& phi : loop.phis)
      moves.push_back({home(phi.value), home(phi.next), size(phi.value)});
    emit_moves(std::move(moves));
  }

  // Emits the condition and a jump if it comes out as `when`; returns where the jump is.
  int64_t emit_condition(const CodeLoop& loop, bool when) {
    const CodeBlock& block = loop.condition;
    const bool is_last =
        !block.empty() && block.back().kind == Kind::scalar && block.back().value == loop.verdict;
    if (is_last && uses_[at(loop.verdict)] == 1) {
      const ScalarInstr& i = instr(loop.verdict);
      if (ThreadedFn fn = find_compare_jump(i.op, i.a < 0 ? i.type : instr(i.a).type, when)) {
        emit_items(block, block.size() - 1);
        set(append(fn), -1, i.a, i.b, -1, 0);
        return here() - 1;
      }
    }
    emit_block(block);
    append(when ? Control::jump_if : Control::jump_unless).a = home(loop.verdict);
    return here() - 1;
  }

  void set_target(int64_t jump, int64_t target) {
    code_.ops[static_cast<size_t>(jump)].imm = static_cast<uint64_t>(target - jump);
  }

  // Moves instructions that only compute the next value of a carried one to the end of the body,
  // where the old value has no readers left, each after those that still read what it replaces.
  void sink_updates(CodeLoop& loop) {
    CodeBlock& body = loop.body;
    std::vector<int> definer(p_.instrs.size(), -1), next_uses(p_.instrs.size(), 0);
    for (size_t k = 0; k < body.size(); ++k) {
      if (body[k].kind == Kind::scalar) definer[at(body[k].value)] = static_cast<int>(k);
    }
    for (const Phi& phi : loop.phis) ++next_uses[at(phi.next)];
    struct Group {
      int32_t replaced;
      std::vector<int> items;
    };
    std::vector<Group> groups;
    std::vector<bool> is_sunk(body.size(), false);
    for (const Phi& phi : loop.phis) {
      const int root = definer[at(phi.next)];
      if (root < 0 || is_sunk[at(root)] || uses_[at(phi.next)] != next_uses[at(phi.next)]) continue;
      Group group{phi.value, {root}};
      is_sunk[at(root)] = true;
      for (size_t k = 0; k < group.items.size(); ++k) {
        for_reads(p_, body[at(group.items[k])], [&](int32_t v) {
          const int from = definer[at(v)];
          if (from < 0 || uses_[at(v)] != 1 || is_sunk[at(from)]) return;
          is_sunk[at(from)] = true;
          group.items.push_back(from);
        });
      }
      std::sort(group.items.begin(), group.items.end());
      groups.push_back(std::move(group));
    }
    CodeBlock ordered;
    for (size_t k = 0; k < body.size(); ++k) {
      if (!is_sunk[k]) ordered.push_back(std::move(body[k]));
    }
    // How many other groups still read what a group replaces.
    std::vector<int> readers(p_.instrs.size(), 0);
    auto count = [&](const Group& group, int change) {
      std::vector<int32_t> seen{group.replaced};
      for (int k : group.items) {
        for_reads(p_, body[at(k)], [&](int32_t v) {
          if (std::find(seen.begin(), seen.end(), v) != seen.end()) return;
          seen.push_back(v);
          readers[at(v)] += change;
        });
      }
    };
    for (const Group& group : groups) count(group, 1);
    while (!groups.empty()) {
      auto chosen = std::find_if(groups.begin(), groups.end(),
                                 [&](const Group& g) { return readers[at(g.replaced)] == 0; });
      if (chosen == groups.end()) chosen = groups.begin();
      count(*chosen, -1);
      for (int k : chosen->items) ordered.push_back(std::move(body[at(k)]));
      groups.erase(chosen);
    }
    body = std::move(ordered);
  }

  // Lets next values be computed in the register of the value they replace, if no one reads that
  // any more: no move is needed then.
  void share_registers(CodeLoop& loop) {
    std::vector<int> last_read(p_.instrs.size(), -1);
    for (size_t k = 0; k < loop.body.size(); ++k) {
      for_reads(p_, loop.body[k], [&](int32_t v) { last_read[at(v)] = static_cast<int>(k); });
    }
    const int end = static_cast<int>(loop.body.size());
    for (const Phi& phi : loop.phis) last_read[at(phi.next)] = end;
    for (size_t k = 0; k < loop.body.size(); ++k) {
      const CodeItem& item = loop.body[k];
      const bool computes = item.kind == Kind::scalar ||
                            (item.kind == Kind::control && item.control == Control::load);
      if (!computes || home(item.value) != item.value) continue;
      for (const Phi& phi : loop.phis) {
        if (phi.next != item.value || last_read[at(phi.value)] > static_cast<int>(k)) continue;
        code_.home[at(item.value)] = home(phi.value);
        break;
      }
    }
  }

  // --- branches ---------------------------------------------------------------------------------

  void emit_branch(const CodeBranch& branch) {
    ThreadedOp& pick = append(Control::pick);
    pick.a = home(branch.index);
    pick.imm = branch.blocks.size();
    const int64_t table = here();
    for (size_t b = 0; b < branch.blocks.size(); ++b) append(Control::jump);
    std::vector<int64_t> exits;
    for (size_t b = 0; b < branch.blocks.size(); ++b) {
      set_target(table + static_cast<int64_t>(b), here());
      emit_block(branch.blocks[b]);
      std::vector<Move> moves;
      for (size_t k = 0; k < branch.values.size(); ++k) {
        const int32_t to = branch.values[k];
        moves.push_back({home(to), home(branch.results[b][k]), size(to)});
      }
      emit_moves(std::move(moves));
      exits.push_back(here());
      append(Control::jump);
    }
    for (int64_t exit : exits) set_target(exit, here());
  }

  const ScalarProgram& p_;
  const std::vector<int32_t>& results_;
  std::vector<int> uses_;
  std::vector<int32_t> extra_;  // where the second word of a threefry is
  RegisterCode code_;
};

}  // namespace

RegisterCode emit_code(const ScalarProgram& values, CodeBlock block,
                       const std::vector<int32_t>& results) {
  return Emitter(values, results).emit(std::move(block));
}

}  // namespace jaxmps::kernels
