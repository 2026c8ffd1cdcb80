#include "pjrt/proto.h"

namespace jaxmps::pjrt {

Error ProtoReader::fail(std::string_view what) const {
  return invalid(str(name_, ": byte ", offset_, ": ", what));
}

Error ProtoReader::wrong_type(const ProtoField& field) const {
  return invalid(str(name_, ": field ", field.number, " has wire type ",
                     static_cast<int>(field.wire), ", which it cannot have"));
}

Result<uint64_t> ProtoReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at_end()) return fail("the message ends inside a number");
    auto byte = static_cast<unsigned char>(bytes_[offset_++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return fail("a number is longer than ten bytes");
}

Result<uint64_t> ProtoReader::fixed(size_t width) {
  if (bytes_.size() - offset_ < width) return fail("the message ends inside a number");
  uint64_t value = 0;
  for (size_t i = 0; i < width; ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes_[offset_ + i])) << (8 * i);
  }
  offset_ += width;
  return value;
}

Result<ProtoField> ProtoReader::next() {
  TRY(uint64_t tag, varint());
  ProtoField field;
  if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return fail("a field number is out of range");
  field.number = static_cast<uint32_t>(tag >> 3);
  field.wire = static_cast<Wire>(tag & 7);
  switch (field.wire) {
    case Wire::varint: {
      TRY(field.value, varint());
      return field;
    }
    case Wire::fixed64: {
      TRY(field.value, fixed(8));
      return field;
    }
    case Wire::fixed32: {
      TRY(field.value, fixed(4));
      return field;
    }
    case Wire::bytes: {
      TRY(uint64_t size, varint());
      if (size > bytes_.size() - offset_) return fail("a field is longer than the message");
      field.bytes = bytes_.substr(offset_, size);
      offset_ += size;
      return field;
    }
  }
  return fail(str("wire type ", tag & 7, " does not exist"));
}

Status read_repeated(const ProtoField& field, std::string_view message, std::vector<int64_t>& out) {
  if (field.wire == Wire::varint) {
    out.push_back(field.as_int());
    return {};
  }
  ProtoReader reader(field.bytes, message);
  if (field.wire != Wire::bytes) return reader.wrong_type(field);
  // A packed list is a run of varints without tags.
  while (!reader.at_end()) {
    TRY(const uint64_t value, reader.varint());
    out.push_back(static_cast<int64_t>(value));
  }
  return {};
}

void ProtoWriter::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
  out_ += static_cast<char>(value);
}

void ProtoWriter::number(uint32_t field, int64_t value) {
  varint(field << 3);
  varint(static_cast<uint64_t>(value));
}

void ProtoWriter::bytes(uint32_t field, std::string_view value) {
  varint(field << 3 | 2);
  varint(value.size());
  out_ += value;
}

void ProtoWriter::packed(uint32_t field, const std::vector<int64_t>& values) {
  ProtoWriter inner;
  for (int64_t value : values) inner.varint(static_cast<uint64_t>(value));
  bytes(field, inner.out_);
}

}  // namespace jaxmps::pjrt
