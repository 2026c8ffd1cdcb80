#include "kernels/cpu/conv_plan.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace jaxmps::cpu {
namespace {

constexpr int64_t kBlockRows = 96;  // a multiple of every micro-kernel's rows

// The window offsets of dimension `d` that meet an element of lhs from output position s.
std::pair<int64_t, int64_t> first_and_count(const ConvDim& d, int64_t step, int64_t s) {
  const int64_t origin = s * d.stride - d.pad_low;
  const int64_t last = (d.in - 1) * d.lhs_dilation;
  if (d.in <= 0) return {0, 0};
  // From the first offset inside lhs, at most `step` more until one falls on an element.
  int64_t first = origin >= 0 ? 0 : (-origin + d.rhs_dilation - 1) / d.rhs_dilation;
  const int64_t limit = std::min(d.kernel, first + step);
  while (first < limit && (origin + first * d.rhs_dilation) % d.lhs_dilation != 0) ++first;
  if (first >= limit || origin + first * d.rhs_dilation > last) return {0, 0};
  const int64_t by_lhs = (last - origin - first * d.rhs_dilation) / d.rhs_dilation;
  const int64_t by_kernel = d.kernel - 1 - first;
  return {first, std::min(by_lhs, by_kernel) / step + 1};
}

ConvAxis make_axis(const ConvDim& dim) {
  ConvAxis axis;
  axis.dim = dim;
  axis.out = dim.out();
  axis.step = dim.lhs_dilation / std::gcd(dim.lhs_dilation, dim.rhs_dilation);
  axis.tap_delta = axis.step * dim.rhs_dilation / dim.lhs_dilation * dim.lhs_stride;
  std::map<std::pair<int64_t, int64_t>, size_t> known;
  for (int64_t s = 0; s < axis.out; ++s) {
    const auto key = first_and_count(dim, axis.step, s);
    const auto [at, added] = known.emplace(key, axis.classes.size());
    if (added) axis.classes.push_back({key.first, key.second, {}});
    axis.classes[at->second].outs.push_back(s);
  }
  return axis;
}

// Elements from the first to the last of an array, given (extent, stride) pairs.
int64_t span_of(std::initializer_list<std::pair<int64_t, int64_t>> ends, const ConvShape& shape,
                int64_t ConvDim::*extent, int64_t ConvDim::*stride) {
  int64_t last = 0;
  for (const auto& [n, step] : ends) last += (n - 1) * step;
  for (const ConvDim& dim : shape.spatial) last += (dim.*extent - 1) * (dim.*stride);
  return last + 1;
}

void set_spans(ConvLayout& plan) {
  const ConvShape& s = plan.shape;
  plan.lhs_span = span_of({{s.batch, s.lhs_batch}, {s.in_features, s.lhs_feature}}, s, &ConvDim::in,
                          &ConvDim::lhs_stride);
  plan.rhs_span = span_of({{plan.ins, s.rhs_in}, {s.out_features, s.rhs_out}}, s, &ConvDim::kernel,
                          &ConvDim::rhs_stride);
  int64_t last = (plan.batch - 1) * s.out_batch + (s.out_features - 1) * s.out_feature;
  for (const ConvAxis& axis : plan.axes) last += (axis.out - 1) * axis.dim.out_stride;
  plan.out_span = last + 1;
}

// lhs is copied, dense with features last or with the batch last.
void use_copy(ConvLayout& plan, bool features_last) {
  ConvShape& s = plan.shape;
  const int64_t bytes = ir::byte_size(s.type);
  ir::Dims extents, from, to;
  int64_t size = 1;
  const auto place = [&](int64_t& stride, int64_t extent) {
    extents.push_back(extent);
    from.push_back(stride * bytes);
    to.push_back(size * bytes);
    stride = size;
    size *= extent;
  };
  place(features_last ? s.lhs_feature : s.lhs_batch, features_last ? s.in_features : s.batch);
  for (size_t d = s.spatial.size(); d-- > 0;) place(s.spatial[d].lhs_stride, s.spatial[d].in);
  place(features_last ? s.lhs_batch : s.lhs_feature, features_last ? s.batch : s.in_features);
  plan.lhs_copy = StridedCopy(extents, from, to, bytes);
}

ConvForm choose_form(ConvLayout& plan) {
  const ConvShape& s = plan.shape;
  if (plan.positions * plan.batch * s.out_features == 0) return ConvForm::kEmpty;
  int64_t elements = plan.ins * plan.windows;
  for (const ConvDim& dim : s.spatial) elements *= dim.in;
  if (elements == 0) return ConvForm::kZeros;
  if (!ir::is_float(s.type)) return ConvForm::kPlain;
  if (plan.groups > 1 && plan.outs == 1 && plan.lhs_group == 1 && plan.rhs_group == 1 &&
      plan.out_group == 1) {
    return ConvForm::kLanes;
  }
  const bool rows = s.lhs_feature == 1 || plan.ins == 1;
  const bool columns = s.lhs_batch == 1 || plan.batch == 1;
  const bool wide_window = plan.windows > plan.positions;
  if (rows && !(columns && wide_window)) return ConvForm::kRows;
  if (columns) return ConvForm::kColumns;
  use_copy(plan, !wide_window);
  return wide_window ? ConvForm::kColumns : ConvForm::kRows;
}

void make_blocks(ConvLayout& plan) {
  for (int64_t c = 0; c < plan.combinations; ++c) {
    int64_t rows = plan.batch;
    for (const ConvClass* of : classes_of(plan, c)) rows *= static_cast<int64_t>(of->outs.size());
    for (int64_t begin = 0; begin < rows; begin += kBlockRows) {
      plan.blocks.push_back({c, begin, std::min(rows, begin + kBlockRows)});
    }
  }
}

}  // namespace

int64_t ConvDim::out() const {
  const int64_t padded = (in > 0 ? (in - 1) * lhs_dilation + 1 : 0) + pad_low + pad_high;
  const int64_t window = kernel > 0 ? (kernel - 1) * rhs_dilation + 1 : 0;
  return padded < window ? 0 : (padded - window) / stride + 1;
}

std::vector<const ConvClass*> classes_of(const ConvLayout& plan, int64_t combination) {
  std::vector<const ConvClass*> classes(plan.axes.size());
  for (size_t d = plan.axes.size(); d-- > 0;) {
    const auto count = static_cast<int64_t>(plan.axes[d].classes.size());
    classes[d] = &plan.axes[d].classes[combination % count];
    combination /= count;
  }
  return classes;
}

void fill_taps(const ConvLayout& plan, const std::vector<const ConvClass*>& classes, int64_t from,
               int64_t to, ConvTaps& taps) {
  taps.lhs.assign(1, 0);
  taps.window.assign(1, 0);
  for (size_t d = 0; d < classes.size(); ++d) {
    const ConvAxis& axis = plan.axes[d];
    const std::vector<int64_t> lhs = std::move(taps.lhs), window = std::move(taps.window);
    taps.lhs.clear();
    taps.window.clear();
    for (size_t outer = 0; outer < lhs.size(); ++outer) {
      for (int64_t i = 0; i < classes[d]->count; ++i) {
        const int64_t w = classes[d]->first + i * axis.step;
        if (d == 0 && (w < from || w >= to)) continue;
        taps.lhs.push_back(lhs[outer] + i * axis.tap_delta);
        taps.window.push_back(window[outer] * axis.dim.kernel + w);
      }
    }
  }
}

std::vector<int64_t> window_offsets(const ConvLayout& plan) {
  std::vector<int64_t> offsets(1, 0);
  for (const ConvAxis& axis : plan.axes) {
    const std::vector<int64_t> outer = std::move(offsets);
    offsets.clear();
    for (int64_t base : outer) {
      for (int64_t w = 0; w < axis.dim.kernel; ++w) offsets.push_back(base + axis.rhs_at(w));
    }
  }
  return offsets;
}

ConvPlan make_conv_plan(const ConvShape& shape) {
  auto plan = std::make_shared<ConvLayout>();
  plan->shape = shape;
  if (shape.spatial.empty()) plan->shape.spatial.emplace_back();
  plan->groups = shape.feature_groups * shape.batch_groups;
  plan->batch = shape.batch / shape.batch_groups;
  plan->ins = shape.in_features / shape.feature_groups;
  plan->outs = shape.out_features / plan->groups;
  plan->rhs_group = plan->outs * shape.rhs_out;
  plan->out_group = plan->outs * shape.out_feature;
  plan->positions = plan->windows = 1;
  for (const ConvDim& dim : plan->shape.spatial) {
    plan->positions *= dim.out();
    plan->windows *= dim.kernel;
  }
  const auto set_lhs_group = [&] {
    plan->lhs_group = shape.feature_groups > 1 ? plan->ins * plan->shape.lhs_feature
                                               : plan->batch * plan->shape.lhs_batch;
  };
  set_lhs_group();
  plan->form = choose_form(*plan);
  set_lhs_group();
  if (plan->form == ConvForm::kEmpty) return plan;
  for (const ConvDim& dim : plan->shape.spatial) {
    plan->axes.push_back(make_axis(dim));
    plan->combinations *= static_cast<int64_t>(plan->axes.back().classes.size());
  }
  set_spans(*plan);
  if (plan->form == ConvForm::kRows) make_blocks(*plan);
  return plan;
}

}  // namespace jaxmps::cpu
