// The printer behind print_gpu; internal to gpu*.cc. One object prints one fusion, on one thread.
#pragma once

#include <string>
#include <vector>

#include "fusion/schedule.h"
#include "kernels/gpu.h"
#include "kernels/gpu_expression.h"

namespace jaxmps::kernels {

class GpuPrinter {
 public:
  GpuPrinter(const Fusion& f, const Dialect& dialect, FusionSchedule schedule)
      : f_(f), dialect_(dialect), schedule_(std::move(schedule)) {
    for (const int32_t v : schedule_.live()) {
      if (instr(v).op == Opcode::total) totals_.push_back(v);
    }
  }

  Result<GpuFusion> print();

 private:
  const ScalarInstr& instr(int32_t v) const { return f_.program.instrs[static_cast<size_t>(v)]; }
  bool is_reduce(int32_t v) const { return is_reduction(instr(v).op); }
  // Whether the threads keep the element, in registers, for the stages behind.
  bool is_kept(int32_t v) const { return schedule_[v].is_kept && !schedule_.walk()->is_repeated; }
  void line(std::string text) {
    body_ += std::string(static_cast<size_t>(2 * depth_), ' ') + std::move(text) + '\n';
  }
  // Positions in arrays of fewer elements than this fit an int with all rounding up.
  static constexpr int64_t kIntRange = (int64_t{1} << 31) - (1 << 16);
  std::string index_type() const {
    bool fits = f_.size() < kIntRange;
    for (const ir::Type& t : f_.inputs) fits = fits && 2 * t.size() < kIntRange;
    for (const FusionOutput& o : f_.outputs) fits = fits && 2 * o.type.size() < kIntRange;
    return fits ? "s32" : "s64";
  }

  std::string position(const Affine& at) const;
  std::string inside(const Access& access) const;
  std::string load(const ScalarInstr& instr, int stage) const;
  std::string value(int32_t v, int stage) const;
  Status define(int32_t v);
  void axes(std::string_view linear, int begin, int end);
  std::string within(std::string_view name, std::string_view position, int64_t count,
                     int64_t walked);
  void store(const OutputPart& part);
  Status loop(GpuKernel* kernel);
  Status walk(GpuKernel* kernel, const BlockWalk& w);
  Status split(GpuFusion* fusion, const BlockSplit& s);
  Status split_pieces(GpuKernel* kernel, const BlockSplit& s);
  Status split_total(GpuKernel* kernel, const BlockSplit& s);
  Status add_up_piece(const BlockSplit& s);
  void fold_pieces(const BlockSplit& s);
  Status kept_values(int stage);
  void store_kept(std::string_view condition);
  void share(DType type, int32_t v, int64_t count);
  int64_t bytes_of(int input) const;
  void note_updates(GpuKernel* kernel) const;
  Status finish(GpuKernel* kernel, std::string_view kind, double nanoseconds);
  std::vector<bool> elements_of(int stage) const;
  Status stage(int s, const BlockWalk& w);
  void reduce_block(int32_t v, const BlockWalk& w);
  void open_tiles(const BlockWalk& w);
  void add_to_totals(int stage);
  void leave_totals(const BlockWalk& w);
  void open_positions(const BlockWalk& w, int64_t count);
  void close();
  int64_t stride() const;
  void add_up_blocks(const BlockWalk& w, std::string_view first, int64_t blocks, int64_t apart);
  Status finish_totals(GpuKernel* kernel, const BlockWalk& w);
  std::string signature(const GpuKernel& kernel) const;

  const Fusion& f_;
  const Dialect& dialect_;
  const FusionSchedule schedule_;
  std::vector<int32_t> totals_;
  std::string body_;
  int64_t shared_bytes_ = 0;  // of the kernel in hand
  int depth_ = 1;
  std::string condition_;  // under which spread parts, and those of loops, are stored
};

}  // namespace jaxmps::kernels
