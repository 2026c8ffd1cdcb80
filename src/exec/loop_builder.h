// Builds a LoopProgram from a `while` op; internal to the loop_*.cc.
// A LoopBuilder lives for one lower_loop call on one thread and refers to the op.
//
// Every value of the loop is a scalar in registers, an array at an address, or both. A Root is a
// piece of memory; several values may be views of it. Memory is written by the op that defines it,
// and again only where nothing reads it any more.
#pragma once

#include <optional>
#include <unordered_map>

#include "exec/loop_program.h"
#include "ir/lifetimes.h"

namespace jaxmps::exec {

class LoopBuilder {
 public:
  static constexpr size_t kLargestConstant = 256 << 10;  // bytes

  // `for_machine`: to be printed for a code generator, fusions among it.
  explicit LoopBuilder(bool for_machine) : for_machine_(for_machine) {}
  Result<std::shared_ptr<LoopProgram>> build(const ir::Op& loop,
                                             const std::vector<ir::Value*>& captures);
  double nanoseconds() const { return cost_; }

 private:
  struct Root {
    int32_t address = -1;
    int64_t bytes = 0;
    int region = 0;             // whose code may overwrite it; 0: none
    int last_use = -1;          // position in that region
    bool is_temporary = false;  // a place in the arena, written in that region
    bool is_carried = false;    // of an array that the region's loop carries
  };
  struct Value {
    std::optional<kernels::ScalarValue> scalar;
    int32_t address = -1;
    int root = -1;
    int depth = 0;  // of the scope that it was bound in
  };
  // What is being appended to: the code of the function, of a loop's region or of a branch.
  struct Scope {
    kernels::CodeBlock block;
    bool is_branch = false;
  };
  // A region of IR: last uses of its values, by position of the op.
  struct RegionState {
    int id = 0;
    int position = 0;
    ir::Lifetimes lifetimes;
  };

  struct Carried {
    kernels::ScalarValue first;  // scalars: before the first trip
    int32_t start = -1;          // arrays: the address of the memory that the value starts in
    int64_t bytes = 0;
    size_t phi = 0;        // in CodeLoop::phis, of the scalar's real part or of the address
    Value value;           // in the loop
    bool is_fixed = true;  // arrays: lies in the same memory throughout
  };

  // loop_build.cc
  Status generate(const kernels::CodeBlock& block);
  Status add_region(const ir::Region& region);
  Status add_op(const ir::Op& op);
  Status add_scalar_op(const ir::Op& op);
  Status add_fusion(const ir::Op& op);
  Status add_loop(const ir::Op& op, bool is_outermost);
  void start_carried(const ir::Op& op, bool is_outermost, std::vector<Carried>* all);
  void bind_carried(const ir::Op& op, kernels::CodeLoop* loop, std::vector<Carried>* all);
  Status add_branch(const ir::Op& op);
  Status add_branch_region(const ir::Region& ir_region, const std::vector<Value>& results,
                           std::vector<int32_t>* scalars);
  Status add_condition(const ir::Op& op, bool is_outermost, kernels::CodeLoop* loop);
  int32_t unless_ready(int32_t verdict);
  void enter(bool is_branch);
  kernels::CodeBlock leave();
  void flush();
  int pin() const;
  int depth_of(int32_t v) const { return depth_[static_cast<size_t>(v)]; }
  void append(kernels::CodeItem item) { scopes_.back().block.push_back(std::move(item)); }
  int32_t new_value(ir::DType type, int depth);
  int32_t new_address() { return new_address(static_cast<int>(scopes_.size()) - 1); }
  int32_t new_address(int depth);
  kernels::ScalarValue new_scalar(ir::DType dtype);
  void control(kernels::Control control, int32_t value, int32_t a, int32_t b, int32_t c,
               uint64_t imm);
  RegionState& region() { return regions_.back(); }

  // Ops whose result may be the memory of their first operand.
  static bool may_be_view(const ir::Op& op);

  // loop_arrays.cc
  Status add_kernel(const ir::Op& op);
  Status add_native(const ir::Op& op, ops::Native native, const std::vector<int>& reuse);
  Status add_tile(const ir::Op& op, cpu::TileKernel kernel, const std::vector<int>& reuse);
  Status add_call(const ir::Op& op, std::unique_ptr<KernelCall> call,
                  const std::vector<int>& reuse);
  Status bind_call(const ir::Op& op, const std::vector<int>& reuse, KernelCall* call);
  bool prints(const kernels::Fusion& fusion, const cpu::TileKernel& kernel) const;
  void append_fusion(std::shared_ptr<const kernels::Fusion> fusion, const KernelCall& places);
  // Whether an array is rather copied, in registers, than moved by its address.
  bool is_local(int64_t bytes) const { return for_machine_ && bytes <= kernels::kLocalArray; }
  void append_call(std::unique_ptr<KernelCall> call);
  void append_tile(cpu::TileCalls tile, const KernelCall& places);
  int32_t constant_words(std::unique_ptr<std::vector<uint64_t>> words);
  Status add_array_constant(const ir::Op& op);
  void rotate_arrays(const ir::Op& op, std::vector<Carried>* all, kernels::CodeLoop* loop);
  struct Copy {
    int32_t to, from;
    int64_t bytes;
  };
  std::vector<Copy> copy_local(const ir::Op& op, const std::vector<Carried>& all,
                               std::vector<int>* next, std::vector<int>* claimed);
  int next_root(ir::Value* returned, const Carried& carried, std::vector<int>* claimed,
                std::vector<int>* extra);

  // loop_windows.cc
  bool add_dynamic_slice(const ir::Op& op);
  bool add_dynamic_update_slice(const ir::Op& op);
  Result<bool> add_scatter(const ir::Op& op);  // whether it has
  Status copy_window(const ir::Op& op, int32_t to);
  Status combine_element(const ir::Op& op, int32_t to);
  int updated_root(const ir::Op& op);
  int32_t window_address(const ir::Op& op, const ir::Dims& sizes, int first, int32_t base);
  int32_t wide_start(kernels::ScalarValue start, int64_t limit);
  int32_t moved_address(int32_t base, int32_t start, int64_t limit, int64_t bytes);

  // loop_arrays.cc
  template <typename F>
  void in_scope(int depth, F add);
  void store_parts(int32_t address, const kernels::ScalarValue& stored);
  void copy_array(int32_t to, int32_t from, int64_t bytes);
  kernels::ScalarValue as_scalar(ir::Value* value);
  int32_t as_memory(ir::Value* value);
  bool may_take(const ir::Op& op, int operand);
  int new_root(int32_t address, int64_t bytes, int region, bool is_temporary);
  int new_temporary(int64_t bytes);
  int32_t new_slot(int64_t bytes, bool is_shared = false);
  void place(int32_t address, int64_t bytes, bool is_shared = false);
  void bind(ir::Value* value, int32_t address, int root);
  void bind_alias(ir::Value* of, ir::Value* alias);
  Value& value(ir::Value* v) { return values_.at(v); }

  const bool for_machine_;
  kernels::ScalarProgram scalars_;
  kernels::ScalarBuilder builder_{&scalars_};
  std::vector<int> depth_;  // per scalar instruction: the scope that it belongs to
  std::vector<Scope> scopes_;
  std::vector<RegionState> regions_;
  int region_count_ = 0;
  std::unordered_map<const ir::Value*, Value> values_;
  std::vector<Root> roots_;
  std::shared_ptr<LoopProgram> program_;
  std::unordered_map<int32_t, size_t> slot_of_;  // of temporaries, by address: LoopProgram::slots
  struct Constant {
    int32_t address;
    const uint64_t* words;
    int64_t bytes;
  };
  std::vector<Constant> array_constants_;
  std::vector<int64_t> input_bytes_;  // by number in LoopProgram::inputs
  std::vector<int32_t> addresses_;    // the values that are
  std::vector<Value> starts_;         // what the outermost loop starts with, as it is given
  uint64_t inputs_ = 0;               // numbers given to `input` instructions
  double cost_ = 0;
};

}  // namespace jaxmps::exec
