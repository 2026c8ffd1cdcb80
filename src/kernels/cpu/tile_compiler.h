// Compiles a fusion for the tile machine; internal to tile_compile.cc and tile_stages.cc.
// A Compiler lives for one compile_tile call and refers to the fusion and the program it fills.
#pragma once

#include <array>

#include "fusion/schedule.h"
#include "kernels/cpu/tile_program.h"

namespace jaxmps::cpu {

// What is known of one instruction.
struct TileValue : kernels::ScheduledValue {
  bool single = true;    // one element for a whole tile
  bool batched = false;  // of a group value: computed for several groups at once,
  bool is_read = false;  // and read one by one
  int32_t entry = -1;    // of uniform and group values
  int32_t product = -1;  // of additions: the operand that their own loop computes
};

class TileCompiler {
 public:
  // The fusion's outputs are parts of the first `outputs` ones (fusion/write_out.h).
  TileCompiler(const Fusion& fusion, size_t outputs, const VecTable& table, TileKernel::Impl* out)
      : f_(fusion),
        outputs_(outputs),
        schedule_(kernels::FusionSchedule::for_tiles(fusion)),
        k_(*out),
        values_(fusion.program.instrs.size()) {
    k_.table = &table;
  }
  Status compile();
  // Instead: which outputs may be the memory of which inputs.
  std::vector<std::vector<bool>> aliases();

 private:
  struct Local {  // per stage
    std::vector<int32_t> entry, last_use;
    std::vector<int32_t> order;  // element instructions of the stage, in program order
    std::vector<int64_t> slot;   // per value: offset in the tile area, or -1
    std::vector<std::pair<int64_t, int>> free;  // slot offset and class
  };

  const ScalarInstr& instr(int32_t v) const { return f_.program.instrs[static_cast<size_t>(v)]; }
  TileValue& value(int32_t v) { return values_[static_cast<size_t>(v)]; }
  const TileValue& value(int32_t v) const { return values_[static_cast<size_t>(v)]; }
  static bool is_reduce(const ScalarInstr& i) { return kernels::is_reduction(i.op); }
  // A load that later stages repeat, rather than keep what it has read.
  bool is_cheap_load(int32_t v) {
    const ScalarInstr& i = instr(v);
    return i.op == Opcode::load && (i.a < 0 || !value(i.a).is_element());
  }
  uint8_t size_of(int32_t v) const { return static_cast<uint8_t>(ir::byte_size(instr(v).type)); }

  // What the step of v reads.
  std::array<int32_t, 4> operands(int32_t v) const;

  void analyse();
  void find_multiply_adds();
  void choose_batch();
  void add_parts();
  void find_aliases();
  bool panel_helps(const ScalarInstr& load) const;
  bool dense_in_tile(const std::vector<int64_t>& strides) const;
  int32_t new_entry(Entry::Area area, int64_t bytes);
  int64_t take(int64_t* area, int64_t bytes);
  Status fixed_values();  // uniform and group values, everything that is not element level
  Shift shift_of(const ScalarInstr& load, const std::vector<int32_t>* local, bool is_batched);
  Status make_step(int32_t v, std::vector<Step>* steps, const std::vector<int32_t>* local);
  Result<Step> compute_step(int32_t v, std::vector<Step>* steps, const std::vector<int32_t>* local);
  Status build_stage(int s);
  void collect(int s, Local* local);
  void place_outputs(int s, Local* local);
  void bind_row_buffers(int s, Local* local);
  Status schedule(int s, Local* local);
  bool bind_load(int s, int32_t v, Local* local);
  void store_parts(int s, Local* local);
  int64_t allocate(Local* local, int size);
  void give_slot(int32_t v, Local* local);
  void release_slot(int32_t v, int32_t at, int only_size, Local* local);
  Status reductions(int s, Local* local);
  void finish_group();
  void place_bindings();
  void look_ahead();
  int32_t entry_of(int32_t v, const std::vector<int32_t>* local);

  const Fusion& f_;
  const size_t outputs_;
  const kernels::FusionSchedule schedule_;
  TileKernel::Impl& k_;
  std::vector<TileValue> values_;
  std::vector<int64_t> row_buffer_;  // per value: offset in the tile area, or -1
  std::vector<bool> part_done_;      // per output part: written by its own computation
};

}  // namespace jaxmps::cpu
