#include "ir/gather_dims.h"

#include "ir/lists.h"

namespace jaxmps::ir {

GatherDims GatherDims::numbers(const Op& op) {
  const bool scatters = op.id == OpId::scatter;
  return {op.ints(scatters ? "update_window_dims" : "offset_dims"),
          op.ints(scatters ? "inserted_window_dims" : "collapsed_slice_dims"),
          op.ints(scatters ? "input_batching_dims" : "operand_batching_dims"),
          op.ints(scatters ? "scatter_indices_batching_dims" : "start_indices_batching_dims"),
          op.ints(scatters ? "scatter_dims_to_operand_dims" : "start_index_map"),
          op.i64("index_vector_dim"),
          {}};
}

GatherDims GatherDims::of_gather(const Op& op) {
  GatherDims dims = numbers(op);
  dims.slice_sizes = op.ints("slice_sizes");
  return dims;
}

GatherDims GatherDims::of_scatter(const Op& op) {
  GatherDims dims = numbers(op);
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
