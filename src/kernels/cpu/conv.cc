#include "kernels/cpu/conv.h"

#include <algorithm>
#include <new>

#include "kernels/cpu/conv_plan.h"
#include "kernels/cpu/transpose.h"
#include "kernels/cpu/widen.h"

namespace jaxmps::cpu {
namespace {

// lhs as the form wants it: features last or batch last, dense.
void copy_lhs(const ConvLayout& plan, const void* from, void* to) {
  const ConvShape& before = plan.original;
  const ConvShape& after = plan.shape;
  std::vector<int64_t> extents{after.batch, after.in_features};
  std::vector<int64_t> source{before.lhs_batch, before.lhs_feature};
  std::vector<int64_t> target{after.lhs_batch, after.lhs_feature};
  for (size_t d = 0; d < after.spatial.size(); ++d) {
    extents.push_back(after.spatial[d].in);
    source.push_back(before.spatial[d].lhs_stride);
    target.push_back(after.spatial[d].lhs_stride);
  }
  strided_copy(ir::byte_size(after.type), extents, source, from, target, to);
}

template <typename T>
void run_form(const ConvLayout& plan, const T* lhs, const T* rhs, T* out) {
  if (plan.form == ConvForm::kRows) return conv_rows<T>(plan, lhs, rhs, out);
  if (plan.form == ConvForm::kColumns) return conv_columns<T>(plan, lhs, rhs, out);
  conv_lanes<T>(plan, lhs, rhs, out);
}

template <typename Half>
void run_half(const ConvLayout& plan, const void* lhs, const void* rhs, void* out) {
  const Widened wide_lhs(static_cast<const Half*>(lhs), plan.lhs_span);
  const Widened wide_rhs(static_cast<const Half*>(rhs), plan.rhs_span), sums(plan.out_span);
  run_form<float>(plan, wide_lhs.data(), wide_rhs.data(), sums.data());
  convert_items(sums.data(), static_cast<Half*>(out), plan.out_span);
}

}  // namespace

void run_conv(const ConvLayout& plan, const void* lhs, const void* rhs, void* out) {
  if (plan.form == ConvForm::kEmpty) return;
  if (plan.form == ConvForm::kZeros) {
    const uint64_t zero[2] = {0, 0};
    return fill(ir::byte_size(plan.shape.type), zero, plan.out_span, out);
  }
  if (plan.form == ConvForm::kPlain) return conv_plain(plan, lhs, rhs, out);
  Scratch copy(plan.copy_lhs ? static_cast<size_t>(plan.lhs_span) * ir::byte_size(plan.shape.type)
                             : 0);
  if (plan.copy_lhs) {
    copy_lhs(plan, lhs, copy.as<void>());
    lhs = copy.as<void>();
  }
  switch (plan.shape.type) {
    case DType::bf16:
      return run_half<BF16>(plan, lhs, rhs, out);
    case DType::f16:
      return run_half<F16>(plan, lhs, rhs, out);
    case DType::f64:
      return run_form(plan, static_cast<const double*>(lhs), static_cast<const double*>(rhs),
                      static_cast<double*>(out));
    default:
      return run_form(plan, static_cast<const float*>(lhs), static_cast<const float*>(rhs),
                      static_cast<float*>(out));
  }
}

}  // namespace jaxmps::cpu
