// Products of a few numbers each, and convolutions of a few taps, as products and sums of arrays,
// which become fusions: a call of a kernel would take longer than its work.
#include <algorithm>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

constexpr int64_t kMostSummed = 8;       // of a sum
constexpr int64_t kMostProducts = 128;   // of one result matrix
constexpr int64_t kMostByVector = 2048;  // of all results, where an operand is a vector
constexpr int64_t kMostTaps = 9;

bool is_plain(const ir::Type& type) {
  return type.is_static() && !type.quantization && type.size() > 0 &&
         (type.dtype == ir::DType::f32 || type.dtype == ir::DType::f64);
}

bool is_plain(const Op& op) {
  const ir::DType dtype = op.result()->type.dtype;
  return is_plain(op.result()->type) && is_plain(op.operand(0)->type) &&
         is_plain(op.operand(1)->type) && op.operand(0)->type.dtype == dtype &&
         op.operand(1)->type.dtype == dtype;
}

// The operand with its dimensions where the products have them: batch dimensions first, free ones
// from `first_free` on, contracted ones from `first_contracted` on.
Value* spread(const Builder& build, Value* operand, const Ints& batch, const Ints& contracted,
              const Dims& products, int64_t first_free, int64_t first_contracted) {
  Ints to;
  for (int64_t d = 0; d < operand->type.rank(); ++d) {
    if (const auto b = std::find(batch.begin(), batch.end(), d); b != batch.end()) {
      to.push_back(b - batch.begin());
    } else if (const auto c = std::find(contracted.begin(), contracted.end(), d);
               c != contracted.end()) {
      to.push_back(first_contracted + (c - contracted.begin()));
    } else {
      to.push_back(first_free++);
    }
  }
  return build.broadcast(operand, products, std::move(to));
}

bool all_ones(const Ints& list) {
  return std::all_of(list.begin(), list.end(), [](int64_t x) { return x == 1; });
}

// One channel, not dilated, input and output laid out alike.
bool is_filter(const Op& op) {
  const Ints& padding = op.ints("padding");
  const Value *input = op.operand(0), *kernel = op.operand(1);
  auto same = [&](std::string_view what) {
    return op.i64(str("input_", what)) == op.i64(str("output_", what));
  };
  return is_plain(op) && op.i64("feature_group_count") == 1 && op.i64("batch_group_count") == 1 &&
         input->type.dims[op.i64("input_feature_dimension")] == 1 &&
         kernel->type.dims[op.i64("kernel_output_feature_dimension")] == 1 &&
         same("batch_dimension") && same("feature_dimension") &&
         op.ints("input_spatial_dimensions") == op.ints("output_spatial_dimensions") &&
         all_ones(op.ints("lhs_dilation")) && all_ones(op.ints("rhs_dilation")) &&
         kernel->type.size() <= kMostTaps &&
         std::all_of(padding.begin(), padding.end(), [](int64_t p) { return p >= 0; });
}

void write_out(Op* op) {
  const Builder build(op);
  Value *input = op->operand(0), *kernel = op->operand(1);
  const Ints &spatial = op->ints("input_spatial_dimensions"),
             &window = op->ints("kernel_spatial_dimensions"), &padding = op->ints("padding"),
             &steps = op->ints("window_strides"), &reversal = op->ints("window_reversal");
  const auto rank = static_cast<size_t>(input->type.rank());
  Ints low(rank, 0), high(rank, 0), strides(rank, 1);
  Dims padded_dims = input->type.dims;
  for (size_t k = 0; k < spatial.size(); ++k) {
    const auto d = static_cast<size_t>(spatial[k]);
    low[d] = padding[2 * k], high[d] = padding[2 * k + 1];
    strides[d] = steps[k];
    padded_dims[d] += low[d] + high[d];
  }
  Value* padded = build.value(OpId::pad, {input, build.splat(input->type.with(Dims{}), 0)},
                              input->type.with(std::move(padded_dims)),
                              attributes({{"edge_padding_high", Attr(high)},
                                          {"edge_padding_low", Attr(low)},
                                          {"interior_padding", Attr(Ints(rank, 0))}}));
  const ir::Type& result = op->result()->type;
  Value* sum = nullptr;
  Ints tap(rank, 0);  // in the kernel's dimensions
  for (bool more = true; more;) {
    Ints first(rank, 0), end;
    for (size_t k = 0; k < spatial.size(); ++k) {
      const int64_t at = tap[window[k]], extent = kernel->type.dims[window[k]];
      first[spatial[k]] = reversal[k] ? extent - 1 - at : at;
    }
    Ints after = tap;
    for (size_t d = 0; d < rank; ++d) {
      end.push_back(first[d] + (result.dims[d] - 1) * strides[d] + 1);
      ++after[d];
    }
    Value* moved = build.value(OpId::slice, {padded}, result,
                               attributes({{"limit_indices", Attr(std::move(end))},
                                           {"start_indices", Attr(std::move(first))},
                                           {"strides", Attr(strides)}}));
    Value* weight = build.value(OpId::slice, {kernel}, kernel->type.with(Dims(rank, 1)),
                                attributes({{"limit_indices", Attr(std::move(after))},
                                            {"start_indices", Attr(tap)},
                                            {"strides", Attr(Ints(rank, 1))}}));
    Value* spread = build.broadcast(build.reshape(weight, {}), result.dims, {});
    Value* term = build.binary(OpId::multiply, moved, spread);
    sum = sum ? build.binary(OpId::add, sum, term) : term;
    more = false;
    for (size_t d = rank; d-- > 0 && !more;) {
      more = ++tap[d] < kernel->type.dims[d];
      if (!more) tap[d] = 0;
    }
  }
  replace(op, sum);
}

}  // namespace

void expand_filters(ir::Module& module) {
  walk(module, [](Op* op) {
    if (op->id == OpId::convolution && is_filter(*op)) write_out(op);
  });
}

bool is_small_product(const Op& op) {
  if (op.id != OpId::dot_general || !is_plain(op)) return false;
  const Ints& contracted = op.ints("lhs_contracting_dimensions");
  if (contracted.size() != 1) return false;
  const Value *lhs = op.operand(0), *rhs = op.operand(1);
  const int64_t terms = lhs->type.dims[contracted[0]];
  int64_t products = op.result()->type.size() * terms;
  const bool by_vector = std::min(lhs->type.size(), rhs->type.size()) == terms;
  if (terms <= kMostSummed && by_vector && products <= kMostByVector) return true;
  for (const int64_t d : op.ints("lhs_batching_dimensions")) products /= lhs->type.dims[d];
  return terms <= kMostSummed && products <= kMostProducts;
}

Value* products_of(Op* op) {
  Value *lhs = op->operand(0), *rhs = op->operand(1);
  const Ints &lhs_batch = op->ints("lhs_batching_dimensions"),
             &rhs_batch = op->ints("rhs_batching_dimensions"),
             &lhs_contracted = op->ints("lhs_contracting_dimensions"),
             &rhs_contracted = op->ints("rhs_contracting_dimensions");
  Dims products = op->result()->type.dims;
  for (const int64_t d : lhs_contracted) products.push_back(lhs->type.dims[d]);
  const auto lhs_free = static_cast<int64_t>(lhs_batch.size());
  const int64_t rank = op->result()->type.rank();
  const int64_t rhs_free = lhs->type.rank() - static_cast<int64_t>(lhs_contracted.size());
  const Builder build(op);
  Value* a = spread(build, lhs, lhs_batch, lhs_contracted, products, lhs_free, rank);
  Value* b = spread(build, rhs, rhs_batch, rhs_contracted, products, rhs_free, rank);
  return build.binary(OpId::multiply, a, b);
}

void expand_small_product(Op* op) {
  Value* products = products_of(op);
  replace(op, Builder(op).reduce(OpId::add, products, 0, {op->result()->type.rank()}));
}

}  // namespace jaxmps::passes
