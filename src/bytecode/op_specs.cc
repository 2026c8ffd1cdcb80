#include "bytecode/op_specs.h"

#include <optional>
#include <unordered_map>

#include "ir/lists.h"

namespace jaxmps::bytecode {
namespace {
namespace table {  // vhlo.def names the kinds of attributes without their enumeration

using enum AttrKind;
using ir::OpId;

// What an older op says of an attribute that it lacks; no value: that it is not given.
std::optional<ir::Attr::Value> empty_value(AttrKind kind) {
  switch (kind) {
    case accuracy:
      return ir::Accuracy{};
    case boolean:
      return false;
    case ints:
    case pairs:
      return ir::Ints{};
    case tilings:
      return ir::AttrList{};
    default:
      return std::nullopt;
  }
}

class Specs {
 public:
  Specs() {
#define VHLO(name, versions, id, ...) \
  add("vhlo." name, OpSpec::Role::op, versions, OpId::id, {__VA_ARGS__});
#define OTHER(name, id, ...) add(name, OpSpec::Role::op, 0, OpId::id, {__VA_ARGS__});
#define STRUCTURE(name, role, ...) add(name, OpSpec::Role::role, 0, OpId::call, {__VA_ARGS__});
#include "bytecode/vhlo.def"
    for (const OpSpec& spec : all) by_name.emplace(spec.name, &spec);
  }

  std::vector<OpSpec> all;
  std::unordered_map<std::string_view, const OpSpec*> by_name;

 private:
  // Without versions the name is whole.
  void add(std::string_view name, OpSpec::Role role, int versions, OpId id,
           const std::vector<AttrSpec>& attrs) {
    if (versions == 0) all.push_back({std::string(name), role, id, attrs, {}, {}});
    for (int version = 1; version <= versions; ++version) {
      OpSpec& spec = all.emplace_back(OpSpec{str(name, "_v", version), role, id, {}, {}, {}});
      for (const AttrSpec& attr : attrs) {
        const bool is_own = attr.since <= version && version <= attr.until;
        if (is_own) spec.attrs.push_back(attr);
        if (attr.since > version) spec.later.push_back(attr);
        if (is_own && attr.until < versions) spec.ended.push_back(attr);
      }
    }
  }
};

const Specs& specs() {
  static const auto* made = new Specs;
  return *made;
}

}  // namespace table

using table::specs;

}  // namespace

std::span<const OpSpec> op_specs() { return specs().all; }

const AttrSpec* OpSpec::find(std::string_view attr_name) const {
  for (const AttrSpec& attr : attrs) {
    if (attr.name == attr_name) return &attr;
  }
  return nullptr;
}

void OpSpec::upgrade(ir::AttrDict& values) const {
  for (const AttrSpec& attr : later) {
    if (auto value = table::empty_value(attr.kind))
      ir::set(values, attr.name, ir::Attr(*std::move(value)));
  }
  for (const AttrSpec& attr : ended) {
    std::erase_if(values, [&](const ir::NamedAttr& value) { return value.name == attr.name; });
  }
}

const OpSpec* find_op_spec(std::string_view full_name) {
  const auto found = specs().by_name.find(full_name);
  return found == specs().by_name.end() ? nullptr : found->second;
}

}  // namespace jaxmps::bytecode
