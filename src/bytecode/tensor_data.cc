// The elements of tensor attributes: plain, splat, or (bool) one bit each.
// Data points into the artifact where the stored form is ours; bools and signed 2- and 4-bit
// integers are unpacked into a copy.
#include <algorithm>
#include <vector>

#include "bytecode/tables.h"

namespace jaxmps::bytecode {
namespace {

ir::Dense bools(ir::Type type, std::vector<uint8_t> bytes, bool splat) {
  return ir::Dense::copy(std::move(type), bytes, splat);
}

Result<ir::Dense> bool_data(Decoder& in, ir::Type type, std::span<const uint8_t> blob, size_t at) {
  const uint64_t count = static_cast<uint64_t>(type.size());
  const uint64_t packed = count / 8 + (count % 8 != 0);
  const uint64_t length = blob.size();
  if (count == 0 && length <= 1) return bools(std::move(type), {}, false);
  if (count != 0 && length == 1 && blob[0] == 0xFF) {
    return bools(std::move(type), {1}, count != 1);
  }
  if (count != 0 && length == packed && length != count) {
    CHECK_OK(in.charge(count));
    std::vector<uint8_t> bytes(count);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = blob[i / 8] >> (i % 8) & 1;
    return bools(std::move(type), std::move(bytes), false);
  }
  if (count != 0 && length == 1) {
    return bools(std::move(type), {static_cast<uint8_t>(blob[0] != 0)}, count != 1);
  }
  if (count != 0 && length == count) {
    CHECK_OK(in.charge(count));
    std::vector<uint8_t> bytes(blob.begin(), blob.end());
    for (uint8_t& byte : bytes) byte = byte != 0;
    return bools(std::move(type), std::move(bytes), false);
  }
  return malformed(at, "tensor data", str(length, " bytes do not hold a ", ir::print(type)));
}

Result<ir::Dense> small_ints(Decoder& in, ir::Type type, std::span<const uint8_t> blob,
                             bool splat) {
  CHECK_OK(in.charge(blob.size()));
  const int shift = 8 - ir::bit_width(type.dtype);
  const bool is_signed = ir::is_signed_int(type.dtype);
  std::vector<uint8_t> bytes(blob.begin(), blob.end());
  for (uint8_t& byte : bytes) {
    const auto up = static_cast<uint8_t>(byte << shift);
    byte = is_signed ? static_cast<uint8_t>(static_cast<int8_t>(up) >> shift)
                     : static_cast<uint8_t>(up >> shift);
  }
  return ir::Dense::copy(std::move(type), bytes, splat);
}

}  // namespace

Result<ir::Dense> tensor_data(Decoder& in, ir::Type type) {
  const size_t at = in.in.offset();
  TRY(const size_t length, in.in.count("tensor data size"));
  TRY(const auto blob, in.in.bytes("tensor data", length));
  if (!type.is_static() || type.quantization) {
    return malformed(at, "tensor data", str("of type ", ir::print(type)));
  }
  if (type.dtype == ir::DType::pred) return bool_data(in, std::move(type), blob, at);
  const auto count = static_cast<uint64_t>(type.size());
  const auto each = static_cast<uint64_t>(ir::byte_size(type.dtype));
  const bool plain = blob.size() == count * each;
  const bool splat = !plain && count > 1 && blob.size() == each;
  // An empty tensor may have been written as a splat.
  const bool empty = count == 0 && blob.size() == each;
  if (!plain && !splat && !empty) {
    return malformed(at, "tensor data", str(blob.size(), " bytes do not hold a ", ir::print(type)));
  }
  if (ir::is_int(type.dtype) && ir::bit_width(type.dtype) < 8) {
    return small_ints(in, std::move(type), blob, splat);
  }
  ir::Dense dense;
  dense.type = std::move(type);
  dense.splat = splat;
  dense.data = blob.data();
  dense.owner = in.tables().owner();
  return dense;
}

}  // namespace jaxmps::bytecode
