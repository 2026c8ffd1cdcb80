#include "kernels/cpu/conv.h"

#include <algorithm>
#include <new>

#include "kernels/cpu/conv_plan.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/cpu/widen.h"

namespace jaxmps::cpu {
namespace {

template <typename T>
void run_form(const ConvLayout& plan, const T* lhs, const T* rhs, T* out) {
  if (plan.form == ConvForm::kRows) return conv_rows<T>(plan, lhs, rhs, out);
  if (plan.form == ConvForm::kColumns) return conv_columns<T>(plan, lhs, rhs, out);
  conv_lanes<T>(plan, lhs, rhs, out);
}

}  // namespace

void run_conv(const ConvLayout& plan, const void* lhs, const void* rhs, void* out) {
  if (plan.form == ConvForm::kEmpty) return;
  if (plan.form == ConvForm::kZeros) {
    const uint64_t zero[2] = {0, 0};
    return fill(ir::byte_size(plan.shape.type), zero, plan.out_span, out);
  }
  if (plan.form == ConvForm::kPlain) return conv_plain(plan, lhs, rhs, out);
  const Scratch dense(plan.lhs_copy ? static_cast<size_t>(plan.lhs_copy->bytes()) : 0);
  if (plan.lhs_copy) {
    plan.lhs_copy->copy(lhs, dense.as<void>());
    lhs = dense.as<void>();
  }
  const DType type = plan.shape.type;
  if (is_half(type)) {
    const Widened wide_lhs(type, lhs, plan.lhs_span), wide_rhs(type, rhs, plan.rhs_span);
    const Widened sums(plan.out_span);
    run_form<float>(plan, wide_lhs.data(), wide_rhs.data(), sums.data());
    return sums.narrow(type, out);
  }
  if (type == DType::f64) {
    return run_form(plan, static_cast<const double*>(lhs), static_cast<const double*>(rhs),
                    static_cast<double*>(out));
  }
  run_form(plan, static_cast<const float*>(lhs), static_cast<const float*>(rhs),
           static_cast<float*>(out));
}

}  // namespace jaxmps::cpu
