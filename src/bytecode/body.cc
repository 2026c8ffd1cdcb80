#include "bytecode/body.h"

#include "ir/lists.h"

namespace jaxmps::bytecode {
namespace {

enum Mask : uint8_t {
  kDictionary = 0x01,
  kResults = 0x02,
  kOperands = 0x04,
  kSuccessors = 0x08,
  kRegions = 0x10,
  kUseLists = 0x20,
  kHasProperties = 0x40,
  kReserved = 0x80,
};

constexpr size_t kLeastOpBytes = 3;
constexpr size_t kLongestName = 64;

// What a converted attribute takes beyond its encoded form: splats were expanded.
size_t expanded_bytes(const ir::Attr& attr) {
  if (const auto* ints = attr.get_if<ir::Ints>()) return ints->size() * sizeof(int64_t);
  if (const auto* groups = attr.get_if<ir::ReplicaGroups>()) {
    size_t bytes = 0;
    for (const auto& group : groups->groups)
      bytes += sizeof(ir::Dims) + group.size() * sizeof(int64_t);
    return bytes;
  }
  size_t bytes = 0;
  if (const auto* list = attr.get_if<ir::AttrList>()) {
    for (const auto& item : *list) bytes += expanded_bytes(item);
  }
  return bytes;
}

}  // namespace

Result<const OpSpec*> BodyReader::op_name(Cursor& in, bool* registered) {
  const size_t at = in.offset();
  TRY(const size_t index, in.index("op name", container_.op_names.size()));
  const OpName& name = container_.op_names[index];
  *registered = name.registered;
  if (specs_[index]) return specs_[index];
  const Text dialect = container_.dialects[name.dialect];
  if (dialect.size() + name.name.size() < kLongestName) {
    specs_[index] =
        find_op_spec(name.name.empty() ? std::string(dialect) : str(dialect, ".", name.name));
  }
  if (!specs_[index]) {
    return malformed(
        at, "op name",
        str("unknown op ",
            quoted(str(dialect.substr(0, kLongestName), ".", name.name.substr(0, kLongestName))),
            " in an artifact of ", quoted(container_.producer)));
  }
  return specs_[index];
}

Result<OpHeader> BodyReader::header(Cursor& in) {
  OpHeader out;
  out.offset = in.offset();
  if (++op_count_ > kMaxOps) return in.error("op", str("more than ", kMaxOps, " ops"));
  bool registered = true;
  TRY(out.spec, op_name(in, &registered));
  auto rest = [&]() -> Status {
    const size_t mask_at = in.offset();
    TRY(const uint8_t mask, in.u8("op mask"));
    const uint64_t v = container_.version;
    if ((mask & kReserved) || ((mask & kHasProperties) && v < 5) || ((mask & kUseLists) && v < 3)) {
      return malformed(mask_at, "op mask", str(mask, " in bytecode version ", v));
    }
    TRY(const size_t location, in.index("location", container_.attributes.size()));
    TRY(out.location, locations_.at(location));
    size_t dictionary = 0, property = 0;
    if (mask & kDictionary) {
      TRY(dictionary, in.index("attribute dictionary", container_.attributes.size()));
    }
    if (mask & kHasProperties) {
      TRY(property, in.index("properties", container_.properties.size()));
    }
    if (mask & kResults) CHECK_OK(results(in, out));
    if (mask & kOperands) CHECK_OK(operands(in, out));
    if (mask & kSuccessors) return in.error("successors", "branches between blocks");
    if (mask & kUseLists) CHECK_OK(use_lists(in, out.results.size()));
    if (mask & kRegions) {
      const size_t at = in.offset();
      TRY(const Flagged regions, in.flagged("region count"));
      if (regions.value > in.left()) {
        return malformed(at, "region count", str(regions.value, " does not fit"));
      }
      out.regions = static_cast<size_t>(regions.value);
      out.isolated = regions.flag;
    }
    return attributes(out, registered,
                      mask & kHasProperties ? &container_.properties[property] : nullptr,
                      mask & kDictionary ? &dictionary : nullptr);
  };
  if (auto status = rest(); !status.ok()) {
    return within(std::move(status).error(), str("op ", out.spec->name));
  }
  return out;
}

Status BodyReader::results(Cursor& in, OpHeader& out) {
  TRY(const size_t count, in.count("result count"));
  out.results.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const size_t at = in.offset();
    TRY(const size_t type, in.index("result type", container_.types.size()));
    TRY(ir::Type value, tables_.copy_value_type(type, at));
    out.results.push_back(std::move(value));
  }
  return {};
}

Status BodyReader::operands(Cursor& in, OpHeader& out) {
  TRY(const size_t count, in.count("operand count"));
  out.operands.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const size_t at = in.offset();
    TRY(const size_t number, in.index(str("operand ", i), values_.size() - base_));
    ir::Value* value = values_[base_ + number];
    if (!value) return malformed(at, str("operand ", i), str("value ", number, " is not defined"));
    out.operands.push_back(value);
  }
  return {};
}

// Use-list orders only tell in which order a compiler iterates over uses.
Status BodyReader::use_lists(Cursor& in, size_t values) {
  if (values == 0) return in.error("use-list", "no values to order the uses of");
  size_t count = 1;
  if (values > 1) {
    TRY(count, in.count("use-list count"));
  }
  for (size_t i = 0; i < count; ++i) {
    if (values > 1) {
      TRY([[maybe_unused]] const size_t value, in.index("use-list value", values));
    }
    TRY(const Flagged order, in.flagged("use-list size"));
    if (order.value > in.left())
      return in.error("use-list size", str(order.value, " does not fit"));
    for (uint64_t k = 0; k < order.value; ++k) {
      TRY([[maybe_unused]] const uint64_t position, in.varint("use-list position"));
    }
  }
  return {};
}

Status BodyReader::attributes(OpHeader& out, bool registered, const Cursor* properties,
                              const size_t* dictionary) {
  if (properties) {
    if (registered) {
      CHECK_OK(this->properties(out, *properties));
    } else {
      Cursor blob = *properties;
      TRY(const size_t index, blob.index("property dictionary", container_.attributes.size()));
      CHECK_OK(blob.finish("end of properties"));
      CHECK_OK(this->dictionary(out, index));
    }
  }
  if (dictionary) CHECK_OK(this->dictionary(out, *dictionary));
  for (const AttrSpec& attr : out.spec->attrs) {
    if (!attr.optional() && !attr.may_be_none() && !out.find(attr.name)) {
      return malformed(out.offset, attr.name, "attribute missing");
    }
  }
  out.spec->upgrade(out.attrs);
  return {};
}

Status BodyReader::properties(OpHeader& out, Cursor in) {
  const size_t table = container_.attributes.size();
  for (const AttrSpec& attr : out.spec->attrs) {
    const size_t at = in.offset();
    if (attr.optional()) {
      TRY(const Flagged index, in.flagged(attr.name));
      if (!index.flag) continue;
      if (index.value >= table) {
        return malformed(at, attr.name, str("index ", index.value, " out of ", table));
      }
      CHECK_OK(declared(out, attr, static_cast<size_t>(index.value), at));
    } else {
      TRY(const size_t index, in.index(attr.name, table));
      CHECK_OK(declared(out, attr, index, at));
    }
  }
  return in.finish("end of properties");
}

Status BodyReader::dictionary(OpHeader& out, size_t index) {
  const Entry& where = container_.attributes[index];
  TRY(const AttrEntry* entry, tables_.attribute(index));
  const auto* dict = entry->attr.get_if<ir::AttrDict>();
  if (!dict || !where.custom || tables_.dialect(where) != "builtin") {
    return malformed(where.begin, "attribute dictionary", "not a builtin dictionary");
  }
  CHECK_OK(tables_.charge(entry->cost, where.begin));
  for (const ir::NamedAttr& item : *dict) {
    const AttrSpec* attr = out.spec->find(item.name);
    if (!attr || out.find(item.name)) {
      if (!ir::find(out.discardable, item.name)) ir::set(out.discardable, item.name, item.value);
      continue;
    }
    if (is_none(*attr, item.value)) continue;
    auto value = convert(attr->kind, item.value);
    if (!value.ok()) return malformed(where.begin, item.name, value.error().text);
    CHECK_OK(tables_.charge(expanded_bytes(*value), where.begin));
    ir::set(out.attrs, item.name, std::move(value).value());
  }
  return {};
}

Status BodyReader::declared(OpHeader& out, const AttrSpec& attr, size_t index, size_t at) {
  auto entry = tables_.attribute(index);
  if (!entry.ok()) return within(std::move(entry).error(), attr.name);
  if (is_none(attr, (*entry)->attr)) return {};
  CHECK_OK(tables_.charge((*entry)->cost, at));
  auto value = convert(attr.kind, (*entry)->attr);
  if (!value.ok()) {
    return malformed(at, str("attribute ", index, " (", attr.name, ")"), value.error().text);
  }
  CHECK_OK(tables_.charge(expanded_bytes(*value), at));
  ir::set(out.attrs, attr.name, std::move(value).value());
  return {};
}

Result<size_t> BodyReader::reserve(size_t count, size_t at) {
  if (count > scope_.end - scope_.next) {
    return malformed(at, "value count", "the region defines more values than it announces");
  }
  const size_t first = scope_.next;
  scope_.next += count;
  return first;
}

Status BodyReader::op(Cursor& in, ir::Region& region, int depth) {
  TRY(OpHeader header, this->header(in));
  const OpSpec* spec = header.spec;
  if (spec->role != OpSpec::Role::op) {
    return malformed(header.offset, "op", str(spec->name, " inside a function"));
  }
  TRY(const size_t first, reserve(header.results.size(), header.offset));
  ir::Op* op = region.append(ir::Op::create(spec->id, header.operands, header.results,
                                            std::move(header.attrs), header.location));
  op->discardable = std::move(header.discardable);
  const ir::Attr* groups = op->find("replica_groups");
  if (groups && groups->get_if<ir::AttrDict>()) waiting_groups.push_back({op, header.offset});
  CHECK_OK(regions(in, header, [&](Cursor& from, size_t) -> Status {
    return this->region(from, *op->add_region(), depth + 1);
  }));
  // Only now: its own regions may not use them.
  for (int i = 0; i < op->result_count(); ++i) {
    values_[first + static_cast<size_t>(i)] = op->result(i);
  }
  return {};
}

Status BodyReader::region(Cursor& in, ir::Region& region, int depth, bool* is_declaration) {
  const size_t at = in.offset();
  if (depth > kMaxRegionDepth) return malformed(at, "region", "nested too deep");
  TRY(const uint64_t blocks, in.varint("block count"));
  if (blocks == 0 && is_declaration) {
    *is_declaration = true;
    return {};
  }
  if (blocks != 1) return malformed(at, "block count", str(blocks, " is not 1"));
  TRY(const size_t values, in.count("value count"));
  // All open regions together define less values than the artifact has bytes.
  if (values > container_.file.size() - values_.size()) {
    return malformed(at, "value count", str(values, " does not fit"));
  }
  const Scope outer = scope_;
  const size_t first = values_.size();
  values_.resize(first + values, nullptr);
  scope_ = {first, first + values};
  CHECK_OK(block(in, region, depth));
  if (scope_.next != scope_.end) {
    return malformed(at, "value count",
                     str(values, " announced, ", scope_.next - first, " defined"));
  }
  values_.resize(first);
  scope_ = outer;
  return {};
}

// The number of ops in a block, and whether it has arguments.
Result<Flagged> BodyReader::block_head(Cursor& in) {
  const size_t at = in.offset();
  TRY(const Flagged head, in.flagged("op count"));
  if (head.value <= in.left() / kLeastOpBytes) return head;
  return malformed(at, "op count", str(head.value, " does not fit in ", in.left(), " bytes"));
}

Result<size_t> BodyReader::plain_block(Cursor& in) {
  const size_t at = in.offset();
  TRY(const Flagged head, block_head(in));
  if (head.flag) return malformed(at, "block arguments", "none may be here");
  return static_cast<size_t>(head.value);
}

Status BodyReader::block(Cursor& in, ir::Region& region, int depth) {
  TRY(const Flagged head, block_head(in));
  if (head.flag) CHECK_OK(arguments(in, region));
  for (uint64_t i = 0; i < head.value; ++i) CHECK_OK(op(in, region, depth));
  return {};
}

Status BodyReader::arguments(Cursor& in, ir::Region& region) {
  const size_t at = in.offset();
  TRY(const size_t count, in.count("argument count"));
  TRY(const size_t first, reserve(count, at));
  const bool optional_location = container_.version >= 4;
  for (size_t i = 0; i < count; ++i) {
    const size_t type_at = in.offset();
    TRY(const uint64_t raw, in.varint("argument type"));
    const uint64_t type = optional_location ? raw >> 1 : raw;
    if (type >= container_.types.size()) {
      return malformed(type_at, str("type of argument ", i),
                       str("index ", type, " out of ", container_.types.size()));
    }
    if (!optional_location || (raw & 1)) {
      TRY([[maybe_unused]] const size_t location,
          in.index("argument location", container_.attributes.size()));
    }
    TRY(ir::Type value, tables_.copy_value_type(static_cast<size_t>(type), type_at));
    values_[first + i] = region.add_arg(std::move(value));
  }
  if (container_.version >= 3) {
    TRY(const uint8_t has_use_lists, in.u8("argument use-lists"));
    if (has_use_lists) CHECK_OK(use_lists(in, count));
  }
  return {};
}

}  // namespace jaxmps::bytecode
