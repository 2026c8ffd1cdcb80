// The protobuf wire format, as much as compile options, device assignments and shardings need.
// ProtoReader walks the fields of one message in untrusted bytes: every read is bounds-checked and
// the first defect becomes an error that names the byte. ProtoWriter appends fields to a string.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace jaxmps::pjrt {

enum class Wire : int { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct ProtoField {
  uint32_t number = 0;
  Wire wire = Wire::varint;
  uint64_t value = 0;      // varint, fixed32 and fixed64
  std::string_view bytes;  // bytes

  int64_t as_int() const { return static_cast<int64_t>(value); }
};

class ProtoReader {
 public:
  // `message` names what is read, for errors.
  ProtoReader(std::string_view bytes, std::string_view message) : bytes_(bytes), name_(message) {}

  bool at_end() const { return offset_ == bytes_.size(); }
  Result<ProtoField> next();
  Result<uint64_t> varint();

  // The error that field `field` is of a wrong type.
  Error wrong_type(const ProtoField& field) const;

 private:
  Result<uint64_t> fixed(size_t width);
  Error fail(std::string_view what) const;

  std::string_view bytes_;
  std::string_view name_;
  size_t offset_ = 0;
};

// Appends the numbers of a repeated varint field, which may come packed or one by one.
Status read_repeated(const ProtoField& field, std::string_view message, std::vector<int64_t>& out);

class ProtoWriter {
 public:
  void number(uint32_t field, int64_t value);
  void bytes(uint32_t field, std::string_view value);
  void packed(uint32_t field, const std::vector<int64_t>& values);
  std::string take() { return std::move(out_); }

 private:
  void varint(uint64_t value);
  std::string out_;
};

}  // namespace jaxmps::pjrt
