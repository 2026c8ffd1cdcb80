// Rules of gather, dynamic_gather and scatter.
#include "ir/gather_dims.h"
#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

Reason check_indices(const Type& indices, const Type& operand, const GatherDims& n) {
  const int64_t vector_dim = n.index_vector_dim;
  NEED(is_int(indices.dtype), "the indices must be integers, are ", brief(indices));
  NEED(vector_dim >= 0 && vector_dim <= indices.rank(), "index_vector_dim is ", vector_dim,
       "; the indices have rank ", indices.rank());
  const int64_t depth = vector_dim == indices.rank() ? 1 : indices.dims[vector_dim];
  NEED(same_size(depth, static_cast<int64_t>(n.index_map.size())), "the indices have ", depth,
       " components for ", n.index_map.size(), " dimensions");
  NEED_OK(check_axes("the map of index components", n.index_map, operand.rank()));
  NEED_OK(check_axes("the batching dimensions of the indices", n.indices_batching, indices.rank()));
  NEED(!contains(n.indices_batching, vector_dim),
       "index_vector_dim is among the batching dimensions");
  NEED(n.operand_batching.size() == n.indices_batching.size(),
       "the batching dimensions of operand and ", "indices differ in number");
  Ints removed = n.collapsed;
  removed.insert(removed.end(), n.operand_batching.begin(), n.operand_batching.end());
  NEED_OK(check_axes("collapsed (inserted) and batching dimensions", removed, operand.rank()));
  for (size_t i = 0; i < n.operand_batching.size(); ++i) {
    NEED(!contains(n.index_map, n.operand_batching[i]), "dimension ", n.operand_batching[i],
         " is both batching and indexed");
    NEED(same_size(operand.dims[n.operand_batching[i]], indices.dims[n.indices_batching[i]]),
         "batching dimension ", i, " has two sizes: ", operand.dims[n.operand_batching[i]], " and ",
         indices.dims[n.indices_batching[i]]);
  }
  const int64_t kept = operand.rank() - static_cast<int64_t>(removed.size());
  NEED(static_cast<int64_t>(n.window_dims.size()) == kept, "the window has ", kept,
       " dimensions, but ", n.window_dims.size(), " are named");
  return {};
}

// The shape of the gathered result, or of the updates: window dimensions where they are named, the
// others are those of the indices without the vector dimension.
Dims gathered_shape(const Type& indices, const Dims& window_sizes, const GatherDims& n) {
  Dims batch, out;
  for (const int i : n.indices_batch(indices.rank())) batch.push_back(indices.dims[i]);
  size_t next_batch = 0, next_window = 0;
  for (size_t i = 0; i < batch.size() + window_sizes.size(); ++i) {
    if (contains(n.window_dims, static_cast<int64_t>(i))) {
      out.push_back(window_sizes[next_window++]);
    } else {
      out.push_back(next_batch < batch.size() ? batch[next_batch++] : kDynamic);
    }
  }
  return out;
}

Reason check_gather(const Op& op, const Ints* sizes) {
  const Type &operand = operand_type(op, 0), &indices = operand_type(op, 1);
  const GatherDims n = GatherDims::numbers(op);
  NEED_OK(check_indices(indices, operand, n));
  NEED(same_element(operand, result_type(op)), "the result must have the element type of ",
       brief(operand), ", is ", brief(result_type(op)));
  NEED_OK(check_axes("offset_dims", n.window_dims, result_type(op).rank(), true));
  Dims window;
  // An element of the result is one of the operand.
  const Type& result = result_type(op);
  const int64_t least = result.is_static() && result.size() > 0 ? 1 : 0;
  if (sizes) NEED_OK(check_length("slice_sizes", *sizes, operand.rank()));
  for (int64_t i = 0; i < operand.rank(); ++i) {
    const bool removed = contains(n.collapsed, i) || contains(n.operand_batching, i);
    const int64_t size = sizes ? (*sizes)[i] : kDynamic;
    NEED(!sizes || (size >= 0 && (!is_known(operand.dims[i]) || size <= operand.dims[i])),
         "slice size ", size, " of dimension ", i, ", which has size ", operand.dims[i]);
    NEED(!sizes || !removed || (least <= size && size <= 1), "slice size ", size, " of dimension ",
         i, ", which is collapsed");
    if (!removed) window.push_back(size);
  }
  return match_dims("the result", gathered_shape(indices, window, n), result_type(op).dims);
}

Reason gather(const Op& op) { return check_gather(op, &op.ints("slice_sizes")); }

Reason dynamic_gather(const Op& op) {
  const Type& sizes = operand_type(op, 2);
  NEED(sizes.is_tensor() && sizes.rank() == 1 && is_int(sizes.dtype),
       "the slice sizes must be a vector of integers, are ", brief(sizes));
  return check_gather(op, nullptr);
}

Reason check_updates(const Op& op, const Type& updates, const GatherDims& n) {
  const Type &input = operand_type(op), &indices = operand_type(op, op.operand_count() / 2);
  NEED_OK(check_axes("update_window_dims", n.window_dims, updates.rank(), true));
  Dims window;
  for (const int i : n.kept_dims(input.rank())) {
    const int64_t size = updates.dims[n.window_dims[window.size()]];
    window.push_back(size);
    NEED(!is_known(size) || !is_known(input.dims[i]) || size <= input.dims[i],
         "the update's window has size ", size, " along dimension ", i, ", which has size ",
         input.dims[i]);
  }
  return match_dims("the updates", gathered_shape(indices, window, n), updates.dims);
}

Reason scatter(const Op& op) {
  NEED(op.operand_count() >= 3 && op.operand_count() % 2 == 1,
       "needs inputs, indices and as many updates, has ", op.operand_count(), " operands");
  const int count = op.operand_count() / 2;
  NEED(op.result_count() == count, "needs ", count, " results, has ", op.result_count());
  const Type& input = operand_type(op);
  const GatherDims n = GatherDims::numbers(op);
  NEED_OK(check_indices(operand_type(op, count), input, n));
  std::vector<Type> scalars;
  NEED_OK(check_combiner(op, 0, "the combiner", count, &scalars));
  for (int i = 0; i < count; ++i) {
    NEED_OK(match_dims(str("operand ", i), input.dims, operand_type(op, i).dims));
    const Type& updates = operand_type(op, count + 1 + i);
    NEED(same_element(operand_type(op, i), updates), "the updates must have the element type of ",
         brief(operand_type(op, i)), ", are ", brief(updates));
    NEED_OK(check_updates(op, updates, n));
    NEED_OK(widens(str("operand ", i), operand_type(op, i), scalars[i]));
    NEED_OK(match_type(str("result ", i), scalars[i].with(input.dims), result_type(op, i)));
  }
  return {};
}

}  // namespace

Rules gather_scatter_rules() {
  return {
      {OpId::dynamic_gather, 3, 1, 0, dynamic_gather},
      {OpId::gather, 2, 1, 0, gather},
      {OpId::scatter, kAny, kAny, 1, scatter},
  };
}

}  // namespace jaxmps::ir::rules
