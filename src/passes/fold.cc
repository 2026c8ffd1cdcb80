// Folds ops on constants: elementwise ones by computing each element, the others by moving bytes.
// Splats stay splats, whatever their shape; other results have at most kMostElements elements.
#include "passes/fold.h"

#include <algorithm>
#include <cstring>

#include "passes/rewrite.h"
#include "scalar/scalar.h"

namespace jaxmps::passes {
namespace {

constexpr int64_t kMostElements = 1024;

// An op that is a scalar program, element by element.
std::vector<Value*> fold_elementwise(Op* op, const std::vector<const Dense*>& in) {
  const Type& type = op->result()->type;
  bool splat = true;
  for (const Dense* dense : in) splat = splat && (dense->splat || dense->type.is_scalar());
  const int64_t count = splat ? 1 : type.size();
  if (count > kMostElements) return {};
  auto program = scalar::scalar_program(*op);
  if (!program.ok()) return {};
  const auto results = static_cast<size_t>(op->result_count());
  std::vector<int64_t> widths(results);
  std::vector<std::vector<uint8_t>> bytes(results);
  for (size_t r = 0; r < results; ++r) {
    widths[r] = ir::byte_size(op->result(static_cast<int>(r))->type.dtype);
    bytes[r].resize(static_cast<size_t>(count * widths[r]));
  }
  std::vector<const void*> from(in.size());
  std::vector<void*> to(results);
  for (int64_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < in.size(); ++k) {
      const bool single = in[k]->splat || in[k]->type.is_scalar();
      from[k] = in[k]->data + (single ? 0 : i * ir::byte_size(in[k]->type.dtype));
    }
    for (size_t r = 0; r < results; ++r) to[r] = &bytes[r][static_cast<size_t>(i * widths[r])];
    scalar::evaluate(*program, from.data(), to.data());
  }
  std::vector<Value*> folded(results);
  for (size_t r = 0; r < results; ++r) {
    const Type& made = op->result(static_cast<int>(r))->type;
    folded[r] = Builder(op).constant(Dense::copy(made, bytes[r], splat && !made.is_scalar()));
  }
  return folded;
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

std::vector<Value*> fold_op(Op* op) {
  if (op->operand_count() == 0 || op->result_count() == 0 || !op->regions().empty()) return {};
  std::vector<const Dense*> in;
  for (Value* operand : op->operands()) {
    const Dense* dense = constant_of(operand);
    if (!dense || dense->type.quantization) return {};
    in.push_back(dense);
  }
  const Type& type = op->result()->type;
  if (!type.is_static() || type.quantization || type.size() == 0) return {};
  Value* moved = nullptr;
  switch (op->id) {
    case OpId::reshape:
      moved = fold_reshape(op, *in[0]);
      break;
    case OpId::broadcast_in_dim:
      moved = fold_broadcast(op, *in[0]);
      break;
    case OpId::transpose:
      moved = fold_transpose(op, *in[0]);
      break;
    case OpId::slice:
      moved = fold_slice(op, *in[0]);
      break;
    case OpId::reverse:
      moved = fold_reverse(op, *in[0]);
      break;
    case OpId::concatenate:
      moved = fold_concatenate(op, in);
      break;
    default:
      return fold_elementwise(op, in);
  }
  return moved ? std::vector{moved} : std::vector<Value*>();
}

}  // namespace jaxmps::passes
