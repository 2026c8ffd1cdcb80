// The container of an artifact: sections, strings, dialects, op names, and where each attribute,
// type and property lies. Nothing is decoded here beyond that; all ranges are checked.
// Borrows the artifact's bytes, which must outlive it. Immutable after reading.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "bytecode/cursor.h"

namespace jaxmps::bytecode {

inline constexpr uint64_t kNewestVersion = 6;
inline constexpr uint8_t kIrSection = 4;

// The encoded form of one attribute or type.
struct Entry {
  size_t begin, end;
  uint32_t dialect;
  bool custom;  // else NUL-terminated assembly text
};

struct OpName {
  uint32_t dialect;
  std::string_view name;
  bool registered;
};

struct Container {
  std::span<const uint8_t> file;
  uint64_t version = 0;
  std::string producer;
  std::vector<std::string_view> strings;
  std::vector<std::string_view> dialects;
  std::vector<OpName> op_names;
  std::vector<Entry> attributes;
  std::vector<Entry> types;
  std::vector<Cursor> properties;
  Cursor ir;

  Cursor cursor(const Entry& entry) const { return Cursor(file, entry.begin, entry.end); }
};

Result<Container> read_container(std::span<const uint8_t> file);

}  // namespace jaxmps::bytecode
