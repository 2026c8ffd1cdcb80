#include "bytecode/container.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace jaxmps::bytecode {
namespace {

enum Section : uint8_t {
  kStrings = 0,
  kDialects = 1,
  kEntries = 2,
  kEntrySizes = 3,
  kIr = kIrSection,
  kResources = 5,
  kResourceOffsets = 6,
  kDialectVersion = 7,
  kProperties = 8,
  kSectionCount = 9,
};

constexpr std::array<Text, kSectionCount> kSectionNames = {
    "string section",  "dialect section",  "attribute and type section", "size section",
    "IR section",      "resource section", "resource offset section",    "dialect version section",
    "property section"};

constexpr size_t kMaxFile = size_t{1} << 31;

class ContainerReader {
 public:
  explicit ContainerReader(std::span<const uint8_t> file) { out_.file = file; }

  Result<Container> read() {
    CHECK_OK(read_header());
    CHECK_OK(read_sections());
    CHECK_OK(read_strings());
    if (present_[kProperties]) CHECK_OK(read_properties());
    CHECK_OK(read_dialects());
    CHECK_OK(check_resources());
    CHECK_OK(read_entries());
    out_.ir = sections_[kIr];
    return std::move(out_);
  }

 private:
  Status read_header() {
    static constexpr uint8_t kMagic[] = {'M', 'L', 0xEF, 'R'};
    const auto file = out_.file;
    if (file.size() > kMaxFile) return malformed(0, "artifact", "larger than 2 GiB");
    if (file.size() < sizeof kMagic || std::memcmp(file.data(), kMagic, sizeof kMagic) != 0) {
      return malformed(0, "magic",
                       "not MLIR bytecode (a program must be a portable StableHLO artifact)");
    }
    Cursor in(file, sizeof kMagic, file.size());
    const size_t at = in.offset();
    TRY(out_.version, in.varint("bytecode version"));
    if (out_.version > kNewestVersion) {
      return malformed(at, "bytecode version",
                       str(out_.version, " is newer than ", kNewestVersion));
    }
    const void* end = std::memchr(in.data(), 0, in.left());
    if (!end) return in.error("producer", "no terminating NUL");
    const size_t length = static_cast<size_t>(static_cast<const uint8_t*>(end) - in.data());
    TRY(const auto producer, in.bytes("producer", length + 1));
    out_.producer.assign(reinterpret_cast<const char*>(producer.data()), length);
    rest_ = in;
    return {};
  }

  Status read_sections() {
    while (!rest_.done()) {
      const size_t at = rest_.offset();
      uint8_t id = 0;
      TRY(Cursor body, rest_.section("section", &id));
      if (id >= kSectionCount || id == kDialectVersion) {
        return malformed(at, "section", str("unknown id ", id));
      }
      if (present_[id]) return malformed(at, kSectionNames[id], "occurs twice");
      present_[id] = true;
      sections_[id] = body;
    }
    for (uint8_t id : {kStrings, kDialects, kEntries, kEntrySizes, kIr}) {
      if (!present_[id]) return malformed(out_.file.size(), kSectionNames[id], "missing");
    }
    if (out_.version >= 5 && !present_[kProperties]) {
      return malformed(out_.file.size(), kSectionNames[kProperties], "missing");
    }
    if (present_[kResources] != present_[kResourceOffsets]) {
      return malformed(out_.file.size(),
                       kSectionNames[present_[kResources] ? kResourceOffsets : kResources],
                       "missing");
    }
    return {};
  }

  Status read_strings() {
    Cursor in = sections_[kStrings];
    TRY(const size_t count, in.count("string count"));
    std::vector<size_t> sizes(count);
    size_t total = 0;
    for (size_t i = count; i-- > 0;) {
      const size_t at = in.offset();
      TRY(const uint64_t size, in.varint("string size"));
      if (size == 0 || size > in.left()) {
        return malformed(at, str("size of string ", i), str(size, " out of 1..", in.left()));
      }
      sizes[i] = static_cast<size_t>(size);
      total += sizes[i];
    }
    if (total != in.left()) {
      return in.error("string data",
                      str("sizes add up to ", total, ", ", in.left(), " bytes left"));
    }
    out_.strings.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      TRY(const auto bytes, in.bytes("string", sizes[i]));
      if (bytes.back() != 0) return in.error(str("string ", i), "no terminating NUL");
      out_.strings.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size() - 1);
    }
    return {};
  }

  Status read_properties() {
    Cursor in = sections_[kProperties];
    TRY(const size_t count, in.count("property count"));
    out_.properties.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      TRY(const size_t size, in.count("property size"));
      TRY(Cursor blob, in.part("property", size));
      out_.properties.push_back(blob);
    }
    return in.finish("property section");
  }

  Status read_dialects() {
    Cursor in = sections_[kDialects];
    TRY(const size_t count, in.count("dialect count"));
    for (size_t i = 0; i < count; ++i) {
      const size_t at = in.offset();
      TRY(const uint64_t raw, in.varint("dialect name"));
      const bool flags = out_.version >= 1;
      const uint64_t name = flags ? raw >> 1 : raw;
      if (name >= out_.strings.size()) {
        return malformed(at, "dialect name", str("index ", name, " out of ", out_.strings.size()));
      }
      out_.dialects.push_back(out_.strings[name]);
      if (flags && (raw & 1)) {
        uint8_t id = 0;
        TRY([[maybe_unused]] const Cursor skipped, in.section("dialect version", &id));
        if (id != kDialectVersion) return malformed(at, "dialect version", str("section id ", id));
      }
    }
    uint64_t expected = 0;
    const size_t at = in.offset();
    if (out_.version >= 4) {
      TRY(expected, in.varint("op name count"));
    }
    while (!in.done()) CHECK_OK(read_op_names(in));
    if (out_.version >= 4 && expected != out_.op_names.size()) {
      return malformed(at, "op name count",
                       str(expected, " but the groups hold ", out_.op_names.size()));
    }
    return {};
  }

  Status read_op_names(Cursor& in) {
    TRY(const size_t dialect, in.index("op name dialect", out_.dialects.size()));
    TRY(const size_t count, in.count("op name group size"));
    for (size_t i = 0; i < count; ++i) {
      const size_t at = in.offset();
      TRY(const uint64_t raw, in.varint("op name"));
      const bool flags = out_.version >= 5;
      const uint64_t name = flags ? raw >> 1 : raw;
      if (name >= out_.strings.size()) {
        return malformed(at, "op name", str("index ", name, " out of ", out_.strings.size()));
      }
      out_.op_names.push_back(
          {static_cast<uint32_t>(dialect), out_.strings[name], !flags || (raw & 1) != 0});
    }
    return {};
  }

  // VHLO cannot refer to resources, so none may be there: one zero count and no data.
  Status check_resources() const {
    if (!present_[kResources]) return {};
    Cursor in = sections_[kResourceOffsets];
    TRY(const uint64_t external, in.varint("external resource count"));
    if (external != 0 || !in.done() || !sections_[kResources].done()) {
      return in.error("resource section", "resources are not supported in a portable artifact");
    }
    return {};
  }

  Status read_entries() {
    Cursor in = sections_[kEntrySizes];
    TRY(const size_t attributes, in.count("attribute count"));
    TRY(const size_t types, in.count("type count"));
    position_ = sections_[kEntries].offset();
    CHECK_OK(read_sizes(in, "attribute", attributes, out_.attributes));
    CHECK_OK(read_sizes(in, "type", types, out_.types));
    CHECK_OK(in.finish("size section"));
    const size_t end = sections_[kEntries].offset() + sections_[kEntries].left();
    if (position_ != end) {
      return malformed(position_, "attribute and type section",
                       str(end - position_, " bytes too many"));
    }
    return {};
  }

  Status read_sizes(Cursor& in, Text kind, size_t count, std::vector<Entry>& entries) {
    const size_t end = sections_[kEntries].offset() + sections_[kEntries].left();
    while (entries.size() < count) {
      TRY(const size_t dialect, in.index(str(kind, " group dialect"), out_.dialects.size()));
      const size_t at = in.offset();
      TRY(const size_t group, in.count(str(kind, " group size")));
      if (group > count - entries.size()) {
        return malformed(at, str(kind, " group size"),
                         str(group, " exceeds the announced ", count));
      }
      for (size_t i = 0; i < group; ++i) {
        const size_t size_at = in.offset();
        TRY(const Flagged size, in.flagged("entry size"));
        if (size.value > end - position_) {
          return malformed(size_at, str("size of ", kind, " ", entries.size()),
                           str(size.value, " exceeds the ", end - position_, " bytes left"));
        }
        const size_t next = position_ + static_cast<size_t>(size.value);
        entries.push_back({position_, next, static_cast<uint32_t>(dialect), size.flag});
        position_ = next;
      }
    }
    return {};
  }

  Container out_;
  Cursor rest_;
  std::array<Cursor, kSectionCount> sections_;
  std::array<bool, kSectionCount> present_{};
  size_t position_ = 0;
};

}  // namespace

Result<Container> read_container(std::span<const uint8_t> file) {
  return ContainerReader(file).read();
}

}  // namespace jaxmps::bytecode
