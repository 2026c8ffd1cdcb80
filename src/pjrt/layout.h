// Shapes and layouts as they cross the interface.
// Everything inside the plugin is dense and row-major; only the host side of a transfer may differ.
// Free functions and values; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ir/type.h"
#include "pjrt/abi.h"

namespace jaxmps::pjrt {

// A dense order of dimensions, fastest first; {1, 0} is row-major of rank 2.
using MinorToMajor = std::vector<int64_t>;

MinorToMajor row_major(size_t rank);
bool is_row_major(const MinorToMajor& order);
// The text form that clients parse: "{1,0}".
std::string print_layout(const MinorToMajor& order);
// Reads a layout of the interface; null is row-major. Tiles and padded strides are UNIMPLEMENTED.
Result<MinorToMajor> read_layout(const PJRT_Buffer_MemoryLayout* layout, const ir::Type& type);
// Byte strides, by dimension, of a dense array in that order.
std::vector<int64_t> dense_strides(const ir::Dims& dims, const MinorToMajor& order,
                                   int64_t item_size);
// Of the type, as it is kept here.
inline std::vector<int64_t> dense_strides(const ir::Type& type) {
  return dense_strides(type.dims, row_major(type.dims.size()), ir::byte_size(type.dtype));
}

// What clients call the element type of a value.
inline PJRT_Buffer_Type client_type(const ir::Type& type, bool is_token) {
  return is_token ? PJRT_Buffer_Type_TOKEN
                  : static_cast<PJRT_Buffer_Type>(ir::pjrt_type(type.dtype));
}
// The type of a shape given as arguments; an error names what is wrong with it.
Result<ir::Type> read_shape(PJRT_Buffer_Type type, const int64_t* dims, size_t num_dims);

}  // namespace jaxmps::pjrt
