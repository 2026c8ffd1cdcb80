// Builds artifacts byte by byte for tests: by default the smallest real program,
//   func @main(tensor<2xf32>) -> tensor<2xf32> { %0 = add %arg0, %arg0; return %0 }
// as a client would write it for StableHLO 1.16.0. Every part can be replaced by a broken one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "bytecode/reader.h"

namespace jaxmps::bytecode::testing {

using Bytes = std::vector<uint8_t>;

inline Bytes varint(uint64_t value) {
  int extra = 0;
  while (extra < 8 && value >> (7 * (extra + 1)) != 0) ++extra;
  Bytes out;
  if (extra == 8) {
    out.push_back(0);
    for (int i = 0; i < 8; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
    return out;
  }
  const uint64_t coded = (value << 1 | 1) << extra;
  for (int i = 0; i <= extra; ++i) out.push_back(static_cast<uint8_t>(coded >> (8 * i)));
  return out;
}

inline Bytes svarint(int64_t value) {
  const auto bits = static_cast<uint64_t>(value);
  return varint(bits << 1 ^ (value < 0 ? ~uint64_t{0} : 0));
}

inline Bytes& operator+=(Bytes& left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

inline Bytes operator+(Bytes left, const Bytes& right) { return std::move(left += right); }

inline Bytes section(uint8_t id, const Bytes& data) {
  return Bytes{id} + varint(data.size()) + data;
}

struct Entry {
  uint64_t dialect;
  Bytes data;
  bool custom = true;
};

enum Dialect : uint64_t { kBuiltin = 0, kVhlo = 1, kSdy = 2 };
enum OpIndex : uint64_t { kModule = 0, kFunc = 1, kAdd = 2, kReturn = 3 };

struct Artifact {
  Bytes magic = {'M', 'L', 0xEF, 'R'};
  uint64_t version = 6;
  std::string producer = "StableHLO_v1.16.0";
  std::vector<std::string> strings = {"builtin", "vhlo",      "sdy",  "module", "func_v1",
                                      "add_v1",  "return_v1", "main", "public"};
  std::vector<uint64_t> dialects = {0, 1, 2};  // strings
  std::vector<std::pair<uint64_t, uint64_t>> ops = {
      {0, 3}, {1, 4}, {1, 5}, {1, 6}};  // dialect, string
  std::vector<Entry> attrs = {
      {kBuiltin, varint(15)},           // 0: unknown location
      {kVhlo, varint(1) + varint(0)},   // 1: empty array
      {kVhlo, varint(17) + varint(1)},  // 2: type attribute of type 1
      {kVhlo, varint(14) + varint(7)},  // 3: "main"
      {kVhlo, varint(14) + varint(8)},  // 4: "public"
  };
  std::vector<Entry> types = {
      {kVhlo, varint(20) + varint(1) + svarint(2) + varint(2)},            // 0: tensor<2xf32>
      {kVhlo, varint(8) + varint(1) + varint(0) + varint(1) + varint(0)},  // 1: its function
      {kVhlo, varint(4)},                                                  // 2: f32
  };
  std::vector<Bytes> properties = {
      {0x01, 0x01},                                               // module
      varint(1) + varint(2) + varint(1) + varint(3) + varint(4),  // func_v1
  };
  uint64_t values = 2;
  Bytes arguments = Bytes{0x03} + varint(0) + Bytes{0x00};  // one of type 0, no use-lists
  std::vector<Bytes> body = {
      varint(kAdd) + Bytes{0x06} + varint(0) + Bytes{0x03, 0x01, 0x05, 0x01, 0x01},
      varint(kReturn) + Bytes{0x04} + varint(0) + Bytes{0x03, 0x03},
  };
  std::vector<Bytes> more_module_ops;
  bool resources = true;

  // Adds an entry or op name and returns its index.
  uint64_t attr(Entry entry) {
    attrs.push_back(std::move(entry));
    return attrs.size() - 1;
  }
  uint64_t type(Entry entry) {
    types.push_back(std::move(entry));
    return types.size() - 1;
  }
  uint64_t string(std::string text) {
    strings.push_back(std::move(text));
    return strings.size() - 1;
  }
  uint64_t op(uint64_t dialect, const std::string& name) {
    ops.push_back({dialect, string(name)});
    return ops.size() - 1;
  }
  uint64_t property(Bytes blob) {
    properties.push_back(std::move(blob));
    return properties.size() - 1;
  }
  // An op without operands and results in front of the others of @main.
  void insert_op(uint64_t name, uint64_t property_entry, const Bytes& results = {}) {
    const auto mask = static_cast<uint8_t>(0x40 | (results.empty() ? 0 : 0x02));
    body.insert(body.begin(),
                varint(name) + Bytes{mask} + varint(0) + varint(property_entry) + results);
  }

  Bytes string_section() const {
    Bytes out = varint(strings.size());
    for (size_t i = strings.size(); i-- > 0;) out += varint(strings[i].size() + 1);
    for (const auto& text : strings) {
      out.insert(out.end(), text.begin(), text.end());
      out.push_back(0);
    }
    return out;
  }

  Bytes dialect_section() const {
    Bytes out = varint(dialects.size());
    for (uint64_t name : dialects) out += varint(version >= 1 ? name << 1 : name);
    if (version >= 4) out += varint(ops.size());
    for (const auto& [dialect, name] : ops) {
      out += varint(dialect) + varint(1) + varint(version >= 5 ? name << 1 | 1 : name);
    }
    return out;
  }

  Bytes size_section() const {
    Bytes out = varint(attrs.size()) + varint(types.size());
    for (const auto* table : {&attrs, &types}) {
      for (const Entry& entry : *table) {
        out += varint(entry.dialect) + varint(1) +
              varint(entry.data.size() << 1 | static_cast<uint64_t>(entry.custom));
      }
    }
    return out;
  }

  Bytes entry_section() const {
    Bytes out;
    for (const auto* table : {&attrs, &types}) {
      for (const Entry& entry : *table) out.insert(out.end(), entry.data.begin(), entry.data.end());
    }
    return out;
  }

  Bytes function_region() const {
    Bytes ops_bytes;
    for (const Bytes& op_bytes : body)
      ops_bytes.insert(ops_bytes.end(), op_bytes.begin(), op_bytes.end());
    const uint64_t has_args = arguments.empty() ? 0 : 1;
    return varint(1) + varint(values) + varint(body.size() << 1 | has_args) + arguments + ops_bytes;
  }

  Bytes ir_section() const {
    Bytes function = varint(kFunc) + Bytes{0x50} + varint(0) + varint(1) + varint(1 << 1 | 1) +
                     section(4, function_region());
    for (const Bytes& op_bytes : more_module_ops) function += op_bytes;
    const Bytes module_region =
        varint(1) + varint(0) + varint((1 + more_module_ops.size()) << 1) + function;
    return varint(1 << 1) + varint(kModule) + Bytes{0x50} + varint(0) + varint(0) +
           varint(1 << 1 | 1) + section(4, module_region);
  }

  Bytes property_section() const {
    Bytes out = varint(properties.size());
    for (const Bytes& blob : properties) out += varint(blob.size()) + blob;
    return out;
  }

  std::vector<Bytes> sections() const {
    std::vector<Bytes> out = {section(1, dialect_section()), section(3, size_section()),
                              section(2, entry_section()), section(4, ir_section())};
    if (resources) {
      out.push_back(section(6, {0x01}));
      out.push_back(section(5, {}));
    }
    out.push_back(section(0, string_section()));
    if (version >= 5) out.push_back(section(8, property_section()));
    return out;
  }

  Bytes header() const {
    Bytes out = magic + varint(version);
    out.insert(out.end(), producer.begin(), producer.end());
    out.push_back(0);
    return out;
  }

  Bytes bytes() const {
    Bytes out = header();
    for (const Bytes& part : sections()) out += part;
    return out;
  }
};

inline Result<std::unique_ptr<ir::Module>> read(const Bytes& bytes) {
  return read_artifact(std::make_shared<const std::string>(bytes.begin(), bytes.end()));
}
inline Result<std::unique_ptr<ir::Module>> read(const Artifact& artifact) {
  return read(artifact.bytes());
}
// The message of a refusal, or "" if the artifact was read.
template <typename T>
std::string refusal(const T& artifact) {
  auto module = read(artifact);
  return module.ok() ? "" : module.error().text;
}

}  // namespace jaxmps::bytecode::testing
