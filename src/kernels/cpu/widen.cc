#include "kernels/cpu/widen.h"

#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

template <typename From, typename To>
void convert(const void* from, void* to, int64_t n) {
  parallel_for(n, 1 << 16, [=](int64_t begin, int64_t end) {
    const From* in = static_cast<const From*>(from);
    To* out = static_cast<To*>(to);
    for (int64_t i = begin; i < end; ++i) out[i] = To(static_cast<float>(in[i]));
  });
}

}  // namespace

Widened::Widened(DType half, const void* from, int64_t n) : Widened(n) {
  (half == DType::f16 ? convert<F16, float> : convert<BF16, float>)(from, data(), n);
}

void Widened::narrow(DType half, void* to) const {
  (half == DType::f16 ? convert<float, F16> : convert<float, BF16>)(data(), to, n_);
}

}  // namespace jaxmps::cpu
