#include "kernels/cpu/scatter.h"

#include <limits>

#include "kernels/cpu/combine.h"
#include "kernels/cpu/threads.h"
#include "scalar/scalar.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kManyUpdates = 1 << 14;
constexpr int kMaxParts = 8;

struct Overwrite {
  template <typename T>
  static T call(T, T update) {
    return update;
  }
};

template <typename F, typename T>
void kernel(char* operand, const char* updates, const int64_t* offsets, int64_t n, int64_t step,
            int64_t run) {
  for (int64_t i = 0; i < n; ++i) {
    if (offsets[i] < 0) continue;
    T* to = reinterpret_cast<T*>(operand + offsets[i]);
    const T* from = reinterpret_cast<const T*>(updates + i * step);
    for (int64_t j = 0; j < run; ++j) to[j] = F::template call<Computed<T>>(to[j], from[j]);
  }
}

void keep(char*, const char*, const int64_t*, int64_t, int64_t, int64_t) {}

}  // namespace

ScatterKernel scatter_kernel(const ir::Combination& how, ir::DType dtype) {
  if (how.kind == ir::Combination::Kind::accumulator) return keep;
  if (how.kind == ir::Combination::Kind::element) {
    return with_item(static_cast<size_t>(ir::byte_size(dtype)),
                     [](auto item) -> ScatterKernel { return kernel<Overwrite, decltype(item)>; });
  }
  const auto op = scalar::opcode_of(how.op);
  if (!op) return nullptr;
  auto kernel_of = [](auto f, auto element) -> ScatterKernel {
    return kernel<decltype(f), decltype(element)>;
  };
  if (op == Opcode::sub) return with_combiner_of<ScatterKernel, Opcode::sub>(dtype, kernel_of);
  return with_combiner<ScatterKernel>(*op, dtype, kernel_of);
}

ScatterPlan::ScatterPlan(StartIndices starts, const ir::Dims& sizes,
                         const ir::Dims& operand_strides, const ir::Dims& update_strides,
                         int64_t element_bytes, int64_t operand_bytes)
    : starts_(std::move(starts)),
      window_(sizes, update_strides, operand_strides, element_bytes),
      window_bytes_(window_.bytes()),
      element_bytes_(element_bytes) {
  const int64_t threads = std::min(thread_count(), kMaxParts);
  const int64_t all = std::numeric_limits<int64_t>::max();
  size_t widest = 0;
  for (size_t d = 1; d < sizes.size(); ++d) {
    if (sizes[d] > sizes[widest]) widest = d;
  }
  if (window_bytes_ * starts_.count() < (1 << 16) || threads == 1) {
    parts_.push_back({window_, 0, 0, 0, all});
  } else if (!sizes.empty() && sizes[widest] >= 4 * threads && window_bytes_ >= 512) {
    for (int64_t t = 0; t < threads; ++t) {
      const int64_t begin = sizes[widest] * t / threads, end = sizes[widest] * (t + 1) / threads;
      ir::Dims part = sizes;
      part[widest] = end - begin;
      parts_.push_back({StridedCopy(part, update_strides, operand_strides, element_bytes),
                        begin * operand_strides[widest], begin * update_strides[widest], 0, all});
    }
  } else if (starts_.count() >= kManyUpdates && window_.single_run() != 0) {
    // Windows of one run that start in different ranges may still overlap at the border, unless
    // ranges are multiples of the distance of starts: scalars and rows that do not overlap only.
    const bool disjoint = window_bytes_ == element_bytes;
    for (int64_t t = 0; disjoint && t < threads; ++t) {
      parts_.push_back(
          {window_, 0, 0, operand_bytes * t / threads, operand_bytes * (t + 1) / threads});
    }
  }
  if (parts_.empty()) parts_.push_back({window_, 0, 0, 0, all});
}

void ScatterPlan::run_part(const Part& part, ScatterKernel kernel, char* operand,
                           const void* indices, const char* updates) const {
  const bool filtered = part.end != std::numeric_limits<int64_t>::max();
  starts_.for_blocks<false>(
      indices, 0, starts_.count(),
      [&](const int64_t* offsets, int64_t n, int64_t first, int64_t step) {
        int64_t mine[StartIndices::kBlock];
        if (filtered) {
          for (int64_t i = 0; i < n; ++i) {
            mine[i] = offsets[i] >= part.begin && offsets[i] < part.end ? offsets[i] : -1;
          }
          offsets = mine;
        }
        char* to = operand + part.operand_offset;
        const char* from = updates + first + part.update_offset;
        if (const int64_t run = part.window.single_run(); run != 0) {
          return kernel(to, from, offsets, n, step, run / element_bytes_);
        }
        for (int64_t i = 0; i < n; ++i) {
          part.window.for_runs([&](int64_t u, int64_t o) {
            kernel(to + o, from + i * step + u, offsets + i, 1, 0,
                   part.window.run() / element_bytes_);
          });
        }
      });
}

void ScatterPlan::run(ScatterKernel kernel, void* operand, const void* indices,
                      const void* updates) const {
  if (window_bytes_ == 0 || starts_.count() == 0) return;
  char* to = static_cast<char*>(operand);
  const char* from = static_cast<const char*>(updates);
  if (parts_.size() == 1) return run_part(parts_[0], kernel, to, indices, from);
  parallel_for(static_cast<int64_t>(parts_.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) run_part(parts_[p], kernel, to, indices, from);
  });
}

}  // namespace jaxmps::cpu
