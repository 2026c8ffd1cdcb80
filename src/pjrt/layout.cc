#include "pjrt/layout.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "pjrt/entry.h"

namespace jaxmps::pjrt {
namespace {

constexpr int64_t kMaxDim = std::numeric_limits<int32_t>::max();  // MLX counts in 32 bits
constexpr int64_t kMaxBytes = int64_t{1} << 46;

Result<MinorToMajor> read_tiled(const PJRT_Buffer_MemoryLayout_Tiled& tiled, size_t rank) {
  if (tiled.num_tiles != 0) return unimplemented("layout: tiles; only untiled layouts are kept");
  if (tiled.minor_to_major_size != rank) {
    return invalid(str("layout: minor_to_major has ", tiled.minor_to_major_size,
                       " entries for an array of rank ", rank));
  }
  MinorToMajor order(tiled.minor_to_major, tiled.minor_to_major + rank);
  std::vector<bool> seen(rank);
  for (int64_t dim : order) {
    if (dim < 0 || dim >= static_cast<int64_t>(rank) || seen[dim]) {
      return invalid(str("layout: minor_to_major ", order, " is no permutation"));
    }
    seen[dim] = true;
  }
  return order;
}

Result<MinorToMajor> read_strides(const PJRT_Buffer_MemoryLayout_Strides& strides,
                                  const ir::Type& type) {
  size_t rank = type.dims.size();
  if (strides.num_byte_strides != rank) {
    return invalid(
        str("layout: ", strides.num_byte_strides, " strides for an array of rank ", rank));
  }
  std::vector<int64_t> given(strides.byte_strides, strides.byte_strides + rank);
  MinorToMajor order = row_major(rank);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return given[a] < given[b]; });
  std::vector<int64_t> dense = dense_strides(type.dims, order, ir::byte_size(type.dtype));
  for (size_t i = 0; i < rank; ++i) {
    if (type.dims[i] > 1 && dense[i] != given[i]) {
      return unimplemented(
          str("layout: byte strides ", given, " leave gaps; only dense layouts ", "are kept"));
    }
  }
  return order;
}

struct Axis {
  int64_t count, src, dst;
};

// Drops axes of one element and joins neighbours that both sides walk in one stride.
std::vector<Axis> simplify(const std::vector<int64_t>& src_strides,
                           const std::vector<int64_t>& dst_strides, const ir::Dims& dims) {
  std::vector<Axis> axes;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] != 1) axes.push_back({dims[i], src_strides[i], dst_strides[i]});
  }
  // Writing in order is kinder to the caches than reading in order.
  std::stable_sort(axes.begin(), axes.end(),
                   [](const Axis& a, const Axis& b) { return std::abs(a.dst) > std::abs(b.dst); });
  std::vector<Axis> joined;
  for (const Axis& axis : axes) {
    if (!joined.empty() && joined.back().src == axis.src * axis.count &&
        joined.back().dst == axis.dst * axis.count) {
      joined.back() = {joined.back().count * axis.count, axis.src, axis.dst};
    } else {
      joined.push_back(axis);
    }
  }
  return joined;
}

template <int64_t kSize>
void copy_row(const char* src, char* dst, const Axis& axis) {
  for (int64_t i = 0; i < axis.count; ++i) {
    std::memcpy(dst, src, kSize);
    src += axis.src;
    dst += axis.dst;
  }
}

void copy_innermost(const char* src, char* dst, const Axis& axis, int64_t item_size) {
  if (axis.src == item_size && axis.dst == item_size) {
    std::memcpy(dst, src, axis.count * item_size);
    return;
  }
  switch (item_size) {
    case 1:
      return copy_row<1>(src, dst, axis);
    case 2:
      return copy_row<2>(src, dst, axis);
    case 4:
      return copy_row<4>(src, dst, axis);
    case 8:
      return copy_row<8>(src, dst, axis);
    default:
      return copy_row<16>(src, dst, axis);
  }
}

void copy_axes(const char* src, char* dst, const Axis* axis, size_t count, int64_t item_size) {
  if (count == 1) return copy_innermost(src, dst, *axis, item_size);
  for (int64_t i = 0; i < axis->count; ++i) {
    copy_axes(src + i * axis->src, dst + i * axis->dst, axis + 1, count - 1, item_size);
  }
}

}  // namespace

MinorToMajor row_major(size_t rank) {
  MinorToMajor order(rank);
  std::iota(order.rbegin(), order.rend(), 0);
  return order;
}

bool is_row_major(const MinorToMajor& order) { return order == row_major(order.size()); }

std::string print_layout(const MinorToMajor& order) {
  std::string text = "{";
  for (size_t i = 0; i < order.size(); ++i) text += str(i ? "," : "", order[i]);
  return text + "}";
}

Result<MinorToMajor> read_layout(const PJRT_Buffer_MemoryLayout* layout, const ir::Type& type) {
  if (!layout) return row_major(type.dims.size());
  switch (layout->type) {
    case PJRT_Buffer_MemoryLayout_Type_Tiled:
      return read_tiled(layout->tiled, type.dims.size());
    case PJRT_Buffer_MemoryLayout_Type_Strides:
      return read_strides(layout->strides, type);
  }
  return invalid(str("layout: type ", static_cast<int>(layout->type), " does not exist"));
}

std::vector<int64_t> dense_strides(const ir::Dims& dims, const MinorToMajor& order,
                                   int64_t item_size) {
  std::vector<int64_t> strides(dims.size());
  int64_t stride = item_size;
  for (int64_t dim : order) {
    strides[dim] = stride;
    stride *= dims[dim];
  }
  return strides;
}

Result<ir::Type> read_shape(PJRT_Buffer_Type type, const int64_t* dims, size_t num_dims) {
  ir::DType dtype;
  if (!ir::from_pjrt_type(type, &dtype)) {
    return invalid(str("element type ", static_cast<int>(type), " is no type of an array"));
  }
  if (num_dims > 0 && !dims) return invalid(str("dims is null, the rank is ", num_dims));
  ir::Type shape(dtype, ir::Dims(dims, dims + num_dims));
  int64_t bytes = ir::byte_size(dtype);
  for (int64_t dim : shape.dims) {
    if (dim < 0 || dim > kMaxDim) {
      return invalid(str("dimensions ", shape.dims, ": each must be from 0 to ", kMaxDim));
    }
    if (dim > 0 && bytes > kMaxBytes / dim) {
      return Error(Code::resource_exhausted,
                   str("dimensions ", shape.dims, ": the array exceeds ", kMaxBytes, " bytes"));
    }
    bytes *= std::max<int64_t>(dim, 1);
  }
  return shape;
}

void copy_strided(const char* src, const std::vector<int64_t>& src_strides, char* dst,
                  const std::vector<int64_t>& dst_strides, const ir::Dims& dims,
                  int64_t item_size) {
  if (std::find(dims.begin(), dims.end(), 0) != dims.end()) return;
  std::vector<Axis> axes = simplify(src_strides, dst_strides, dims);
  if (axes.empty()) axes.push_back({1, item_size, item_size});
  copy_axes(src, dst, axes.data(), axes.size(), item_size);
}

}  // namespace jaxmps::pjrt
