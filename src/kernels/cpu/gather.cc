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

StridedCopy::StridedCopy(const ir::Dims& sizes, const ir::Dims& from_strides,
                         const ir::Dims& to_strides, int64_t element_bytes) {
  bytes_ = element_bytes;
  for (int64_t size : sizes) bytes_ *= size;
  run_ = element_bytes;
  std::vector<Dim> reversed;  // innermost first
  for (size_t d = sizes.size(); d-- > 0;) {
    if (sizes[d] == 1) continue;
    const Dim dim{sizes[d], from_strides[d], to_strides[d]};
    if (reversed.empty()) {
      if (dim.from == run_ && dim.to == run_) {
        run_ *= dim.size;
        continue;
      }
    } else if (Dim& last = reversed.back();
               dim.from == last.from * last.size && dim.to == last.to * last.size) {
      last.size *= dim.size;
      continue;
    }
    reversed.push_back(dim);
  }
  outer_.assign(reversed.rbegin(), reversed.rend());
}

void StridedCopy::copy_dims(size_t dim, const char* from, char* to) const {
  if (dim == outer_.size()) {
    std::memcpy(to, from, static_cast<size_t>(run_));
    return;
  }
  const Dim& d = outer_[dim];
  if (dim + 1 == outer_.size()) {
    auto values = [&]<typename T>(T) {
      for (int64_t i = 0; i < d.size; ++i) std::memcpy(to + i * d.to, from + i * d.from, sizeof(T));
    };
    if (run_ == 1 || run_ == 2 || run_ == 4 || run_ == 8)
      return scalar::with_bits(static_cast<int>(run_), values);
  }
  for (int64_t i = 0; i < d.size; ++i) copy_dims(dim + 1, from + i * d.from, to + i * d.to);
}

void StridedCopy::copy(const char* from, char* to) const {
  if (bytes_ != 0) copy_dims(0, from, to);
}

void StridedCopy::copy_parallel(const char* from, char* to) const {
  if (bytes_ < 4 * kGrainBytes) return copy(from, to);
  if (outer_.empty()) return parallel_copy(to, from, run_);
  const Dim& d = outer_[0];
  const int64_t grain = std::max<int64_t>(1, kGrainBytes * d.size / bytes_);
  parallel_for(d.size, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) copy_dims(1, from + i * d.from, to + i * d.to);
  });
}

void parallel_copy(void* to, const void* from, int64_t bytes) {
  char* target = static_cast<char*>(to);
  const char* source = static_cast<const char*>(from);
  if (bytes < 8 * kGrainBytes) {
    if (bytes > 0) std::memcpy(target, source, static_cast<size_t>(bytes));
    return;
  }
  parallel_for(bytes, 4 * kGrainBytes, [&](int64_t begin, int64_t end) {
    std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
  });
}

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
          for (int64_t i = 0; i < n; ++i) {
            if (large) {
              plan.window.copy_parallel(from + offsets[i], at + i * step);
            } else {
              plan.window.copy(from + offsets[i], at + i * step);
            }
          }
        });
  };
  if (large) return work(0, plan.starts.count());
  const int64_t per_window = plan.window.bytes() + 16;
  parallel_for(plan.starts.count(), std::max<int64_t>(1, kGrainBytes / per_window), work);
}

}  // namespace jaxmps::cpu
