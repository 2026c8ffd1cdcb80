// Rules of products, convolutions, transforms and linear algebra.
#include <algorithm>

#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

Ints joined(const Ints& a, const Ints& b) {
  Ints out = a;
  out.insert(out.end(), b.begin(), b.end());
  return out;
}

// The sizes along the dimensions not in `used`, in order, appended to `dims`.
void append_free(const Type& type, const Ints& used, Dims& dims) {
  for (int64_t i = 0; i < type.rank(); ++i) {
    if (!contains(used, i)) dims.push_back(type.dims[i]);
  }
}

Reason paired(const Op& op, std::string_view kind, const Ints& lhs, const Ints& rhs) {
  NEED(lhs.size() == rhs.size(), "as many ", kind, " dimensions on both sides are needed, not ",
       lhs, " and ", rhs);
  for (size_t i = 0; i < lhs.size(); ++i) {
    const int64_t left = operand_type(op, 0).dims[lhs[i]], right = operand_type(op, 1).dims[rhs[i]];
    NEED(same_size(left, right), "the ", kind, " dimensions ", lhs[i], " and ", rhs[i],
         " have sizes ", left, " and ", right);
  }
  return {};
}

Reason dot_general(const Op& op) {
  const Type &lhs = operand_type(op, 0), &rhs = operand_type(op, 1);
  const Ints &lhs_batch = op.ints("lhs_batching_dimensions"),
             &rhs_batch = op.ints("rhs_batching_dimensions"),
             &lhs_contract = op.ints("lhs_contracting_dimensions"),
             &rhs_contract = op.ints("rhs_contracting_dimensions");
  const Ints lhs_used = joined(lhs_batch, lhs_contract), rhs_used = joined(rhs_batch, rhs_contract);
  NEED_OK(check_axes("the batching and contracting dimensions of operand 0", lhs_used, lhs.rank()));
  NEED_OK(check_axes("the batching and contracting dimensions of operand 1", rhs_used, rhs.rank()));
  NEED_OK(paired(op, "batching", lhs_batch, rhs_batch));
  NEED_OK(paired(op, "contracting", lhs_contract, rhs_contract));
  Dims expected;
  for (int64_t dim : lhs_batch) expected.push_back(lhs.dims[dim]);
  append_free(lhs, lhs_used, expected);
  append_free(rhs, rhs_used, expected);
  return match_dims("the result", expected, result_type(op).dims);
}

Reason dot(const Op& op) {
  const Type &lhs = operand_type(op, 0), &rhs = operand_type(op, 1);
  NEED(lhs.rank() >= 1 && lhs.rank() <= 2 && rhs.rank() >= 1 && rhs.rank() <= 2,
       "operands are vectors or matrices, not ", brief(lhs), " and ", brief(rhs));
  NEED(same_size(lhs.dims.back(), rhs.dims[0]), "the contracted sizes are ", lhs.dims.back(),
       " and ", rhs.dims[0]);
  Dims expected;
  if (lhs.rank() == 2) expected.push_back(lhs.dims[0]);
  if (rhs.rank() == 2) expected.push_back(rhs.dims[1]);
  return match_dims("the result", expected, result_type(op).dims);
}

// Batch, feature and spatial dimensions of one side: each dimension exactly once.
Reason check_layout(std::string_view side, const Ints& dims, int64_t rank) {
  NEED(static_cast<int64_t>(dims.size()) == rank, side, " dimension numbers name ", dims.size(),
       " dimensions; the rank is ", rank);
  return check_axes(str(side, " dimension numbers"), dims, rank);
}

Reason check_groups(const Type& lhs, const Type& rhs, const Op& op) {
  const int64_t features = op.i64("feature_group_count"), batches = op.i64("batch_group_count");
  NEED(features >= 1 && batches >= 1 && (features == 1 || batches == 1), "feature_group_count ",
       features, " and batch_group_count ", batches, ": both must be positive and one of them 1");
  const int64_t in = lhs.dims[op.i64("input_feature_dimension")],
                kernel_in = rhs.dims[op.i64("kernel_input_feature_dimension")],
                kernel_out = rhs.dims[op.i64("kernel_output_feature_dimension")],
                batch = lhs.dims[op.i64("input_batch_dimension")];
  if (is_known(in)) {
    NEED(in % features == 0 && same_size(kernel_in, in / features), in, " input features in ",
         features, " groups do not fit a kernel of ", kernel_in, " input features");
  }
  NEED(!is_known(kernel_out) || (kernel_out % features == 0 && kernel_out % batches == 0),
       kernel_out, " output features cannot be split into groups of ", std::max(features, batches));
  NEED(!is_known(batch) || batch % batches == 0, "batch size ", batch, " cannot be split into ",
       batches, " groups");
  return {};
}

Reason check_conv(const Op& op, const Ints* padding) {
  const Type &lhs = operand_type(op, 0), &rhs = operand_type(op, 1), &out = result_type(op);
  const int64_t rank = lhs.rank(), spatial = rank - 2;
  NEED(rank >= 2 && rhs.rank() == rank && out.rank() == rank,
       "operands and result must have one rank of at least 2");
  const Ints &in_dims = op.ints("input_spatial_dimensions"),
             &kernel_dims = op.ints("kernel_spatial_dimensions"),
             &out_dims = op.ints("output_spatial_dimensions");
  const int64_t batch = op.i64("input_batch_dimension"),
                kernel_out = op.i64("kernel_output_feature_dimension"),
                out_batch = op.i64("output_batch_dimension"),
                out_feature = op.i64("output_feature_dimension");
  NEED_OK(check_layout("input", joined({batch, op.i64("input_feature_dimension")}, in_dims), rank));
  NEED_OK(check_layout(
      "kernel", joined({op.i64("kernel_input_feature_dimension"), kernel_out}, kernel_dims), rank));
  NEED_OK(check_layout("output", joined({out_batch, out_feature}, out_dims), rank));
  for (std::string_view list : {"window_strides", "lhs_dilation", "rhs_dilation"}) {
    NEED_OK(check_length(list, op.ints(list), spatial));
    NEED_OK(all_at_least(list, op.ints(list), 1));
  }
  NEED_OK(check_length("window_reversal", op.ints("window_reversal"), spatial));
  if (padding) NEED_OK(check_length("padding", *padding, 2 * spatial));
  NEED_OK(check_groups(lhs, rhs, op));
  Dims expected(rank, kDynamic);
  if (is_known(lhs.dims[batch])) {
    expected[out_batch] = lhs.dims[batch] / op.i64("batch_group_count");
  }
  expected[out_feature] = rhs.dims[kernel_out];
  for (int64_t i = 0; padding && i < spatial; ++i) {
    const int64_t kernel = rhs.dims[kernel_dims[i]];
    if (!is_known(kernel)) continue;
    expected[out_dims[i]] = window_output(
        lhs.dims[in_dims[i]],
        {kernel, op.ints("window_strides")[i], (*padding)[2 * i], (*padding)[2 * i + 1],
         op.ints("rhs_dilation")[i], op.ints("lhs_dilation")[i]});
  }
  return match_dims("the result", expected, out.dims);
}

Reason convolution(const Op& op) { return check_conv(op, &op.ints("padding")); }

Reason dynamic_conv(const Op& op) {
  const Type& padding = operand_type(op, 2);
  NEED(padding.is_tensor() && padding.rank() == 2 && is_int(padding.dtype),
       "the padding must be a matrix of integers, is ", brief(padding));
  return check_conv(op, nullptr);
}

Reason einsum(const Op& op) {
  NEED(op.text("einsum_config").find("->") != std::string::npos,
       "einsum_config has no '->': ", op.text("einsum_config"));
  return {};
}

Reason fft(const Op& op) {
  const Type &from = operand_type(op), &to = result_type(op);
  const Ints& length = op.ints("fft_length");
  const auto type = op.enum_attr<FftType>("fft_type");
  const int64_t count = static_cast<int64_t>(length.size());
  NEED(count >= 1 && count <= 3 && count <= from.rank(), "fft_length must name 1 to 3 of ",
       from.rank(), " dimensions, is ", length);
  NEED_OK(all_at_least("fft_length", length, 0));
  NEED(is_complex(from.dtype) != (type == FftType::rfft), "operand 0 must be ",
       type == FftType::rfft ? "real" : "complex", ", is ", brief(from));
  NEED(is_complex(to.dtype) != (type == FftType::irfft), "the result must be ",
       type == FftType::irfft ? "real" : "complex", ", is ", brief(to));
  NEED(real_type(from.dtype) == real_type(to.dtype), brief(from), " cannot become ", brief(to));
  Dims in = from.dims, out = from.dims;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t dim = from.rank() - count + i;
    const int64_t half = length[i] == 0 ? 0 : length[i] / 2 + 1;
    const bool last = i + 1 == count;
    in[dim] = last && type == FftType::irfft ? half : length[i];
    out[dim] = last && type == FftType::rfft ? half : length[i];
  }
  NEED_OK(match_dims("operand 0", in, from.dims));
  return match_dims("the result", out, to.dims);
}

Reason cholesky(const Op& op) { return check_shapes(op, "Tnn -> Tnn"); }

Reason triangular_solve(const Op& op) {
  NEED_OK(check_shapes(op, "Tnn Tpq -> Tpq"));
  NEED(op.enum_attr<Transpose>("transpose_a") != Transpose::invalid, "transpose_a is not given");
  return check_triangle(op, op.flag("left_side"));
}

// Operands 1 ... are vectors along the feature dimension, except `full`, which is like operand 0.
Reason check_batch_norm(const Op& op, int full) {
  const Type& input = operand_type(op);
  NEED_OK(check_axis("feature_index", op.i64("feature_index"), input.rank()));
  NEED(in_class(input.dtype, kFloat), "operand 0 must be floating, is ", brief(input));
  const Type vector = input.with(Dims{input.dims[op.i64("feature_index")]});
  std::vector<Type> operands(op.operand_count(), vector), results(op.result_count(), vector);
  operands[0] = results[0] = input;
  if (full > 0) operands[full] = input;
  NEED_OK(match_all("operand", operands, operand_types(op)));
  return match_all("result", results, result_types(op));
}

Reason batch_norm(const Op& op) { return check_batch_norm(op, -1); }
Reason batch_norm_grad(const Op& op) { return check_batch_norm(op, 4); }

}  // namespace

Rules dot_conv_rules() {
  return {
      {OpId::dynamic_conv, 3, 1, 0, dynamic_conv},
      {OpId::convolution, 2, 1, 0, convolution},
      {OpId::dot_general, 2, 1, 0, dot_general},
      {OpId::dot, 2, 1, 0, dot},
      {OpId::einsum, 2, 1, 0, einsum},
      {OpId::unary_einsum, 1, 1, 0, einsum},
      {OpId::fft, 1, 1, 0, fft},
      {OpId::cholesky, 1, 1, 0, cholesky},
      {OpId::triangular_solve, 2, 1, 0, triangular_solve},
      {OpId::batch_norm_training, 3, 3, 0, batch_norm},
      {OpId::batch_norm_inference, 5, 1, 0, batch_norm},
      {OpId::batch_norm_grad, 5, 3, 0, batch_norm_grad},
  };
}

}  // namespace jaxmps::ir::rules
