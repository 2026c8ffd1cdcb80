// Convolutions on raw pointers, in the generality of stablehlo.convolution: any rank, strides,
// dilations of both operands, padding of either sign, reversal, feature and batch groups.
//
// A plan is made once from the shape and may then be run from any thread, by several at once. The
// strides of all three arrays are free, so every dimension order runs without a copy or with one.
// Results do not depend on the number of threads. 16-bit floats are summed in f32.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cpu/dtype.h"

namespace jaxmps::cpu {

// One spatial dimension. Strides (lhs, rhs, out) are in elements, dilations and padding as in HLO.
struct ConvDim {
  int64_t in = 1;      // of lhs
  int64_t kernel = 1;  // of rhs
  int64_t stride = 1;
  int64_t pad_low = 0;
  int64_t pad_high = 0;
  int64_t lhs_dilation = 1;
  int64_t rhs_dilation = 1;
  bool reversal = false;
  int64_t lhs_stride = 0;
  int64_t rhs_stride = 0;
  int64_t out_stride = 0;

  int64_t out() const;  // the extent of the result
};

struct ConvShape {
  DType type = DType::f32;   // of all three arrays
  int64_t batch = 1;         // of lhs
  int64_t in_features = 1;   // of lhs
  int64_t out_features = 1;  // of rhs and out
  int64_t feature_groups = 1;
  int64_t batch_groups = 1;
  int64_t lhs_batch = 0, lhs_feature = 0;  // strides, in elements
  int64_t rhs_in = 0, rhs_out = 0;
  int64_t out_batch = 0, out_feature = 0;
  std::vector<ConvDim> spatial;
};

struct ConvLayout;  // conv_plan.h

using ConvPlan = std::shared_ptr<const ConvLayout>;

ConvPlan make_conv_plan(const ConvShape& shape);

// `out` must be dense in some dimension order and may not overlap the operands. Throws
// std::bad_alloc when memory runs out.
void run_conv(const ConvLayout& plan, const void* lhs, const void* rhs, void* out);

}  // namespace jaxmps::cpu
