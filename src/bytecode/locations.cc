#include "bytecode/locations.h"

#include <array>

namespace jaxmps::bytecode {
namespace {

using LocationKind = ir::Location::Kind;

enum Code : uint64_t {
  kCallSite = 10,
  kFileLineColumn = 11,
  kFused = 12,
  kFusedWithMetadata = 13,
  kName = 14,
  kUnknownLocation = 15,
  kFileRange = 22,
};

Result<int64_t> small(Decoder& in, Text field) {
  const size_t at = in.in.offset();
  TRY(const uint64_t value, in.in.varint(field));
  if (value > UINT32_MAX) return malformed(at, field, str(value, " above 2^32"));
  return static_cast<int64_t>(value);
}

Status file_position(Decoder& in, ir::Location& location) {
  location.kind = LocationKind::file;
  TRY(location.text, in.text_attr("location file"));
  TRY(location.line, small(in, "location line"));
  TRY(location.column, small(in, "location column"));
  location.end_line = location.line;
  location.end_column = location.column;
  return {};
}

Status file_range(Decoder& in, ir::Location& out) {
  out.kind = LocationKind::file;
  TRY(out.text, in.text_attr("location file"));
  const size_t at = in.in.offset();
  TRY(const size_t count, in.in.count("location range"));
  if (count > 4) return malformed(at, "location range", str(count, " numbers"));
  std::array<int64_t, 4> n{};
  for (size_t i = 0; i < count; ++i) {
    TRY(n[i], small(in, "location range"));
  }
  out.line = n[0];
  out.column = n[1];
  out.end_line = count == 4 ? n[2] : n[0];
  out.end_column = count == 4 ? n[3] : count == 3 ? n[2] : n[1];
  return {};
}

}  // namespace

Locations::Locations(Tables& tables, ir::Module& module)
    : tables_(tables),
      module_(module),
      done_(tables.container().attributes.size()),
      open_(tables.container().attributes.size()) {}

Result<Locations::Pending> Locations::decode(size_t index) {
  const Container& container = tables_.container();
  const Entry& entry = container.attributes[index];
  Pending out{index, {}, {}};
  if (!entry.custom) return out;
  if (tables_.dialect(entry) != "builtin") {
    return malformed(entry.begin, "location",
                     str("attribute of dialect ", quoted(tables_.dialect(entry))));
  }
  Decoder in(tables_, container.cursor(entry), 0);
  const size_t table = container.attributes.size();
  ir::Location& location = out.location;
  TRY(const uint64_t code, in.in.varint("location code"));
  auto child = [&](Text field) -> Status {
    TRY(const size_t at, in.in.index(field, table));
    out.children.push_back(at);
    return {};
  };
  switch (code) {
    case kCallSite:
      location.kind = LocationKind::call_site;
      CHECK_OK(child("callee location"));
      CHECK_OK(child("caller location"));
      break;
    case kFileLineColumn:
      CHECK_OK(file_position(in, location));
      break;
    case kFused:
    case kFusedWithMetadata: {
      location.kind = LocationKind::fused;
      TRY(const size_t count, in.in.count("fused locations"));
      for (size_t i = 0; i < count; ++i) CHECK_OK(child("fused location"));
      if (code == kFusedWithMetadata) {
        TRY([[maybe_unused]] const size_t metadata, in.in.index("location metadata", table));
      }
      break;
    }
    case kName: {
      location.kind = LocationKind::name;
      TRY(location.text, in.text_attr("location name"));
      CHECK_OK(child("named location"));
      break;
    }
    case kUnknownLocation:
      break;
    case kFileRange:
      CHECK_OK(file_range(in, location));
      break;
    default:
      return malformed(entry.begin, "location", str("builtin attribute ", code, " is no location"));
  }
  CHECK_OK(in.in.finish("end of location"));
  CHECK_OK(tables_.charge(location.text.size() + sizeof(ir::Location), entry.begin));
  return out;
}

Result<const ir::Location*> Locations::at(size_t index) {
  if (done_[index]) return done_[index];
  std::vector<Pending> stack;
  auto push = [&](size_t next) -> Status {
    auto pending = decode(next);
    if (!pending.ok()) return within(std::move(pending).error(), str("attribute ", next));
    open_[next] = true;
    stack.push_back(std::move(pending).value());
    return {};
  };
  CHECK_OK(push(index));
  while (!stack.empty()) {
    Pending& top = stack.back();
    if (top.next < top.children.size()) {
      const size_t child = top.children[top.next++];
      if (done_[child]) continue;
      if (open_[child]) {
        return malformed(tables_.container().attributes[child].begin, str("attribute ", child),
                         "location contains itself");
      }
      CHECK_OK(push(child));
      continue;
    }
    for (size_t child : top.children) top.location.children.push_back(done_[child]);
    open_[top.index] = false;
    done_[top.index] = module_.add_location(std::move(top.location));
    stack.pop_back();
  }
  return done_[index];
}

}  // namespace jaxmps::bytecode
