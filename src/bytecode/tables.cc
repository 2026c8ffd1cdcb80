#include "bytecode/tables.h"

#include <algorithm>

namespace jaxmps::bytecode {
namespace {

// A node of an attribute tree, with its name, about as the heap sees it.
constexpr size_t kNodeCost = sizeof(ir::NamedAttr);
constexpr size_t kFreeBytes = size_t{64} << 20;
constexpr size_t kBytesPerByte = 512;

size_t own_cost(const ir::Type& type) {
  size_t cost = sizeof(ir::Type) + (type.dims.size() + type.bounds.size()) * sizeof(int64_t);
  if (type.quantization) cost += type.quantization->scales.size() * 16;
  return cost;
}

}  // namespace

Tables::Tables(const Container& container, std::shared_ptr<const void> owner)
    : container_(container),
      owner_(std::move(owner)),
      attributes_(container.attributes.size()),
      types_(container.types.size()),
      attribute_open_(container.attributes.size()),
      type_open_(container.types.size()),
      budget_(kFreeBytes + kBytesPerByte * container.file.size()) {}

Status Tables::charge(size_t bytes, size_t at) {
  if (bytes > budget_) {
    return malformed(at, "artifact", "its attributes and types grow beyond what its size allows");
  }
  budget_ -= bytes;
  return {};
}

Result<const AttrEntry*> Tables::attribute(size_t index, int depth) {
  const Entry& entry = container_.attributes[index];
  if (const auto& known = attributes_[index]) {
    if (depth + known->height > kMaxDepth) {
      return malformed(entry.begin, str("attribute ", index), "nested too deep");
    }
    return known.get();
  }
  if (attribute_open_[index]) {
    return malformed(entry.begin, str("attribute ", index), "contains itself");
  }
  if (depth > kMaxDepth) {
    return malformed(entry.begin, str("attribute ", index), "nested too deep");
  }
  attribute_open_[index] = true;
  Decoder in(*this, container_.cursor(entry), depth);
  auto attr = decode_attribute(entry, in);
  if (!attr.ok()) {
    // One context is enough; the levels above would only repeat themselves.
    if (attr.error().text.find(": attribute ") != std::string::npos) return attr.error();
    return within(std::move(attr).error(), str("attribute ", index));
  }
  attribute_open_[index] = false;
  const size_t cost = in.cost() + kNodeCost;
  CHECK_OK(charge(cost, entry.begin));
  attributes_[index] =
      std::make_unique<AttrEntry>(AttrEntry{std::move(attr).value(), cost, in.height() + 1});
  return attributes_[index].get();
}

Result<ir::Attr> Tables::decode_attribute(const Entry& entry, Decoder& in) {
  const Text dialect = this->dialect(entry);
  if (!entry.custom) return opaque(str(dialect, " attribute as text"));
  Result<ir::Attr> attr = ir::Attr();
  if (dialect == "vhlo") {
    attr = vhlo_attribute(in);
  } else if (dialect == "builtin") {
    attr = builtin_attribute(in);
  } else if (dialect == "sdy") {
    attr = sdy_attribute(in);
  } else {
    return opaque(str("attribute of dialect ", quoted(dialect)));
  }
  if (attr.ok()) CHECK_OK(in.in.finish("end of entry"));
  return attr;
}

Result<const TypeEntry*> Tables::type(size_t index, int depth) {
  const Entry& entry = container_.types[index];
  if (const auto& known = types_[index]) {
    if (depth + known->height > kMaxDepth) {
      return malformed(entry.begin, str("type ", index), "nested too deep");
    }
    return known.get();
  }
  if (type_open_[index]) return malformed(entry.begin, str("type ", index), "contains itself");
  if (depth > kMaxDepth) return malformed(entry.begin, str("type ", index), "nested too deep");
  type_open_[index] = true;
  Decoder in(*this, container_.cursor(entry), depth);
  auto type = decode_type(entry, in);
  if (!type.ok()) {
    if (type.error().text.find(": type ") != std::string::npos) return type.error();
    return within(std::move(type).error(), str("type ", index));
  }
  type_open_[index] = false;
  TypeEntry out = std::move(type).value();
  out.cost = in.cost() + own_cost(out.type);
  out.height = in.height() + 1;
  CHECK_OK(charge(out.cost, entry.begin));
  types_[index] = std::make_unique<TypeEntry>(std::move(out));
  return types_[index].get();
}

Result<TypeEntry> Tables::decode_type(const Entry& entry, Decoder& in) {
  const Text dialect = this->dialect(entry);
  if (!entry.custom) {
    TRY(const auto bytes, in.in.bytes("assembly text", in.in.left()));
    Text text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!text.empty() && text.back() == 0) text.remove_suffix(1);
    return text_type(text, entry.begin);
  }
  Result<TypeEntry> type = TypeEntry{};
  if (dialect == "vhlo") {
    type = vhlo_type(in);
  } else if (dialect == "builtin") {
    type = builtin_type(in);
  } else {
    return malformed(entry.begin, "dialect", str("no types known of dialect ", quoted(dialect)));
  }
  if (type.ok()) CHECK_OK(in.in.finish("end of entry"));
  return type;
}

Result<ir::Type> Tables::copy_value_type(size_t index, size_t at) {
  TRY(const TypeEntry* entry, type(index));
  const ir::Type& type = entry->type;
  using Kind = ir::Type::Kind;
  if (entry->element || type.kind == Kind::function || type.kind == Kind::none) {
    return malformed(at, str("type ", index),
                     str(ir::print(type), entry->element ? " (element type)" : "",
                         " where the type of a value is expected"));
  }
  CHECK_OK(charge(entry->cost, at));
  return type;
}

ir::Attr opaque(Text what) { return named({{"opaque", ir::Attr(std::string(what))}}); }

ir::Attr named(std::initializer_list<ir::NamedAttr> parts) {
  ir::AttrDict dict(parts);
  std::sort(dict.begin(), dict.end(),
            [](const ir::NamedAttr& a, const ir::NamedAttr& b) { return a.name < b.name; });
  return ir::Attr(ir::Attr::Value(std::move(dict)));
}

}  // namespace jaxmps::bytecode
