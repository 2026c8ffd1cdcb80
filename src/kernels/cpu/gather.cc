#include "kernels/cpu/gather.h"

#include <cstring>
#include <limits>

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

// Bytes that one thread should at least move.
constexpr int64_t kGrainBytes = 1 << 16;

// Windows that are one run of exactly sizeof(T) bytes.
template <typename T>
void copy_values(const char* operand, const int64_t* offsets, int64_t n, char* to, int64_t step) {
  for (int64_t i = 0; i < n; ++i) {
    std::memcpy(to + i * step, operand + offsets[i], sizeof(T));
  }
}

}  // namespace

void load_indices(ir::DType dtype, const void* data, int64_t offset, int64_t stride, int64_t count,
                  int64_t* out) {
  const bool is_small = ir::bit_width(dtype) < 8;
  const auto stored = is_small                ? ir::is_signed_int(dtype) ? DType::s8 : DType::u8
                      : dtype == DType::index ? DType::s64
                                              : dtype;
  scalar::with_int(stored, [&](auto index) {
    using T = decltype(index);
    const T* from = static_cast<const T*>(data) + offset;
    for (int64_t i = 0; i < count; ++i) {
      T value = from[i * stride];
      constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
      if constexpr (std::is_same_v<T, uint64_t>) value = std::min(value, kMax);
      out[i] = static_cast<int64_t>(value);  // NOLINT(bugprone-signed-char-misuse): s8 is a number
    }
  });
}

StartIndices::StartIndices(ir::DType dtype, const std::vector<BatchDim>& batch,
                           std::vector<Component> components)
    : dtype_(dtype), components_(std::move(components)) {
  for (const BatchDim& dim : batch) {
    count_ *= dim.size;
    if (dim.size == 1) continue;
    if (!batch_.empty()) {
      BatchDim& last = batch_.back();
      if (last.index_stride == dim.index_stride * dim.size &&
          last.window_stride == dim.window_stride * dim.size &&
          last.operand_stride == dim.operand_stride * dim.size) {
        last = {last.size * dim.size, dim.index_stride, dim.window_stride, dim.operand_stride};
        continue;
      }
    }
    batch_.push_back(dim);
  }
  if (batch_.empty()) batch_.push_back({1, 0, 0, 0});
}

void gather(const GatherPlan& plan, const void* operand, const void* indices, void* result) {
  if (plan.window.bytes() == 0 || plan.starts.count() == 0) return;
  const char* from = static_cast<const char*>(operand);
  char* to = static_cast<char*>(result);
  const bool large = plan.window.bytes() >= 4 * kGrainBytes;
  auto work = [&](int64_t begin, int64_t end) {
    plan.starts.for_blocks<true>(
        indices, begin, end, [&](const int64_t* offsets, int64_t n, int64_t window, int64_t step) {
          char* at = to + window;
          const int64_t run = plan.window.single_run();
          if (run == 1 || run == 2 || run == 4 || run == 8) {
            return scalar::with_bits(static_cast<int>(run), [&](auto item) {
              copy_values<decltype(item)>(from, offsets, n, at, step);
            });
          }
          for (int64_t i = 0; i < n; ++i) plan.window.copy(from + offsets[i], at + i * step);
        });
  };
  if (large) return work(0, plan.starts.count());
  const int64_t per_window = plan.window.bytes() + 16;
  parallel_for(plan.starts.count(), std::max<int64_t>(1, kGrainBytes / per_window), work);
}

}  // namespace jaxmps::cpu
