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
  GpuPrinter(const Fusion& f, const Dialect& dialect)
      : f_(f), dialect_(dialect), reduces_(f.kind != Fusion::Kind::loop), schedule_(f) {}

  Result<GpuFusion> print();

 private:
  // How the threads of a block share whole rows or columns.
  struct Walk {
    bool is_column;
    int64_t inner;          // columns side by side
    int64_t lanes, groups;  // threads along a row or column, and of these in a block
    int64_t threads, blocks;
    int64_t per_lane;  // elements
  };
  // How a long reduction is cut.
  struct Split {
    int64_t length, kept, inner;  // elements of a reduction; results; of these, along the last axes
    int64_t columns, lanes;       // threads of a block along `inner` and along the reduction
    int64_t pieces, piece;        // of each reduction, and its length
    std::vector<int32_t> values;  // the reductions
    std::vector<int64_t> offsets;  // of their pieces in the scratch memory, in bytes
    int64_t bytes;
  };

  const ScalarInstr& instr(int32_t v) const { return f_.program.instrs[static_cast<size_t>(v)]; }
  bool is_reduce(int32_t v) const { return is_reduction(instr(v).op); }
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

  std::string position(int64_t offset, const std::vector<int64_t>& strides) const;
  std::string inside(const Access& access) const;
  std::string load(const ScalarInstr& instr, int stage) const;
  std::string value(int32_t v, int stage) const;
  Status define(int32_t v);
  void axes(std::string_view linear, int begin, int end);
  void store(const OutputPart& part);
  Status loop(GpuKernel* kernel);
  Walk plan_walk() const;
  Status walk(GpuKernel* kernel, const Walk& w);
  Status split(GpuFusion* fusion);
  Status split_pieces(GpuKernel* kernel, const Split& s);
  Status split_total(GpuKernel* kernel, const Split& s);
  Status add_up_piece(const Split& s);
  void fold_pieces(const Split& s);
  Status kept_values(int stage);
  void store_kept(std::string_view condition);
  std::vector<int32_t> live() const;
  Split plan_split() const;
  bool has_float64() const;
  void share(DType type, int32_t v, int64_t count);
  double nanoseconds() const;
  Status finish(GpuKernel* kernel, std::string_view kind, double nanoseconds);
  std::vector<bool> needed_in(int s) const;
  Status stage(int s, const Walk& w);
  void reduce_block(int32_t v, const Walk& w);
  std::string signature(const GpuKernel& kernel) const;

  const Fusion& f_;
  const Dialect& dialect_;
  bool reduces_;
  FusionSchedule schedule_;
  std::string body_;
  int64_t shared_bytes_ = 0;  // of the kernel in hand
  int depth_ = 1;
  bool walks_again_ = false;  // elements are computed anew by each stage, not kept in registers
  std::string condition_;     // under which spread parts are stored
};

}  // namespace jaxmps::kernels
