// What make_conv_plan works out, and the forms a convolution may run in; internal to conv*.cc.
//
// Along each dimension the output positions that meet the same window offsets form a class. A
// product of classes, one per dimension, is a combination: all its output positions have the same
// taps at the same distances, so no tap is ever multiplied with padding or with a dilation's zeros.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/cpu/conv.h"
#include "kernels/cpu/strided_copy.h"

namespace jaxmps::cpu {

struct ConvClass {
  int64_t first = 0;  // the first window offset that meets lhs; the others follow in `step`s
  int64_t count = 0;
  std::vector<int64_t> outs;
};

struct ConvAxis {
  ConvDim dim;
  int64_t out = 1;
  int64_t step = 1;       // between the window offsets of a class
  int64_t tap_delta = 0;  // between the lhs elements of a class, per tap
  std::vector<ConvClass> classes;

  // The lhs element that output position `s` of a class meets first.
  int64_t base(const ConvClass& of, int64_t s) const {
    return (s * dim.stride - dim.pad_low + of.first * dim.rhs_dilation) / dim.lhs_dilation *
           dim.lhs_stride;
  }
  int64_t rhs_at(int64_t window) const {
    return (dim.reversal ? dim.kernel - 1 - window : window) * dim.rhs_stride;
  }
};

// Rows [begin, end) of one combination; a row is a pair of batch and output position.
struct ConvBlock {
  int64_t combination, begin, end;
};

enum class ConvForm { kEmpty, kZeros, kRows, kColumns, kLanes, kPlain };

struct ConvLayout {
  ConvShape shape;
  ConvForm form = ConvForm::kPlain;
  std::vector<ConvAxis> axes;  // at least one
  // Per group.
  int64_t groups = 1, batch = 1, ins = 1, outs = 1;
  int64_t lhs_group = 0, rhs_group = 0, out_group = 0;
  int64_t windows = 1;    // kernel positions
  int64_t positions = 1;  // output positions
  int64_t combinations = 1;
  int64_t lhs_span = 0, rhs_span = 0,
          out_span = 0;  // elements from the first to the last, inclusive
  std::vector<ConvBlock> blocks;
  std::optional<StridedCopy> lhs_copy;  // run on a dense copy, whose strides are in `shape`
};

// The classes that make up a combination, one per axis.
std::vector<const ConvClass*> classes_of(const ConvLayout& plan, int64_t combination);

// Window offsets in row-major order over the kernel, so packed kernels follow the window.
struct ConvTaps {
  std::vector<int64_t> lhs;     // element offset from the base
  std::vector<int64_t> window;  // flat window offset
};
// Taps whose offset along the first axis is in [from, to).
void fill_taps(const ConvLayout& plan, const std::vector<const ConvClass*>& classes, int64_t from,
               int64_t to, ConvTaps& taps);

// The element offsets of a flat window position in rhs, for all positions.
std::vector<int64_t> window_offsets(const ConvLayout& plan);

// The forms, for f32 and f64 (kPlain: for the other types). They throw std::bad_alloc.
template <typename T>
void conv_rows(const ConvLayout& plan, const T* lhs, const T* rhs, T* out);
template <typename T>
void conv_columns(const ConvLayout& plan, const T* lhs, const T* rhs, T* out);
template <typename T>
void conv_lanes(const ConvLayout& plan, const T* lhs, const T* rhs, T* out);
void conv_plain(const ConvLayout& plan, const void* lhs, const void* rhs, void* out);

}  // namespace jaxmps::cpu
