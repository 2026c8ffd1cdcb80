// Reads the primitives of MLIR bytecode from one range of the artifact: a section, an entry, a
// blob. Every read names its field, so an error says where and what: "0x1a4: dimension: index 12
// out of 9". A cursor borrows the bytes and never leaves its range. A value; thread-compatible.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace jaxmps::bytecode {

using Text = std::string_view;

// "0x1a4: field: what".
Error malformed(size_t offset, Text field, Text what);
// Puts `context` between the offset and the rest of a message made by `malformed`.
Error within(Error error, Text context);
// Names out of the artifact for messages: shortened, unprintable bytes replaced.
std::string quoted(Text name);

struct Flagged {
  uint64_t value;
  bool flag;
};

class Cursor {
 public:
  Cursor() = default;
  Cursor(std::span<const uint8_t> file, size_t begin, size_t end)
      : file_(file.data()), at_(begin), end_(end) {}

  size_t offset() const { return at_; }
  size_t left() const { return end_ - at_; }
  bool done() const { return at_ == end_; }
  const uint8_t* data() const { return file_ + at_; }

  Result<uint8_t> u8(Text field);
  Result<uint64_t> varint(Text field);
  Result<int64_t> svarint(Text field);
  // A varint whose lowest bit is a flag.
  Result<Flagged> flagged(Text field);
  // A number of items that follow, each at least `bytes_each` bytes long.
  Result<size_t> count(Text field, size_t bytes_each = 1);
  // An index into a table of `size` entries.
  Result<size_t> index(Text field, size_t size);
  Result<std::span<const uint8_t>> bytes(Text field, size_t size);
  // Splits off the next `size` bytes.
  Result<Cursor> part(Text field, size_t size);
  // A section header, its padding and its data; `id` comes without the alignment bit.
  Result<Cursor> section(Text field, uint8_t* id);
  // Fails if bytes are left.
  Status finish(Text field) const;

  Error error(Text field, Text what) const { return malformed(at_, field, what); }

 private:
  Cursor(const uint8_t* file, size_t begin, size_t end) : file_(file), at_(begin), end_(end) {}
  const uint8_t* file_ = nullptr;
  size_t at_ = 0;
  size_t end_ = 0;
};

}  // namespace jaxmps::bytecode
