#include <algorithm>

#include "kernels/cpu/pool.h"
#include "kernels/cpu/pool_parts.h"
#include "kernels/cpu/strided_copy.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kChunk = 64;  // columns selected at once

using ir::CompareDirection;

// A tie, or a NaN, is settled as HLO says: the earlier one stays only when the comparison holds.
template <CompareDirection select, typename T>
bool keeps(T kept, T next) {
  switch (select) {
    case CompareDirection::ge:
      return kept >= next;
    case CompareDirection::gt:
      return kept > next;
    case CompareDirection::le:
      return kept <= next;
    default:
      return kept < next;
  }
}

// The dimensions from the first to the last that has a window; what lies before and after them is
// independent, so tasks never meet in `out`.
struct Region {
  WindowDims dims;
  int64_t outer = 1, inner = 1;
  int64_t ins = 1,
          outs = 1;  // elements of the operand and of the source, per outer and inner index
};

Region region_of(const WindowDims& dims) {
  size_t begin = 0, end = dims.size();
  Region region;
  while (begin < end && dims[begin].is_trivial()) region.outer *= dims[begin++].in;
  while (end > begin && dims[end - 1].is_trivial()) region.inner *= dims[--end].in;
  region.dims.assign(dims.begin() + static_cast<int64_t>(begin),
                     dims.begin() + static_cast<int64_t>(end));
  region.ins = elements_of(region.dims);
  region.outs = windows_of(region.dims);
  return region;
}

template <CompareDirection kSelect, typename T>
class Scatter {
 public:
  Scatter(const Region& region, const T* operand, const T* source, T* out)
      : region_(region), operand_(operand), source_(source), out_(out) {}

  // Columns [j0, j0 + columns) of one outer index.
  void run(int64_t outer, int64_t j0, int64_t columns) const {
    const T* operand = operand_ + outer * region_.ins * region_.inner + j0;
    const T* source = source_ + outer * region_.outs * region_.inner + j0;
    T* out = out_ + outer * region_.ins * region_.inner + j0;
    const size_t rank = region_.dims.size();
    std::vector<int64_t> at(rank), window(rank);
    std::vector<WindowRange> ranges(rank);
    T best[kChunk];
    int64_t place[kChunk];
    for (int64_t position = 0; position < region_.outs; ++position) {
      bool empty = false;
      for (size_t d = 0; d < rank; ++d) {
        ranges[d] = inside(region_.dims[d], at[d]);
        window[d] = ranges[d].first;
        empty = empty || ranges[d].first >= ranges[d].last;
      }
      if (!empty) {
        select(operand, at, ranges, window, columns, best, place);
        const T* add_from = source + position * region_.inner;
        for (int64_t j = 0; j < columns; ++j) {
          T& to = out[place[j] * region_.inner + j];
          to = scalar::add_of(to, add_from[j]);
        }
      }
      for (size_t d = rank; d-- > 0;) {
        if (++at[d] < region_.dims[d].out) break;
        at[d] = 0;
      }
    }
  }

 private:
  void select(const T* operand, const std::vector<int64_t>& at,
              const std::vector<WindowRange>& ranges, std::vector<int64_t>& window, int64_t columns,
              T* best, int64_t* place) const {
    const size_t rank = window.size();
    for (bool first = true;; first = false) {
      int64_t index = 0;
      for (size_t d = 0; d < rank; ++d) {
        const WindowDim& dim = region_.dims[d];
        index = index * dim.in + at[d] * dim.stride - dim.pad_low + window[d];
      }
      const T* from = operand + index * region_.inner;
      for (int64_t j = 0; j < columns; ++j) {
        const bool stays = !first && keeps<kSelect>(best[j], from[j]);
        best[j] = stays ? best[j] : from[j];
        place[j] = stays ? place[j] : index;
      }
      size_t d = rank;
      while (d > 0 && ++window[d - 1] == ranges[d - 1].last) {
        window[d - 1] = ranges[d - 1].first;
        --d;
      }
      if (d == 0) return;
    }
  }

  const Region& region_;
  const T* const operand_;
  const T* const source_;
  T* const out_;
};

template <CompareDirection kSelect, typename T>
void scatter_from(const WindowDims& dims, const T* operand, const T* source, T init, T* out) {
  const Region region = region_of(dims);
  fill(sizeof(T), &init, region.outer * region.ins * region.inner, out);
  if (region.outer * region.outs * region.inner == 0) return;
  const int64_t chunks = (region.inner + kChunk - 1) / kChunk;
  const int64_t each = region.outs * std::min(kChunk, region.inner);
  parallel_for(region.outer * chunks, std::max<int64_t>(1, 4096 / each),
               [&](int64_t begin, int64_t end) {
                 const Scatter<kSelect, T> scatter(region, operand, source, out);
                 for (int64_t task = begin; task < end; ++task) {
                   const int64_t j0 = task % chunks * kChunk;
                   scatter.run(task / chunks, j0, std::min(kChunk, region.inner - j0));
                 }
               });
}

template <CompareDirection kSelect, typename T>
void select_and_scatter(const WindowDims& dims, const void* operand_data, const void* source_data,
                        const void* init_data, void* out_data) {
  const T *operand = static_cast<const T*>(operand_data),
          *source = static_cast<const T*>(source_data);
  const T init = *static_cast<const T*>(init_data);
  T* out = static_cast<T*>(out_data);
  if constexpr (kHalf<T>) {
    const int64_t ins = elements_of(dims);
    const Widened wide(operand, ins), wide_source(source, windows_of(dims)), sums(ins);
    scatter_from<kSelect, float>(dims, wide.data(), wide_source.data(), init, sums.data());
    convert_items(sums.data(), out, ins);
  } else {
    scatter_from<kSelect, T>(dims, operand, source, init, out);
  }
}

template <CompareDirection kSelect>
SelectAndScatter of_type(DType type) {
  if (type == DType::pred) return nullptr;
  return with_element(type, [](auto element) -> SelectAndScatter {
    using T = decltype(element);
    if constexpr (kComplex<T>) {
      return nullptr;
    } else {
      return select_and_scatter<kSelect, T>;
    }
  });
}

}  // namespace

SelectAndScatter select_and_scatter_kernel(CompareDirection select, DType type) {
  switch (select) {
    case CompareDirection::ge:
      return of_type<CompareDirection::ge>(type);
    case CompareDirection::gt:
      return of_type<CompareDirection::gt>(type);
    case CompareDirection::le:
      return of_type<CompareDirection::le>(type);
    case CompareDirection::lt:
      return of_type<CompareDirection::lt>(type);
    default:
      return nullptr;
  }
}

}  // namespace jaxmps::cpu
