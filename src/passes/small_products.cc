// Products of a few numbers each, and convolutions of a few taps, as products and sums of arrays,
// which become fusions: a call of a kernel would take longer than its work.
#include <algorithm>

#include "passes/products.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

constexpr int64_t kMostSummed = 8;       // of a sum
constexpr int64_t kMostProducts = 128;   // of one result matrix
constexpr int64_t kMostByVector = 2048;  // of all results, where an operand is a vector
constexpr int64_t kMostTaps = 9;

bool is_float_array(const ir::Type& type) {
  return type.is_static() && !type.quantization && type.size() > 0 &&
         (type.dtype == ir::DType::f32 || type.dtype == ir::DType::f64);
}

bool is_float_array(const Op& op) {
  const ir::DType dtype = op.result()->type.dtype;
  return is_float_array(op.result()->type) && is_float_array(op.operand(0)->type) &&
         is_float_array(op.operand(1)->type) && op.operand(0)->type.dtype == dtype &&
         op.operand(1)->type.dtype == dtype;
}

// The operand with its dimensions where the products have them: those of the result in its order,
// the contracted ones in front of number `at` of them.
Value* spread(const Builder& build, const Op& dot, int operand, const Dims& products, int64_t at) {
  const int64_t contracted = products.size() - dot.result()->type.dims.size();
  Ints to;
  for (const ProductDim& dim : product_dims(dot, operand)) {
    const int64_t moved = dim.is_contracted ? at : dim.place < at ? 0 : contracted;
    to.push_back(dim.place + moved);
  }
  return build.broadcast(dot.operand(operand), products, std::move(to));
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
  return is_float_array(op) && op.i64("feature_group_count") == 1 &&
         op.i64("batch_group_count") == 1 &&
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
  for (size_t k = 0; k < spatial.size(); ++k) {
    const auto d = static_cast<size_t>(spatial[k]);
    low[d] = padding[2 * k], high[d] = padding[2 * k + 1];
    strides[d] = steps[k];
  }
  Value* padded =
      build.pad(input, build.splat(input->type.with(Dims{}), 0), low, high, Ints(rank, 0));
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
    Value* moved = build.slice(padded, result, std::move(first), std::move(end), strides);
    Value* weight =
        build.slice(kernel, kernel->type.with(Dims(rank, 1)), tap, std::move(after), Ints(rank, 1));
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
  if (op.id != OpId::dot_general || !is_float_array(op)) return false;
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

std::vector<ProductDim> product_dims(const Op& op, int operand) {
  const std::string_view side = operand == 0 ? "lhs" : "rhs";
  const Ints &batch = op.ints(str(side, "_batching_dimensions")),
             &contracted = op.ints(str(side, "_contracting_dimensions"));
  const int64_t rank = op.operand(operand)->type.rank();
  const auto rank_of_batch = static_cast<int64_t>(batch.size());
  const int64_t free = rank - rank_of_batch - static_cast<int64_t>(contracted.size());
  int64_t next_free = operand == 0 ? rank_of_batch : op.result()->type.rank() - free;
  std::vector<ProductDim> dims;
  for (int64_t d = 0; d < rank; ++d) {
    if (const auto b = std::find(batch.begin(), batch.end(), d); b != batch.end()) {
      dims.push_back({b - batch.begin(), false, false});
    } else if (const auto c = std::find(contracted.begin(), contracted.end(), d);
               c != contracted.end()) {
      dims.push_back({c - contracted.begin(), true, false});
    } else {
      dims.push_back({next_free++, false, true});
    }
  }
  return dims;
}

Value* products_of(Op* op, int64_t at) {
  Dims products = op->result()->type.dims;
  const Ints& contracted = op->ints("lhs_contracting_dimensions");
  for (size_t i = contracted.size(); i-- > 0;) {
    products.insert(products.begin() + at, op->operand(0)->type.dims[contracted[i]]);
  }
  const Builder build(op);
  Value* a = spread(build, *op, 0, products, at);
  return build.binary(OpId::multiply, a, spread(build, *op, 1, products, at));
}

Value* products_of(Op* op) { return products_of(op, op->result()->type.rank()); }

void expand_small_product(Op* op) {
  Value* products = products_of(op);
  replace(op, Builder(op).reduce(OpId::add, products, 0, {op->result()->type.rank()}));
}

}  // namespace jaxmps::passes
