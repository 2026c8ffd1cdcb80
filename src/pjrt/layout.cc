#include "pjrt/layout.h"

#include <algorithm>
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

}  // namespace jaxmps::pjrt
