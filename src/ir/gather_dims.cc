#include "ir/gather_dims.h"

#include <algorithm>

namespace jaxmps::ir {
namespace {

bool contains(const Ints& list, int64_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace

GatherDims GatherDims::of_gather(const Op& op) {
  return {op.ints("offset_dims"),
          op.ints("collapsed_slice_dims"),
          op.ints("operand_batching_dims"),
          op.ints("start_indices_batching_dims"),
          op.ints("start_index_map"),
          op.i64("index_vector_dim"),
          op.ints("slice_sizes")};
}

GatherDims GatherDims::of_scatter(const Op& op) {
  GatherDims dims{op.ints("update_window_dims"),
                  op.ints("inserted_window_dims"),
                  op.ints("input_batching_dims"),
                  op.ints("scatter_indices_batching_dims"),
                  op.ints("scatter_dims_to_operand_dims"),
                  op.i64("index_vector_dim"),
                  {}};
  const int inputs = (op.operand_count() - 1) / 2;
  const Type& updates = op.operand(inputs + 1)->type;
  dims.slice_sizes.assign(op.operand(0)->type.dims.size(), 1);
  const auto kept = dims.kept_dims(op.operand(0)->type.rank());
  for (size_t i = 0; i < kept.size(); ++i) {
    dims.slice_sizes[kept[i]] = updates.dims[dims.window_dims[i]];
  }
  return dims;
}

std::vector<int> GatherDims::batch_dims(int64_t windows_rank) const {
  std::vector<int> dims;
  for (int64_t d = 0; d < windows_rank; ++d) {
    if (!contains(window_dims, d)) dims.push_back(static_cast<int>(d));
  }
  return dims;
}

std::vector<int> GatherDims::kept_dims(int64_t operand_rank) const {
  std::vector<int> dims;
  for (int64_t d = 0; d < operand_rank; ++d) {
    if (!contains(collapsed, d) && !contains(operand_batching, d)) {
      dims.push_back(static_cast<int>(d));
    }
  }
  return dims;
}

std::vector<int> GatherDims::indices_batch(int64_t indices_rank) const {
  std::vector<int> dims;
  for (int64_t d = 0; d < indices_rank; ++d) {
    if (d != index_vector_dim) dims.push_back(static_cast<int>(d));
  }
  return dims;
}

}  // namespace jaxmps::ir
