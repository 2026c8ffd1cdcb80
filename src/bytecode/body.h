// Reads the IR section: ops, regions and the numbering of values. Operands are numbers that count
// from the innermost isolated op; a region takes a range of them that ends with it.
// Not thread-safe; used for one module.
#pragma once

#include <string>
#include <vector>

#include "bytecode/locations.h"
#include "bytecode/op_specs.h"
#include "bytecode/tables.h"

namespace jaxmps::bytecode {

inline constexpr int kMaxRegionDepth = 200;
inline constexpr size_t kMaxOps = 10'000'000;

// All of an op except for its regions.
struct OpHeader {
  const OpSpec* spec = nullptr;
  size_t offset = 0;
  const ir::Location* location = nullptr;
  ir::AttrDict attrs, discardable;
  std::vector<ir::Type> results;
  std::vector<ir::Value*> operands;
  size_t regions = 0;
  bool isolated = false;

  const ir::Attr* find(Text name) const { return ir::find(attrs, name); }
};

class BodyReader {
 public:
  BodyReader(Tables& tables, Locations& locations)
      : container_(tables.container()),
        tables_(tables),
        locations_(locations),
        specs_(container_.op_names.size()) {}

  // An op whose replica groups wait for the meshes.
  struct WaitingGroups {
    ir::Op* op;
    size_t offset;
  };

  Result<OpHeader> header(Cursor& in);
  // Calls `each(Cursor&, size_t i)` for the regions that follow a header.
  template <typename F>
  Status regions(Cursor& in, const OpHeader& header, F each);
  // One region of ops into `region`; `is_declaration` (if allowed) is set if it has no block.
  Status region(Cursor& in, ir::Region& region, int depth, bool* is_declaration = nullptr);
  // The region of the module: calls `each(Cursor&)` for every op in it.
  template <typename F>
  Status module_region(Cursor& in, F each);
  // The number of ops in a block without arguments.
  Result<size_t> plain_block(Cursor& in);

  std::vector<WaitingGroups> waiting_groups;

 private:
  struct Scope {
    size_t next = 0, end = 0;
  };

  Result<const OpSpec*> op_name(Cursor& in, bool* registered);
  Status operands(Cursor& in, OpHeader& out);
  Status results(Cursor& in, OpHeader& out);
  Status attributes(OpHeader& out, bool registered, const Cursor* properties,
                    const size_t* dictionary);
  Status properties(OpHeader& out, Cursor in);
  Status dictionary(OpHeader& out, size_t index);
  Status declared(OpHeader& out, const AttrSpec& attr, size_t index, size_t at);
  Status use_lists(Cursor& in, size_t values);
  Status op(Cursor& in, ir::Region& region, int depth);
  Result<Flagged> block_head(Cursor& in);
  Status block(Cursor& in, ir::Region& region, int depth);
  Status arguments(Cursor& in, ir::Region& region);
  Result<size_t> reserve(size_t count, size_t at);

  const Container& container_;
  Tables& tables_;
  Locations& locations_;
  std::vector<const OpSpec*> specs_;
  std::vector<ir::Value*> values_;  // of all open regions; null until defined
  size_t base_ = 0;                 // where the numbers of the innermost isolated op begin
  Scope scope_;                     // of the innermost region
  size_t op_count_ = 0;
};

template <typename F>
Status BodyReader::regions(Cursor& in, const OpHeader& header, F each) {
  const size_t outer_base = base_;
  Cursor nested = in;
  const bool in_section = header.isolated && container_.version >= 2;
  if (header.isolated) base_ = values_.size();
  if (in_section) {
    uint8_t id = 0;
    const size_t at = in.offset();
    TRY(nested, in.section("region section", &id));
    if (id != kIrSection) return malformed(at, "region section", str("section id ", id));
  }
  Cursor& from = in_section ? nested : in;
  for (size_t i = 0; i < header.regions; ++i) CHECK_OK(each(from, i));
  if (in_section) CHECK_OK(nested.finish("region section"));
  base_ = outer_base;
  return {};
}

template <typename F>
Status BodyReader::module_region(Cursor& in, F each) {
  const size_t at = in.offset();
  TRY(const uint64_t blocks, in.varint("module block count"));
  if (blocks != 1) return malformed(at, "module block count", str(blocks, " is not 1"));
  TRY(const uint64_t values, in.varint("module value count"));
  if (values != 0) return malformed(at, "module value count", str(values, " is not 0"));
  TRY(const size_t count, plain_block(in));
  for (size_t i = 0; i < count; ++i) CHECK_OK(each(in));
  return {};
}

}  // namespace jaxmps::bytecode
