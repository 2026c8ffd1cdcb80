// Gather and scatter: their dimension numbers resolved into byte strides, and their starts as
// arrays. Used when a program is compiled; plain values, any thread.
#pragma once

#include "ir/gather_dims.h"
#include "kernels/cpu/gather.h"
#include "ops/op.h"

namespace jaxmps::ops {

using ir::GatherDims;

struct WindowPlan {
  cpu::StartIndices starts;
  ir::Dims sizes, operand_strides, window_strides;  // of one window, strides in bytes
};
WindowPlan plan_windows(const GatherDims& dims, const ir::Type& operand, const ir::Type& indices,
                        const ir::Type& windows);

// Starts of any index type as int32 or int64, in which limits can be compared with them: what u64
// holds beyond stays beyond.
mx::array signed_starts(const mx::array& starts);

// The start of every window as one index array per entry of `axes` (operand dimensions), shaped as
// the batch dimensions of the windows array, or as a list where those and the operand's would be
// more than MLX's kernels take (flattens_batch): clamped, or as they are. Batching dimensions are
// included. `inside` is set to the mask of starts in bounds if it is not null.
struct StartArrays {
  Arrays indices;
  std::vector<int> axes;
};
bool flattens_batch(size_t batch_rank, int operand_rank);
// Why a gather or scatter has too many dimensions for that, or empty.
std::string too_many_dimensions(const OpContext& ctx);
StartArrays start_arrays(const GatherDims& dims, const ir::Type& operand, const mx::array& indices,
                         bool clamp, std::optional<mx::array>* inside);

}  // namespace jaxmps::ops
