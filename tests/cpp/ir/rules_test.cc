// The verifier's rules, one row per refusal: a right op, a small change to it, and what is said.
#include <gtest/gtest.h>

#include <set>

#include "ir/op_text.h"
#include "ir/verify_rules.h"

namespace jaxmps::testing {
namespace {

struct Change {
  std::string from, to, says;
};
struct Row {
  std::string valid;
  std::vector<Change> changes = {};
};
using Rows = std::vector<Row>;

std::string said_of(const std::string& text) {
  Program p;
  OpText(text).build(p);
  const Status status = ir::verify(p.module);
  return status.ok() ? "" : status.error().text;
}

void expect(const Rows& rows) {
  for (const auto& [valid, changes] : rows) {
    EXPECT_EQ(said_of(valid), "") << valid;
    for (const auto& [from, to, says] : changes) {
      std::string changed = valid;
      const size_t at = changed.find(from);
      ASSERT_NE(at, std::string::npos) << from << " is not in: " << valid;
      changed.replace(at, from.size(), to);
      const std::string text = said_of(changed) + "\n";
      EXPECT_NE(text.find(": " + says + "\n"), std::string::npos) << changed << text;
    }
  }
}

const Rows& elementwise() {
  static const Rows rows = {
      {"add f32[2] f32[2] -> f32[2]",
       {{"f32[2] f32[2] ->", "f32[2] ->", "needs 2 operands, has 1"},
        {"-> f32[2]", "-> f32[2] f32[2]", "needs 1 result, has 2"},
        {"-> f32[2]", "-> f32[2] {-> f32[]}", "needs 0 regions, has 1"},
        {"f32[2] ->", "token ->", "operand 1 must be a tensor, is !stablehlo.token"},
        {"-> f32[2]", "-> token", "result 0 must be a tensor, is !stablehlo.token"},
        {"f32[2] ->", "f32[3] ->", "operand 1 must be f32[2], is f32[3]"},
        {"-> f32[2]", "-> f32[3]", "the result must be f32[2], is f32[3]"},
        {"f32[2] f32[2]", "f32[-2] f32[2]", "negative size in f32[-2]"},
        {"f32[2] f32[2]", "f32[999999999999,999999999999] f32[2]",
         "f32[999999999999,999999999999] is too large"},
        {"f32[2] f32[2]", "f32[999999999999999] f32[2]", "f32[999999999999999] is too large"}}},
      {"add f32[?] f32[4] -> f32[4]"},
      {"floor f32[2] -> f32[2]",
       {{"f32[2] -> f32[2]", "s32[2] -> s32[2]",
         "operand 0 has the element type i32, which the op does not take"}}},
      {"and s32[2] s32[2] -> s32[2]",
       {{"s32[2] s32[2] -> s32[2]", "f32[2] f32[2] -> f32[2]",
         "operand 0 has the element type f32, which the op does not take"}}},
      {"abs c64[2] -> f32[2]",
       {{"-> f32[2]", "-> c64[2]", "the result must be f32[2], is c64[2]"}}},
      {"real c64[2] -> f32[2]", {{"-> f32", "-> f64", "the result must be f32[2], is f64[2]"}}},
      {"imag c64[2] -> f32[2]",
       {{"c64", "s32", "operand 0 has the element type i32, which the op does not take"}}},
      {"complex f32[2] f32[2] -> c64[2]",
       {{"f32[2] f32[2]", "f16[2] f16[2]", "operand 0 must be f32 or f64, is f16[2]"},
        {"f32[2] f32[2]", "token token", "operand 0 must be a tensor, is !stablehlo.token"}}},
      {"compare f32[2] f32[2] -> pred[2] comparison_direction=$LT compare_type=$NOTYPE",
       {{"f32[2] f32[2]", "c64[2] c64[2]", "complex numbers compare only with EQ and NE"},
        {"pred[2]", "f32[2]", "the result must be pred[2], is f32[2]"},
        {"f32[2] f32[2] -> pred[2] comparison_direction=$LT compare_type=$NOTYPE",
         "s32[2] s32[2] -> pred[2] comparison_direction=$LT compare_type=$TOTALORDER",
         "operand 0 of a TOTALORDER comparison has the element type i32, which the op does not "
         "take"}}},
      {"clamp f32[] f32[3] f32[3] -> f32[3]",
       {{"clamp f32", "clamp s32", "operand 0 must have the element type f32, is s32[]"},
        {"f32[3] ->", "f32[2] ->", "operand 2 must have the shape [3], has [2]"}}},
      {"select pred[] f32[2] f32[2] -> f32[2]",
       {{"pred", "f32", "operand 0 must be i1, is f32[]"},
        {"pred[]", "pred[3]", "operand 0 must have the shape [2], has [3]"}}},
      {"reduce_precision f32[2] -> f32[2] exponent_bits=5 mantissa_bits=2",
       {{"=5", "=0", "exponent_bits must be at least 1, is 0"},
        {"=2", "=-1", "mantissa_bits must not be negative, is -1"}}},
      {"constant -> f32[2] value=zeros:f32[2]",
       {{"zeros:f32[2]", "zeros:f32[3]", "the result must be f32[3], is f32[2]"}}},
      {"iota -> s32[3] iota_dimension=0",
       {{"=0", "=1", "iota_dimension is 1; the rank is 1"},
        {"s32", "pred", "the result has the element type i1, which the op does not take"}}},
      {"convert f32[2] -> s32[2]",
       {{"s32[2]", "s32[3]", "the result must have the shape [2], has [3]"}}},
      {"uniform_quantize f32[2] -> q[2]",
       {{"q[2]", "f32[2]", "the result must be quantised, is f32[2]"}}},
      {"uniform_dequantize q[2] -> f32[2]",
       {{"q[2]", "f32[2]", "operand 0 must be quantised, is f32[2]"},
        {"-> f32", "-> f16", "the result must have the type expressed, is f16[2]"}}},
      {"mps.threefry2x32 u32[2] u32[2] u32[2] u32[2] -> u32[2] u32[2]",
       {{"threefry2x32 u32", "threefry2x32 s32", "operand 0 must be u32[2], is s32[2]"}}},
  };
  return rows;
}

const Rows& shapes() {
  static const Rows rows = {
      {"broadcast f32[3] -> f32[2,3] broadcast_sizes=[2]",
       {{"f32[2,3]", "f32[2,4]", "the result must have the shape [2,3], has [2,4]"}}},
      {"broadcast_in_dim f32[3] -> f32[2,3] broadcast_dimensions=[1]",
       {{"f32[2,3]", "f32[2,4]", "dimension 0 of the operand has size 3 and cannot become 4"},
        {"[1]", "[1,0]", "broadcast_dimensions must have 1 entries, has 2"},
        {"[1]", "[2]", "broadcast_dimensions is 2; the rank is 2"},
        {"-> f32", "-> s32", "the result must have the element type of f32[3], is s32[2,3]"}}},
      {"concatenate f32[2,3] f32[4,3] -> f32[6,3] dimension=0",
       {{"f32[2,3] f32[4,3] ", "", "needs at least one operand"},
        {"f32[4,3]", "f32[4]", "operand 1 does not fit operand 0: f32[4] and f32[2,3]"},
        {"f32[4,3]", "f32[4,4]", "operand 1 must have the shape [4,3], has [4,4]"},
        {"=0", "=2", "dimension is 2; the rank is 2"}}},
      {"slice f32[4] -> f32[3] start_indices=[1] limit_indices=[4] strides=[1]",
       {{"limit_indices=[4]", "limit_indices=[5]",
         "[1, 5) is no range of dimension 0, which has size 4"},
        {"start_indices=[1]", "start_indices=[999999999999999]",
         "start_indices is out of range: 999999999999999"},
        {"strides=[1]", "strides=[0]", "strides must be at least 1, is [0]"}}},
      {"dynamic_slice f32[4] s32[] -> f32[2] slice_sizes=[2]",
       {{"f32[4] s32[] ", "", "needs an operand"},
        {"s32[]", "f32[]", "operand 1 must be an integer scalar, is f32[]"},
        {"s32[]", "s32[] s32[]", "needs 1 start indices, has 2"},
        {"slice_sizes=[2]", "slice_sizes=[5]", "slice size 5 of dimension 0, which has size 4"}}},
      {"dynamic_update_slice f32[4] f32[2] s32[] -> f32[4]",
       {{"f32[2] s32[] ", "", "needs an operand and an update"},
        {"s32[]", "s32[] s32[]", "needs 1 start indices, has 2"},
        {"f32[2]", "f32[2,1]", "the update does not fit: f32[2,1] into f32[4]"},
        {"f32[2]", "f32[5]", "the update is larger than the operand: f32[5] into f32[4]"}}},
      {"pad f32[4] f32[] -> f32[6] edge_padding_low=[1] edge_padding_high=[1] interior_padding=[0]",
       {{"f32[]", "s32[]", "the padding value must be a f32 scalar, is s32[]"},
        {"f32[6]", "f32[7]", "the result must have the shape [6], has [7]"},
        {"low=[1]", "low=[-9]", "dimension 0 would have size -4"},
        {"interior_padding=[0]", "interior_padding=[-1]",
         "interior_padding must be at least 0, is [-1]"}}},
      {"reshape f32[2,3] -> f32[6]", {{"f32[6]", "f32[5]", "6 elements cannot become f32[5]"}}},
      {"reverse f32[4] -> f32[4] dimensions=[0]",
       {{"[0]", "[0,0]", "dimensions names dimension 0 twice"},
        {"f32[4] -> f32[4] dimensions=[0]", "token -> token dimensions=[]",
         "operand 0 must be a tensor, is !stablehlo.token"}}},
      {"transpose f32[2,3] -> f32[3,2] permutation=[1,0]",
       {{"[1,0]", "[1,1]", "permutation names dimension 1 twice"}}},
      {"bitcast_convert f32[4] -> u8[4,4]",
       {{"u8[4,4]", "u8[4]", "the result must have the shape [4,4], has [4]"},
        {"f32", "c64", "complex numbers are not reinterpreted: c64[4] as u8[4,4]"},
        {"f32", "f6e2m3fn", "f6e2m3fn[4] cannot be read as ui8"}}},
      {"get_dimension_size f32[4] -> s32[] dimension=0"},
      {"set_dimension_size f32[4] s32[] -> f32[?] dimension=0",
       {{"s32[]", "f32[]", "operand 1 must be an integer scalar, is f32[]"}}},
      {"torch_index_select f32[4,5] s32[3] -> f32[3,5] dim=0 batch_dims=0",
       {{"s32", "f32", "the index must hold integers, is f32[3]"},
        {"batch_dims=0", "batch_dims=1",
         "batch_dims is 1; it may not exceed dim 0 and the index's rank 1"}}},
      {"dynamic_broadcast_in_dim f32[3] s32[2] -> f32[2,3] broadcast_dimensions=[1]",
       {{"s32[2]", "s32[3]", "operand 1 must hold 2 integers, is s32[3]"}}},
      {"dynamic_iota s32[1] -> f32[?] iota_dimension=0"},
      {"dynamic_pad f32[4] f32[] s32[1] s32[1] s32[1] -> f32[?]",
       {{"f32[]", "s32[]", "the padding value must be a scalar of the operand's type, is s32[]"},
        {"[?]", "[?,?]", "the result has rank 2, the operand 1"}}},
      {"dynamic_reshape f32[6] s32[2] -> f32[2,3]",
       {{"f32[2,3]", "f32[2,2]", "6 elements cannot become f32[2,2]"}}},
      {"real_dynamic_slice f32[4] s32[1] s32[1] s32[1] -> f32[?]",
       {{"[?]", "[?,?]", "the result has rank 2, the operand 1"}}},
  };
  return rows;
}

const Rows& reductions() {
  static const Rows rows = {
      {"reduce f32[2,3] f32[] -> f32[2] dimensions=[1] {f32[] f32[] -> f32[]}",
       {{"f32[2,3] f32[] ->", "f32[2,3] ->",
         "needs as many initial values as inputs, has 1 operands"},
        {"f32[2] d", "f32[2] f32[2] d", "needs 1 results, has 2"},
        {"f32[2] d", "f32[3] d", "result 0 must be f32[2], is f32[3]"},
        {"[1]", "[2]", "dimensions is 2; the rank is 2"},
        {"f32[] -> f32[2]", "f32[1] -> f32[2]", "the initial value must be a scalar, is f32[1]"},
        {"{f32[] f32[]", "{", "the reducer must take 2 arguments, takes 0"},
        {"{f32[] f32[]", "{f32[] f32[] f32[]", "the reducer must take 2 arguments, takes 3"},
        {"{f32[] f32[] -> f32[]}", "{f32[1] f32[1] -> f32[1]}",
         "the reducer's argument 0 must be a scalar, is f32[1]"},
        {"{f32[] f32[] -> f32[]}", "{f16[] f16[] -> f16[]}",
         "operand 0 of type f32[2,3] cannot be accumulated in f16[]"},
        {"f32[]}", "f32[] f32[]}", "the reducer must return 1 values, returns 2"},
        {"-> f32[]}", "!}", "has a region without a terminator"}}},
      {"reduce_window f32[8] f32[] -> f32[4] window_dimensions=[2] window_strides=[2] "
       "base_dilations=[1] window_dilations=[1] padding=[0,0] {f32[] f32[] -> f32[]}",
       {{"f32[4]", "f32[5]", "result 0 must be f32[4], is f32[5]"},
        {"[0,0]", "[0]", "padding must have 2 entries, has 1"},
        {"strides=[2]", "strides=[0]", "window_strides must be at least 1, is [0]"}}},
      {"select_and_scatter f32[4] f32[2] f32[] -> f32[4] window_dimensions=[2] "
       "window_strides=[2] padding=[0,0] {f32[] f32[] -> pred[]} {f32[] f32[] -> f32[]}",
       {{"f32[2]", "s32[2]", "the source must have the element type of f32[4], is s32[2]"},
        {"f32[2]", "f32[3]", "the source must have the shape [2], has [3]"},
        {"f32[] ->", "f32[1] ->", "the initial value must be a scalar, is f32[1]"},
        {"{f32[] f32[] -> f32[]}", "{f32[] -> f32[]}",
         "the reducer must take 2 arguments, takes 1"},
        {"{f32[] f32[] -> f32[]}", "{f32[4] f32[4] -> f32[4]}",
         "the reducer's argument 0 must be a scalar, is f32[4]"}}},
      {"sort f32[4] s32[4] -> f32[4] s32[4] dimension=0 is_stable=true "
       "{f32[] f32[] s32[] s32[] -> pred[]}",
       {{"f32[4] s32[4] -> f32[4] s32[4]", "", "needs an operand"},
        {"-> f32[4] s32[4]", "-> f32[4]", "needs 2 results, has 1"},
        {"=0", "=1", "dimension is 1; the rank is 1"},
        {"{f32[] f32[]", "{f32[] f16[]", "the comparator: argument 1 must be f32[], is f16[]"}}},
      {"map f32[3] -> f32[3] dimensions=[0] {f32[] -> f32[]}",
       {{"f32[3] ->", "->", "needs an operand"},
        {"[0]", "[1]", "dimensions must be 0, 1, 2 ..., is [1]"}}},
      {"mps.top_k f32[4] -> f32[2] s32[2] k=2",
       {{"f32[4] -> f32[2] s32[2]", "f32[] -> f32[] s32[]", "needs at least one dimension"},
        {"k=2", "k=5", "k is 5; the last dimension has size 4"}}},
      {"mps.cumulative f32[4] -> f32[4] kind=\"add\" dimension=0 reverse=false",
       {{"add", "and", "unknown kind and"}}},
  };
  return rows;
}

const std::string kConv =
    "f32[2,10,4,4] batch_group_count=1 feature_group_count=1 input_batch_dimension=0 "
    "input_feature_dimension=1 input_spatial_dimensions=[2,3] kernel_input_feature_dimension=1 "
    "kernel_output_feature_dimension=0 kernel_spatial_dimensions=[2,3] lhs_dilation=[1,1] "
    "output_batch_dimension=0 output_feature_dimension=1 output_spatial_dimensions=[2,3] "
    "rhs_dilation=[1,1] window_reversal=[0,0] window_strides=[2,2]";

const Rows& products() {
  static const Rows rows = {
      {"dot_general f32[2,3,4] f32[2,4,5] -> f32[2,3,5] lhs_batching_dimensions=[0] "
       "rhs_batching_dimensions=[0] lhs_contracting_dimensions=[2] rhs_contracting_dimensions=[1]",
       {{"lhs_contracting_dimensions=[2]", "lhs_contracting_dimensions=[1]",
         "the contracting dimensions 1 and 1 have sizes 3 and 4"},
        {"lhs_contracting_dimensions=[2]", "lhs_contracting_dimensions=[0]",
         "the batching and contracting dimensions of operand 0 names dimension 0 twice"},
        {"rhs_batching_dimensions=[0]", "rhs_batching_dimensions=[]",
         "as many batching dimensions on both sides are needed, not [0] and []"}}},
      {"dot f32[2,3] f32[3] -> f32[2]",
       {{"f32[3]", "f32[4]", "the contracted sizes are 3 and 4"},
        {"f32[3]", "f32[]", "operands are vectors or matrices, not f32[2,3] and f32[]"}}},
      {"convolution f32[2,6,8,8] f32[10,6,3,3] -> " + kConv + " padding=[1,1,1,1]",
       {{"f32[10,6,3,3]", "f32[10,6,3]", "operands and result must have one rank of at least 2"},
        {"input_spatial_dimensions=[2,3]", "input_spatial_dimensions=[2]",
         "input dimension numbers name 3 dimensions; the rank is 4"},
        {"feature_group_count=1", "feature_group_count=0",
         "feature_group_count 0 and batch_group_count 1: both must be positive and one of them 1"},
        {"feature_group_count=1", "feature_group_count=3",
         "6 input features in 3 groups do not fit a kernel of 6 input features"},
        {"batch_group_count=1", "batch_group_count=4",
         "10 output features cannot be split into groups of 4"},
        {"batch_group_count=1", "batch_group_count=5",
         "batch size 2 cannot be split into 5 groups"},
        {"[2,10,4,4]", "[2,10,8,8]", "the result must have the shape [2,10,4,4], has [2,10,8,8]"}}},
      {"dynamic_conv f32[2,6,8,8] f32[10,6,3,3] s32[2,2] -> " + kConv,
       {{"s32[2,2]", "s32[4]", "the padding must be a matrix of integers, is s32[4]"}}},
      {"einsum f32[2] f32[2] -> f32[] einsum_config=\"i,i->\"",
       {{"i,i->", "i,i", "einsum_config has no '->': i,i"}}},
      {"unary_einsum f32[2] -> f32[] einsum_config=\"i->\""},
      {"fft c64[4] -> c64[4] fft_length=[4] fft_type=$FFT",
       {{"length=[4]", "length=[]", "fft_length must name 1 to 3 of 1 dimensions, is []"},
        {"c64[4]", "f32[4]", "operand 0 must be complex, is f32[4]"},
        {"-> c64", "-> f32", "the result must be complex, is f32[4]"},
        {"-> c64", "-> c128", "c64[4] cannot become c128[4]"}}},
      {"fft f32[4] -> c64[3] fft_length=[4] fft_type=$RFFT"},
      {"fft c64[3] -> f32[4] fft_length=[4] fft_type=$IRFFT"},
      {"cholesky f32[3,3] -> f32[3,3] lower=true",
       {{"f32[3,3]", "f32[3,4]", "operand 0 must be square, is f32[3,4]"},
        {"f32[3,3]", "s32[3,3]",
         "operand 0 must be a matrix of floats or complex numbers, is s32[3,3]"}}},
      {"triangular_solve f32[3,3] f32[3,2] -> f32[3,2] left_side=true lower=true "
       "transpose_a=$TRANSPOSE unit_diagonal=false",
       {{"f32[3,2]", "f32[3]", "operand 1 must be f32[?,?], is f32[3]"},
        {"f32[3,2] -> f32[3,2]", "f32[4,2] -> f32[4,2]",
         "operand 1 of f32[4,2] does not fit a triangle of f32[3,3]"},
        {"$TRANSPOSE", "$INVALID", "transpose_a is not given"}}},
      {"batch_norm_training f32[2,3] f32[3] f32[3] -> f32[2,3] f32[3] f32[3] epsilon=0.1 "
       "feature_index=1",
       {{"=1", "=2", "feature_index is 2; the rank is 2"},
        {"f32[2,3]", "s32[2,3]", "operand 0 must be floating, is s32[2,3]"}}},
      {"batch_norm_inference f32[2,3] f32[3] f32[3] f32[3] f32[3] -> f32[2,3] epsilon=0.1 "
       "feature_index=1"},
      {"batch_norm_grad f32[2,3] f32[3] f32[3] f32[3] f32[2,3] -> f32[2,3] f32[3] f32[3] "
       "epsilon=0.1 feature_index=1"},
  };
  return rows;
}

const Rows& gathers() {
  static const std::string gather =
      "-> f32[3,4] offset_dims=[1] collapsed_slice_dims=[0] operand_batching_dims=[] "
      "start_indices_batching_dims=[] start_index_map=[0] index_vector_dim=1 "
      "indices_are_sorted=false";
  static const Rows rows = {
      {"gather f32[8,4] s32[3,1] " + gather + " slice_sizes=[1,4]",
       {{"s32", "f32", "the indices must be integers, are f32[3,1]"},
        {"vector_dim=1", "vector_dim=3", "index_vector_dim is 3; the indices have rank 2"},
        {"s32[3,1]", "s32[3,2]", "the indices have 2 components for 1 dimensions"},
        {"indices_batching_dims=[]", "indices_batching_dims=[1]",
         "index_vector_dim is among the batching dimensions"},
        {"indices_batching_dims=[]", "indices_batching_dims=[0]",
         "the batching dimensions of operand and indices differ in number"},
        {"collapsed_slice_dims=[0] operand_batching_dims=[] start_indices_batching_dims=[]",
         "collapsed_slice_dims=[] operand_batching_dims=[0] start_indices_batching_dims=[0]",
         "dimension 0 is both batching and indexed"},
        {"operand_batching_dims=[] start_indices_batching_dims=[]",
         "operand_batching_dims=[1] start_indices_batching_dims=[0]",
         "batching dimension 0 has two sizes: 4 and 3"},
        {"offset_dims=[1]", "offset_dims=[1,0]", "the window has 1 dimensions, but 2 are named"},
        {"offset_dims=[1] collapsed_slice_dims=[0]", "offset_dims=[1,0] collapsed_slice_dims=[]",
         "offset_dims must ascend, is [1, 0]"},
        {"sizes=[1,4]", "sizes=[1,5]", "slice size 5 of dimension 1, which has size 4"},
        {"sizes=[1,4]", "sizes=[0,4]", "slice size 0 of dimension 0, which is collapsed"},
        {"-> f32", "-> s32", "the result must have the element type of f32[8,4], is s32[3,4]"},
        {"[3,4]", "[3,5]", "the result must have the shape [3,4], has [3,5]"}}},
      {"gather f32[8,4] s32[0,1] -> f32[0,4]" + gather.substr(11) + " slice_sizes=[0,4]"},
      {"dynamic_gather f32[8,4] s32[3,1] s32[2] " + gather,
       {{"s32[2]", "f32[2]", "the slice sizes must be a vector of integers, are f32[2]"}}},
      {"scatter f32[8,4] s32[3,1] f32[3,4] -> f32[8,4] update_window_dims=[1] "
       "inserted_window_dims=[0] input_batching_dims=[] scatter_indices_batching_dims=[] "
       "scatter_dims_to_operand_dims=[0] index_vector_dim=1 indices_are_sorted=false "
       "unique_indices=false {f32[] f32[] -> f32[]}",
       {{"f32[3,4] ", "", "needs inputs, indices and as many updates, has 2 operands"},
        {"f32[3,4]", "f32[3,5]",
         "the update's window has size 5 along dimension 1, which has size 4"},
        {"f32[3,4]", "f32[2,4]", "the updates must have the shape [3,4], has [2,4]"},
        {"f32[3,4]", "s32[3,4]",
         "the updates must have the element type of f32[8,4], are s32[3,4]"},
        {"{f32[] f32[]", "{f32[]", "the combiner must take 2 arguments, takes 1"},
        {"{f32[] f32[] -> f32[]}", "{f32[1] f32[1] -> f32[1]}",
         "the combiner's argument 0 must be a scalar, is f32[1]"}}},
  };
  return rows;
}

const Rows& control() {
  static const Rows rows = {
      {"while f32[2] -> f32[2] {f32[2] -> pred[]} {f32[2] -> f32[2]}",
       {{"f32[2]}", "s32[2]}", "the body: result 0 must be f32[2], is s32[2]"},
        {"while f32[2]", "while f32[2] f32[2]", "needs 2 results, has 1"}}},
      {"if pred[] -> f32[] {-> f32[]} {-> f32[]}",
       {{"pred", "s32", "the condition must be i1[], is s32[]"}}},
      {"case s32[] -> f32[] {-> f32[]}",
       {{"s32", "u32", "the index must be s32[], is u32[]"},
        {" {-> f32[]}", "", "needs at least one branch"}}},
      {"@f{f32[2] -> f32[2]} func.call f32[2] -> f32[2] callee=@f",
       {{"=@f", "=@g", "calls @g, which does not exist"},
        {"=@f", "=@main", "calls itself"},
        {"@f{f32[2] -> f32[2]}", "@f", "calls @f, which has no body"},
        {"call f32[2]", "call f32[3]", "operand 0 of @f must be f32[2], is f32[3]"},
        {"call f32[2]", "call", "needs 1 operand of @f, has 0"}}},
      {"@f{f32[2] -> f32[2]} composite f32[2] -> f32[2] decomposition=@f name=\"x\" "
       "composite_attributes=<> version=1",
       {{"=@f", "=@g", "calls @g, which does not exist"}}},
      {"tuple f32[2] s32[] -> tuple<f32[2]|s32[]>",
       {{"tuple<f32[2]|s32[]>", "f32[2]", "the result must be a tuple, is f32[2]"},
        {"|s32[]", "", "needs 1 operand, has 2"}}},
      {"get_tuple_element tuple<f32[2]|s32[]> -> s32[] index=1",
       {{"=1", "=2", "index is 2; the tuple has 2 elements"},
        {"tuple<f32[2]|s32[]>", "s32[]", "operand 0 must be a tuple, is s32[]"}}},
      {"optimization_barrier f32[2] token -> f32[2] token",
       {{"f32[2] token ->", "f32[2] ->", "needs 1 result, has 2"}}},
      {"builtin.unrealized_conversion_cast f32[2] -> f32[2]"},
      {"mps.fusion f32[2] -> f32[2] {f32[2] -> f32[2]}"},
      {"sdy.sharding_constraint f32[2] -> f32[2] sharding=<>"},
      {"sdy.reshard f32[2] -> f32[2] sharding=<>"},
      {"sdy.propagation_barrier f32[2] -> f32[2] allowed_direction=0"},
      {"sdy.data_flow_edge f32[2] -> f32[2]"},
      {"sdy.sharding_group f32[2] -> group_id=1"},
      {"sdy.named_computation f32[2] -> f32[2] name=\"x\" {f32[2] -> f32[2]}"},
      {"sdy.manual_computation f32[4] -> f32[4] in_shardings=() manual_axes=() out_shardings=() "
       "{f32[2] -> f32[2]}",
       {{"{f32[2]", "{", "the body must take 1 arguments, takes 0"},
        {"f32[2]}", "}", "the body must return 1 values"}}},
  };
  return rows;
}

const Rows& others() {
  static const std::string group = "channel_id=1 replica_groups=#[[0,1]]";
  static const Rows rows = {
      {"after_all token token -> token",
       {{"-> token", "-> f32[]", "the result must be a token, is f32[]"}}},
      {"create_token -> token"},
      {"infeed token -> f32[2] token infeed_config=\"\" layout=()",
       {{"f32[2] token", "", "needs a token and gives one back"},
        {"infeed token", "infeed f32[]", "the last operand must be a token, is f32[]"}}},
      {"outfeed f32[2] token -> token outfeed_config=\"\""},
      {"send f32[2] token -> token channel_id=1 channel_type=1 is_host_transfer=true"},
      {"recv token -> f32[2] token channel_id=1 channel_type=1 is_host_transfer=true"},
      {"rng f32[] f32[] s32[2] -> f32[2,3] rng_distribution=$UNIFORM",
       {{"rng f32[]", "rng f32[1]", "operand 0 must be a f32 scalar, is f32[1]"},
        {"s32[2]", "s32[3]", "operand 2 must hold the 2 sizes of the result, is s32[3]"}}},
      {"rng_bit_generator u64[2] -> u64[2] u32[4] rng_algorithm=$THREE_FRY",
       {{"u64[2] -> u64[2]", "s64[2] -> s64[2]",
         "the state must be a vector of ui32 or ui64, is s64[2]"},
        {"u64[2] -> u64[2]", "u64[3] -> u64[3]", "THREE_FRY needs a state of 16 bytes, has u64[3]"},
        {"u64[2] -> u64[2] u32[4] rng_algorithm=$THREE_FRY",
         "u64[4] -> u64[4] u32[4] rng_algorithm=$PHILOX",
         "PHILOX needs a state of 16 or 24 bytes, has u64[4]"},
        {"u32", "c64", "bits of type complex<f32> do not exist"}}},
      {"partition_id -> u32[]", {{"u32", "s32", "the result must be u32[], is s32[]"}}},
      {"replica_id -> u32[]"},
      {"async_start f32[2] -> future<f32[2]> {f32[2] -> f32[2]}",
       {{"future<f32[2]>", "f32[2]", "the result must be a future, is f32[2]"}}},
      {"async_done future<f32[2]> -> f32[2]",
       {{"future<f32[2]>", "f32[2]", "operand 0 must be a future, is f32[2]"}}},
      {"all_reduce f32[2] -> f32[2] " + group +
           " use_global_device_ids=false {f32[] f32[] -> f32[]}",
       {{"[[0,1]]", "[[0,1],[1]]", "replica_groups names device 1 twice"},
        {"[[0,1]]", "[[0,-2]]", "replica_groups holds -2"},
        {"reduce f32[2]", "reduce f32[2] f32[2]",
         "needs as many results as operands, has 2 operands and 1 results"}}},
      {"all_gather f32[2] -> f32[4] all_gather_dim=0 " + group + " use_global_device_ids=false",
       {{"f32[4]", "f32[5]", "size 2 cannot become 5"},
        {"dim=0", "dim=1", "the dimension is 1; the rank is 1"}}},
      {"reduce_scatter f32[4] -> f32[2] scatter_dimension=0 " + group +
           " use_global_device_ids=false {f32[] f32[] -> f32[]}",
       {{"{f32[] f32[]", "{f32[]", "the reducer must take 2 arguments, takes 1"}}},
      {"all_to_all f32[4,2] -> f32[2,4] split_dimension=0 concat_dimension=1 split_count=2 " +
           group,
       {{"count=2", "count=0", "split_count is 0"},
        {"count=2", "count=3", "size 4 cannot be split into 3"}}},
      {"collective_permute f32[2] -> f32[2] channel_id=1 source_target_pairs=[0,1,1,0]",
       {{"[0,1,1,0]", "[0,1,0,2]", "device 0 is a source twice"},
        {"[0,1,1,0]", "[0,-1]", "source_target_pairs holds -1"}}},
      {"collective_broadcast f32[2] -> f32[2] " + group},
      {"collective_reduce f32[2] -> f32[2] " + group + " {f32[] f32[] -> f32[]}"},
      {"cross-replica-sum f32[2] -> f32[2] replica_groups=#[[0,1]]"},
  };
  return rows;
}

const Rows& custom_calls() {
  static const Rows rows = {
      {"custom_call f32[3,3] -> f32[3,3] f32[3] call_target_name=\"Qr\"",
       {{"\"Qr\"", "\"Qr\" operand_layouts=([1,0]|[0])",
         "operand_layouts has 2 entries for 1 values"},
        {"\"Qr\"", "\"Qr\" operand_layouts=([0])", "operand_layouts has 1 dimensions for f32[3,3]"},
        {"\"Qr\"", "\"Qr\" operand_layouts=([0,1])",
         "operand_layouts asks for another layout of f32[3,3] than row-major, which is not "
         "supported"},
        {"\"Qr\"", "\"Qr\" output_operand_aliases=(alias)",
         "results that share memory with operands are not supported"},
        {"\"Qr\"", "\"Qr\" backend_config=3", "backend_config must be a string, is 3"},
        {"\"Qr\"", "\"Qr\" called_computations=(@main)", "needs 0 called computations, has 1"},
        {"-> f32[3,3] f32[3]", "->", "needs 2 results, has 0"},
        {"f32[3,3] ->", "->", "needs 1 operands, has 0"},
        {"f32[3,3]", "s32[3,3]",
         "operand 0 must be a matrix of floats or complex numbers, is s32[3,3]"}}},
      {"custom_call f32[3,3] -> f32[3,3] f32[3] call_target_name=\"mps.eigh\" "
       "backend_config=\"lower=1\"",
       {{"lower=1", "lower", "backend_config must be words `name=integer`, is lower"},
        {"lower=1", "upper=1", "there is no option upper"},
        {"lower=1", "lower=2", "option lower must be 0 or 1, is 2"},
        {"lower=1", "lower=1 lower=1", "option lower comes twice"},
        {"f32[3,3] ->", "f32[3,4] ->", "operand 0 must be square, is f32[3,4]"},
        {"f32[3] call", "f64[3] call", "result 1 must be f32[3], is f64[3]"}}},
      {"custom_call f32[4,3] f32[2] -> f32[4,3] "
       "call_target_name=\"ProductOfElementaryHouseholderReflectors\"",
       {{"f32[2]", "f32[4]", "there are 4 reflectors for f32[4,3]"}}},
      {"custom_call f32[4,3] f32[3] f32[4,7] -> f32[4,7] call_target_name=\"mps.ormqr\" "
       "backend_config=\"left=1\"",
       {{"left=1", "left=0", "operand 2 of f32[4,7] does not fit reflectors of length 4"}}},
      {"custom_call f32[4,3] -> f32[3] call_target_name=\"mps.svd\"",
       {{"f32[4,3] -> f32[3]", "f32[0,3] -> f32[0]", "the matrix is empty"}}},
      {"custom_call f32[3,3] -> f32[3,3] s32[] call_target_name=\"lapack_spotrf_ffi\" "
       "backend_config=<uplo=76>",
       {{"<uplo=76>", "\"\"", "its options must be a dictionary"},
        {"<uplo=76>", "<uplo=80>", "option uplo is 80"},
        {"<uplo=76>", "<>", "option uplo is missing"},
        {"<uplo=76>", "<uplo=76,up=1>", "there is no option up"},
        {"spotrf", "dpotrf", "the function is not one for f32"}}},
      {"custom_call f32[3,3] f32[3,2] -> f32[3,2] call_target_name=\"lapack_strsm_ffi\" "
       "backend_config=<side=76,uplo=76,trans_x=78,diag=78>",
       {{"side=76", "side=82", "operand 1 of f32[3,2] does not fit a triangle of f32[3,3]"}}},
      {"custom_call f32[3,3] -> f32[3,3] f32[2] s32[] call_target_name=\"lapack_sgehrd_ffi\" "
       "backend_config=<low=1,high=3>",
       {{"high=3", "high=2", "only the whole matrix can be reduced, not 1 to 2 of 3"}}},
      {"custom_call token f32[2] -> token f32[2] call_target_name=\"mps.python_callback\" "
       "backend_config=\"id=1\"",
       {{"id=1", "", "option id is missing"},
        {"-> token", "->", "a token must be both operand and result"},
        {"token f32[2]", "token token", "operand 1 must be a tensor, is !stablehlo.token"},
        {"-> token f32[2]", "-> token token", "result 1 must be a tensor, is !stablehlo.token"}}},
      {"@f{f32[] f32[] s32[] s32[] -> pred[]} custom_call f32[4,9] s32[4,9] f32[] s32[] -> "
       "f32[4,2] s32[4,2] call_target_name=\"ApproxTopK\" called_computations=(@f) "
       "backend_config=<aggregate_to_topk=true,recall_target=0.9,reduction_dim=1,top_k=2>",
       {{"f32[4,9]", "c64[4,9]", "operand 0 must hold numbers that have an order, is c64[4,9]"},
        {"s32[4,9]", "f32[4,9]", "operand 1 must hold integers, is f32[4,9]"},
        {"-> f32[4,2]", "-> f32[4]", "result 0 must have 2 dimensions, is f32[4]"},
        {"top_k=2", "top_k=3", "result 0 of f32[4,2] cannot hold the 3 values"},
        {"top_k=2", "top_k=10", "top_k is 10; dimension 1 has size 9"},
        {"-> f32[4,2] s32[4,2] call_target_name=\"ApproxTopK\" called_computations=(@f) "
         "backend_config=<aggregate_to_topk=true",
         "-> f32[4,12] s32[4,12] call_target_name=\"ApproxTopK\" called_computations=(@f) "
         "backend_config=<aggregate_to_topk=false",
         "result 0 of f32[4,12] holds more than there is"},
        {"@f{f32[] f32[] s32[] s32[]", "@f{f32[]", "needs 4 arguments of @f, has 1"},
        {"@f{f32[] f32[] s32[] s32[] -> pred[]}", "@f", "calls @f, which has no body"}}},
      {"custom_call f32[4,9] -> f32[4,2] s32[4,2] call_target_name=\"mhlo.topk\" "
       "~mhlo.attributes=<k=2,largest=true>",
       {{"k=2,", "", "option k must be an integer"},
        {"true", "false", "only the largest values are supported"},
        {"k=2", "k=-2", "k is -2 for f32[4,9]"},
        {"f32[4,9]", "f32[]", "operand 0 must have a dimension, is f32[]"}}},
      {"custom_call f32[3] -> f32[3] call_target_name=\"mhlo.erf\"",
       {{"f32[3] -> f32[3]", "s32[3] -> s32[3]",
         "operand 0 must hold floats of 16 bits or more, is s32[3]"}}},
      {"custom_call f32[3] -> f32[3] call_target_name=\"Sharding\"",
       {{"-> f32[3]", "-> f32[3] f32[3]", "has 1 operands and 2 results"}}},
      {"custom_call pred[] -> call_target_name=\"shape_assertion\"",
       {{"pred[] ->", "->", "needs an operand"}}},
  };
  return rows;
}

TEST(Rules, Elementwise) { expect(elementwise()); }
TEST(Rules, Shapes) { expect(shapes()); }
TEST(Rules, Reductions) { expect(reductions()); }
TEST(Rules, Products) { expect(products()); }
TEST(Rules, Gathers) { expect(gathers()); }
TEST(Rules, ControlFlow) { expect(control()); }
TEST(Rules, Others) { expect(others()); }
TEST(Rules, CustomCalls) { expect(custom_calls()); }

// Every op has a rule, and but for functions of single elements a row here.
TEST(Rules, EveryOpHasARow) {
  std::set<std::string> seen;
  for (const auto* rows : {&elementwise(), &shapes(), &reductions(), &products(), &gathers(),
                           &control(), &others(), &custom_calls()}) {
    for (const Row& row : *rows) {
      const size_t begin = row.valid[0] == '@' ? row.valid.find("} ") + 2 : 0;
      const std::string name = row.valid.substr(begin, row.valid.find(' ', begin) - begin);
      seen.insert(name.find('.') == std::string::npos ? "stablehlo." + name : name);
    }
  }
  const auto check = [&](OpId id, bool is_scalar_function) {
    EXPECT_NE(ir::rules::find_rule(id), nullptr) << ir::name(id);
    if (is_scalar_function || id == OpId::return_) return;
    EXPECT_TRUE(seen.count(std::string(ir::name(id)))) << ir::name(id);
  };
  for (size_t i = 0; i < ir::kOpCount; ++i) {
    const auto id = static_cast<OpId>(i);
    bool is_scalar_function = false;
#define SCALAR_OP(opcode, class, own, ...) is_scalar_function |= id == OpId::own;
#include "ir/scalar_ops.def"
    check(id, is_scalar_function);
  }
}

}  // namespace
}  // namespace jaxmps::testing
