// Folds ops on constants: elementwise ones by computing each element, the others by moving bytes.
// Splats stay splats, whatever their shape; other results have at most kMostElements elements.
#include "passes/fold.h"

#include <algorithm>
#include <cstring>

#include "fusion/index_map.h"
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

// Ops that read each element from one place.
Value* fold_moved(Op* op, const Dense& from) {
  const Type& type = op->result()->type;
  if (from.splat || from.type.size() == 1 || op->id == OpId::reshape) {
    Dense same = from;  // shares the bytes
    same.type = type;
    same.splat = from.splat || (op->id == OpId::broadcast_in_dim && !type.is_scalar());
    return Builder(op).constant(std::move(same));
  }
  const int64_t count = type.size();
  if (count > kMostElements) return nullptr;
  const size_t rank = type.dims.size();
  std::optional<fusion::Split> unused;
  const auto map = fusion::operand_map(*op, 0, fusion::identity_map(rank), type.dims, &unused);
  if (!map) return nullptr;
  const fusion::Affine place =
      fusion::scaled_sum(*map, ir::row_major_strides(from.type.dims), rank);
  const int width = ir::byte_size(type.dtype);
  std::vector<uint8_t> bytes(count * width);
  Dims index(rank);
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = place.offset;
    for (size_t d = 0; d < rank; ++d) at += index[d] * place.strides[d];
    std::memcpy(&bytes[i * width], from.data + at * width, width);
    for (size_t d = rank; d-- > 0;) {
      if (++index[d] < type.dims[d]) break;
      index[d] = 0;
    }
  }
  return Builder(op).constant(Dense::copy(type, bytes, false));
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
    case OpId::broadcast_in_dim:
    case OpId::transpose:
    case OpId::slice:
    case OpId::reverse:
      moved = fold_moved(op, *in[0]);
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
