// Folds ops on constants: elementwise ones by computing each element, the others by moving bytes.
// Splats stay splats, whatever their shape; other results have at most kMostElements elements.
#include "passes/fold.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <unordered_map>

#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

using ir::Dense;
using ir::Dims;
using ir::DType;
using ir::Ints;
using ir::Op;
using ir::OpId;
using ir::Type;
using ir::Value;

constexpr int64_t kMostElements = 1024;

Scalar load(const Dense& dense, int64_t index) {
  Scalar scalar;
  if (ir::is_float(dense.type.dtype)) {
    scalar.f = dense.float_at(index);
  } else {
    scalar.i = dense.int_at(index);
  }
  return scalar;
}

Value* fold_elementwise(Op* op, const std::vector<const Dense*>& in) {
  const ScalarFunction function = scalar_function(op->id);
  const Type& type = op->result()->type;
  if (!function || !foldable(type.dtype)) return nullptr;
  bool splat = true;
  for (const Dense* dense : in) {
    if (!foldable(dense->type.dtype)) return nullptr;
    splat = splat && (dense->splat || dense->type.is_scalar());
  }
  const int64_t count = splat ? 1 : type.size();
  if (count > kMostElements) return nullptr;
  const int width = ir::byte_size(type.dtype);
  std::vector<uint8_t> bytes(count * width);
  for (int64_t i = 0; i < count; ++i) {
    Scalar operands[3], result;
    for (size_t k = 0; k < in.size() && k < 3; ++k) {
      operands[k] = load(*in[k], in[k]->type.is_scalar() ? 0 : i);
    }
    // The type that decides is the one compared, selected or converted from.
    if (!function(*op, in[op->id == OpId::select ? 1 : 0]->type.dtype, operands, &result)) {
      return nullptr;
    }
    if (ir::is_float(type.dtype)) {
      store_element(type.dtype, &bytes[i * width], result.f);
    } else {
      store_integer(type.dtype, &bytes[i * width], result.i);
    }
  }
  return Builder(op).constant(Dense::copy(type, bytes, splat && !type.is_scalar()));
}

// The operand's index for each result index, as base and strides per result dimension.
struct IndexMap {
  int64_t base = 0;
  Dims strides;
};

Value* gather_elements(Op* op, const Dense& from, const IndexMap& map) {
  const Type& type = op->result()->type;
  if (from.splat) {
    Dense same = from;
    same.type = type;
    return Builder(op).constant(std::move(same));
  }
  const int64_t count = type.size();
  if (count > kMostElements) return nullptr;
  const int width = ir::byte_size(type.dtype);
  std::vector<uint8_t> bytes(count * width);
  Dims index(type.rank());
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = map.base;
    for (size_t d = 0; d < index.size(); ++d) at += index[d] * map.strides[d];
    std::memcpy(&bytes[i * width], from.data + at * width, width);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < type.dims[d]) break;
      index[d] = 0;
    }
  }
  return Builder(op).constant(Dense::copy(type, bytes, false));
}

Value* fold_reshape(Op* op, const Dense& from) {
  Dense same = from;  // shares the bytes
  same.type = op->result()->type;
  return Builder(op).constant(std::move(same));
}

Value* fold_broadcast(Op* op, const Dense& from) {
  const Ints& dims = op->ints("broadcast_dimensions");
  const Type& type = op->result()->type;
  if (from.type.size() == 1 && !from.splat) {
    Dense splat = from;
    splat.type = type;
    splat.splat = !type.is_scalar();
    return Builder(op).constant(std::move(splat));
  }
  IndexMap map{0, Dims(type.rank())};
  const Dims strides = ir::row_major_strides(from.type.dims);
  for (size_t i = 0; i < dims.size(); ++i) {
    map.strides[dims[i]] = from.type.dims[i] == 1 ? 0 : strides[i];
  }
  return gather_elements(op, from, map);
}

Value* fold_transpose(Op* op, const Dense& from) {
  IndexMap map;
  const Dims strides = ir::row_major_strides(from.type.dims);
  for (int64_t dim : op->ints("permutation")) map.strides.push_back(strides[dim]);
  return gather_elements(op, from, map);
}

Value* fold_slice(Op* op, const Dense& from) {
  IndexMap map;
  const Dims strides = ir::row_major_strides(from.type.dims);
  for (size_t i = 0; i < strides.size(); ++i) {
    map.base += strides[i] * op->ints("start_indices")[i];
    map.strides.push_back(strides[i] * op->ints("strides")[i]);
  }
  return gather_elements(op, from, map);
}

Value* fold_reverse(Op* op, const Dense& from) {
  IndexMap map{0, ir::row_major_strides(from.type.dims)};
  for (int64_t dim : op->ints("dimensions")) {
    map.base += map.strides[dim] * (from.type.dims[dim] - 1);
    map.strides[dim] = -map.strides[dim];
  }
  return gather_elements(op, from, map);
}

Value* fold_bitcast(Op* op, const Dense& from) {
  const DType a = from.type.dtype, b = op->result()->type.dtype;
  const bool bytes_agree = ir::byte_size(a) == ir::byte_size(b) && a != DType::pred &&
                           b != DType::pred && foldable(a) && foldable(b) &&
                           (!ir::is_int(a) || ir::int_bits(a) >= 8) &&
                           (!ir::is_int(b) || ir::int_bits(b) >= 8);
  return bytes_agree ? fold_reshape(op, from) : nullptr;
}

Value* fold_concatenate(Op* op, const std::vector<const Dense*>& in) {
  const Type& type = op->result()->type;
  if (type.size() > kMostElements) return nullptr;
  const int64_t dim = op->i64("dimension");
  const int width = ir::byte_size(type.dtype);
  int64_t outer = 1;
  for (int64_t i = 0; i < dim; ++i) outer *= type.dims[i];
  std::vector<uint8_t> bytes;
  bytes.reserve(type.size() * width);
  for (int64_t o = 0; o < outer; ++o) {
    for (const Dense* part : in) {
      const int64_t count = part->type.size() / outer;
      for (int64_t i = 0; i < count; ++i) {
        const uint8_t* at = part->data + (part->splat ? 0 : (o * count + i) * width);
        bytes.insert(bytes.end(), at, at + width);
      }
    }
  }
  return Builder(op).constant(Dense::copy(type, bytes, false));
}

}  // namespace

Value* fold_op(Op* op) {
  if (op->operand_count() == 0 || op->result_count() != 1 || !op->regions().empty()) return nullptr;
  std::vector<const Dense*> in;
  for (Value* operand : op->operands()) {
    const Dense* dense = constant_of(operand);
    if (!dense || dense->type.quantization) return nullptr;
    in.push_back(dense);
  }
  const Type& type = op->result()->type;
  if (!type.is_static() || type.quantization || type.size() == 0) return nullptr;
  switch (op->id) {
    case OpId::reshape: return fold_reshape(op, *in[0]);
    case OpId::broadcast_in_dim: return fold_broadcast(op, *in[0]);
    case OpId::transpose: return fold_transpose(op, *in[0]);
    case OpId::slice: return fold_slice(op, *in[0]);
    case OpId::reverse: return fold_reverse(op, *in[0]);
    case OpId::bitcast_convert: return fold_bitcast(op, *in[0]);
    case OpId::concatenate: return fold_concatenate(op, in);
    default: return fold_elementwise(op, in);
  }
}

}  // namespace jaxmps::passes
