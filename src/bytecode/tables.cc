#include "bytecode/tables.h"

#include "ir/lists.h"

namespace jaxmps::bytecode {
namespace {

// A node of an attribute tree, with its name, about as the heap sees it.
constexpr size_t kNodeCost = sizeof(ir::NamedAttr);
constexpr size_t kFreeBytes = size_t{64} << 20;
constexpr size_t kBytesPerByte = 512;

size_t own_cost(const AttrEntry&) { return kNodeCost; }
size_t own_cost(const TypeEntry& entry) {
  const ir::Type& type = entry.type;
  size_t cost = sizeof(ir::Type) + (type.dims.size() + type.bounds.size()) * sizeof(int64_t);
  if (type.quantization) cost += type.quantization->scales.size() * 16;
  return cost;
}

}  // namespace

Tables::Tables(const Container& container, std::shared_ptr<const void> owner)
    : container_(container),
      owner_(std::move(owner)),
      attributes_("attribute", container.attributes),
      types_("type", container.types),
      budget_(kFreeBytes + kBytesPerByte * container.file.size()) {}

Status Tables::charge(size_t bytes, size_t at) {
  if (bytes > budget_) {
    return malformed(at, "artifact", "its attributes and types grow beyond what its size allows");
  }
  budget_ -= bytes;
  return {};
}

template <typename T>
Result<const T*> Tables::decoded(Table<T>& table, size_t index, int depth) {
  const Entry& entry = table.entries[index];
  const auto fail = [&](Text what) {
    return malformed(entry.begin, str(table.kind, " ", index), what);
  };
  const auto& known = table.known[index];
  if (depth + (known ? known->height : 0) > kMaxDepth) return fail("nested too deep");
  if (known) return known.get();
  if (table.open[index]) return fail("contains itself");
  table.open[index] = true;
  Decoder in(*this, container_.cursor(entry), depth);
  T out;
  if (Status status = decode(entry, in, out); !status.ok()) {
    // One context is enough; the levels above would only repeat themselves.
    if (status.error().text.find(str(": ", table.kind, " ")) != std::string::npos) {
      return std::move(status).error();
    }
    return within(std::move(status).error(), str(table.kind, " ", index));
  }
  table.open[index] = false;
  out.cost = in.cost() + own_cost(out);
  out.height = in.height() + 1;
  CHECK_OK(charge(out.cost, entry.begin));
  table.known[index] = std::make_unique<T>(std::move(out));
  return table.known[index].get();
}

Result<const AttrEntry*> Tables::attribute(size_t index, int depth) {
  return decoded(attributes_, index, depth);
}
Result<const TypeEntry*> Tables::type(size_t index, int depth) {
  return decoded(types_, index, depth);
}

Status Tables::decode(const Entry& entry, Decoder& in, AttrEntry& out) {
  const Text dialect = this->dialect(entry);
  const auto decode_custom = dialect == "vhlo"      ? vhlo_attribute
                             : dialect == "builtin" ? builtin_attribute
                             : dialect == "sdy"     ? sdy_attribute
                                                    : nullptr;
  if (entry.custom && decode_custom) {
    TRY(out.attr, decode_custom(in));
    return in.in.finish("end of entry");
  }
  out.attr = opaque(entry.custom ? str("attribute of dialect ", quoted(dialect))
                                 : str(dialect, " attribute as text"));
  return {};
}

Status Tables::decode(const Entry& entry, Decoder& in, TypeEntry& out) {
  const Text dialect = this->dialect(entry);
  if (!entry.custom) {
    TRY(const auto bytes, in.in.bytes("assembly text", in.in.left()));
    Text text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!text.empty() && text.back() == 0) text.remove_suffix(1);
    TRY(out, text_type(text, entry.begin));
    return {};
  }
  if (dialect != "vhlo" && dialect != "builtin") {
    return malformed(entry.begin, "dialect", str("no types known of dialect ", quoted(dialect)));
  }
  TRY(out, dialect == "vhlo" ? vhlo_type(in) : builtin_type(in));
  return in.in.finish("end of entry");
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
  return ir::Attr(ir::Attr::Value(ir::attributes(parts)));
}

}  // namespace jaxmps::bytecode
