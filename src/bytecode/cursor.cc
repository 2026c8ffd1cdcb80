#include "bytecode/cursor.h"

#include <bit>
#include <cstdio>
#include <cstring>

namespace jaxmps::bytecode {
namespace {

constexpr uint64_t kMaxCount = uint64_t{1} << 32;
constexpr uint8_t kPadding = 0xCB;
constexpr uint8_t kAligned = 0x80;
constexpr uint64_t kMaxAlignment = 4096;

std::string hex(size_t offset) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%zx", offset);
  return text;
}

}  // namespace

Error malformed(size_t offset, Text field, Text what) {
  return invalid(str(hex(offset), ": ", field, ": ", what));
}

Error within(Error error, Text context) {
  const size_t at = error.text.find(": ");
  if (at == std::string::npos) return std::move(error).in(context);
  error.text.insert(at + 2, str(context, ": "));
  return error;
}

std::string quoted(Text name) {
  constexpr size_t kLongest = 80;
  std::string out(1, '"');
  for (char c : name.substr(0, kLongest)) out += c >= 0x20 && c < 0x7f ? c : '?';
  if (name.size() > kLongest) out += "...";
  return out + '"';
}

Result<uint8_t> Cursor::u8(Text field) {
  if (done()) return error(field, "truncated");
  return file_[at_++];
}

Result<uint64_t> Cursor::varint(Text field) {
  if (done()) return error(field, "truncated");
  const int extra = std::countr_zero(file_[at_]);
  const size_t size = static_cast<size_t>(extra) + 1;
  if (size > left()) return error(field, "truncated");
  uint64_t value = 0;
  if (extra == 8) {
    for (int i = 8; i >= 1; --i) value = value << 8 | file_[at_ + i];
  } else {
    for (int i = extra; i >= 0; --i) value = value << 8 | file_[at_ + i];
    value >>= extra + 1;
  }
  at_ += size;
  return value;
}

Result<int64_t> Cursor::svarint(Text field) {
  TRY(const uint64_t zigzag, varint(field));
  return static_cast<int64_t>((zigzag >> 1) ^ (~(zigzag & 1) + 1));
}

Result<Flagged> Cursor::flagged(Text field) {
  TRY(const uint64_t value, varint(field));
  return Flagged{value >> 1, (value & 1) != 0};
}

Result<size_t> Cursor::count(Text field, size_t bytes_each) {
  const size_t start = at_;
  TRY(const uint64_t value, varint(field));
  if (value > kMaxCount) return malformed(start, field, str("count ", value, " above 2^32"));
  if (value * bytes_each > left()) {
    return malformed(start, field, str("count ", value, " does not fit in ", left(), " bytes"));
  }
  return static_cast<size_t>(value);
}

Result<size_t> Cursor::index(Text field, size_t size) {
  const size_t start = at_;
  TRY(const uint64_t value, varint(field));
  if (value >= size) return malformed(start, field, str("index ", value, " out of ", size));
  return static_cast<size_t>(value);
}

Result<std::span<const uint8_t>> Cursor::bytes(Text field, size_t size) {
  if (size > left()) {
    return error(field, str("truncated: ", size, " bytes needed, ", left(), " left"));
  }
  std::span<const uint8_t> out(file_ + at_, size);
  at_ += size;
  return out;
}

Result<Cursor> Cursor::part(Text field, size_t size) {
  const size_t start = at_;
  TRY([[maybe_unused]] const auto skipped, bytes(field, size));
  return Cursor(file_, start, at_);
}

Result<Cursor> Cursor::section(Text field, uint8_t* id) {
  TRY(const uint8_t id_byte, u8(field));
  *id = id_byte & ~kAligned;
  TRY(const uint64_t length, varint(field));
  if (id_byte & kAligned) {
    const size_t start = at_;
    TRY(const uint64_t alignment, varint(field));
    if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
      return malformed(
          start, field,
          str("alignment ", alignment, " is not a power of two in 1..", kMaxAlignment));
    }
    while (at_ % alignment != 0) {
      const size_t at = at_;
      TRY(const uint8_t byte, u8(field));
      if (byte != kPadding) return malformed(at, field, str("padding byte ", byte, " is not 0xCB"));
    }
  }
  if (length > left()) {
    return error(field, str("length ", length, " exceeds the ", left(), " bytes left"));
  }
  return part(field, static_cast<size_t>(length));
}

Status Cursor::finish(Text field) const {
  if (!done()) return error(field, str(left(), " bytes too many"));
  return {};
}

}  // namespace jaxmps::bytecode
