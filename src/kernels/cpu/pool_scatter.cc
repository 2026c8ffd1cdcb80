#include <algorithm>

#include "kernels/cpu/pool.h"
#include "kernels/cpu/pool_parts.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kChunk = 64;  // columns selected at once

// A tie, or a NaN, is settled as HLO says: the earlier one stays only when the comparison holds.
template <typename T>
bool keeps(Select select, T kept, T next) {
  switch (select) {
    case Select::kGe:
      return kept >= next;
    case Select::kGt:
      return kept > next;
    case Select::kLe:
      return kept <= next;
    case Select::kLt:
      return kept < next;
  }
  return true;
}

// The dimensions from the first to the last that has a window; what lies before and after them is
// independent, so tasks never meet in `out`.
struct Region {
  std::vector<WindowDim> dims;
  int64_t outer = 1, inner = 1;
  int64_t ins = 1,
          outs = 1;  // elements of the operand and of the source, per outer and inner index
};

Region region_of(const std::vector<WindowDim>& dims) {
  const auto trivial = [](const WindowDim& d) {
    return d.window == 1 && d.stride == 1 && d.pad_low == 0 && d.pad_high == 0;
  };
  size_t begin = 0, end = dims.size();
  Region region;
  while (begin < end && trivial(dims[begin])) region.outer *= dims[begin++].in;
  while (end > begin && trivial(dims[end - 1])) region.inner *= dims[--end].in;
  region.dims.assign(dims.begin() + static_cast<int64_t>(begin),
                     dims.begin() + static_cast<int64_t>(end));
  for (const WindowDim& dim : region.dims) {
    region.ins *= dim.in;
    region.outs *= dim.out();
  }
  return region;
}

template <typename T, Select kSelect>
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
        if (++at[d] < region_.dims[d].out()) break;
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
        index = index * dim.in + at[d] * dim.stride - dim.pad_low + window[d] * dim.window_dilation;
      }
      const T* from = operand + index * region_.inner;
      for (int64_t j = 0; j < columns; ++j) {
        const bool stays = !first && keeps(kSelect, best[j], from[j]);
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

template <typename T, Select kSelect>
void scatter_with(const Region& region, const T* operand, const T* source, T* out) {
  const int64_t chunks = (region.inner + kChunk - 1) / kChunk;
  const int64_t each = region.outs * std::min(kChunk, region.inner);
  parallel_for(region.outer * chunks, std::max<int64_t>(1, 4096 / each),
               [&](int64_t begin, int64_t end) {
                 const Scatter<T, kSelect> scatter(region, operand, source, out);
                 for (int64_t task = begin; task < end; ++task) {
                   const int64_t j0 = task % chunks * kChunk;
                   scatter.run(task / chunks, j0, std::min(kChunk, region.inner - j0));
                 }
               });
}

template <typename T>
void scatter_dense(const SelectAndScatter& s, const T* operand, const T* source, T init, T* out) {
  const Region region = region_of(s.dims);
  fill(sizeof(T), &init, region.outer * region.ins * region.inner, out);
  if (region.outer * region.outs * region.inner == 0) return;
  switch (s.select) {
    case Select::kGe:
      return scatter_with<T, Select::kGe>(region, operand, source, out);
    case Select::kGt:
      return scatter_with<T, Select::kGt>(region, operand, source, out);
    case Select::kLe:
      return scatter_with<T, Select::kLe>(region, operand, source, out);
    case Select::kLt:
      return scatter_with<T, Select::kLt>(region, operand, source, out);
  }
}

template <typename T>
void scatter_as(const SelectAndScatter& s, const void* operand, const void* source,
                const void* init, void* out) {
  scatter_dense<T>(s, static_cast<const T*>(operand), static_cast<const T*>(source),
                   *static_cast<const T*>(init), static_cast<T*>(out));
}

template <typename Half>
void scatter_half(const SelectAndScatter& s, const void* operand, const void* source,
                  const void* init, void* out) {
  int64_t ins = 1, outs = 1;
  for (const WindowDim& dim : s.dims) {
    ins *= dim.in;
    outs *= dim.out();
  }
  Scratch wide(static_cast<size_t>(ins) * sizeof(float)),
      sums(static_cast<size_t>(ins) * sizeof(float));
  Scratch wide_source(static_cast<size_t>(outs) * sizeof(float));
  convert_items(static_cast<const Half*>(operand), wide.as<float>(), ins);
  convert_items(static_cast<const Half*>(source), wide_source.as<float>(), outs);
  scatter_dense<float>(s, wide.as<float>(), wide_source.as<float>(),
                       *static_cast<const Half*>(init), sums.as<float>());
  convert_items(sums.as<float>(), static_cast<Half*>(out), ins);
}

void scatter(const SelectAndScatter& s, const void* operand, const void* source, const void* init,
             void* out) {
  with_element(s.type, [&](auto element) {
    using T = decltype(element);
    if constexpr (kHalf<T>) {
      scatter_half<T>(s, operand, source, init, out);
    } else if constexpr (!kComplex<T>) {
      scatter_as<T>(s, operand, source, init, out);
    }
  });
}

}  // namespace

void select_and_scatter(const SelectAndScatter& s, const void* operand, const void* source,
                        const void* init, void* out) {
  std::vector<int64_t> ins, outs, strides;
  for (const WindowDim& dim : s.dims) {
    ins.push_back(dim.in);
    outs.push_back(dim.out());
    strides.push_back(dim.in_stride);
  }
  const Dense dense_operand(ir::byte_size(s.type), ins, strides, operand);
  const Dense dense_source(ir::byte_size(s.type), outs, s.source_strides, source);
  scatter(s, dense_operand.data(), dense_source.data(), init, out);
}

}  // namespace jaxmps::cpu
