// What each op of an artifact looks like on the wire (vhlo.def), and the conversion of its
// attributes to the form that the rest of the program sees. Immutable tables; thread-safe.
#pragma once

#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/attr.h"
#include "ir/module.h"

namespace jaxmps::bytecode {

enum class AttrKind : uint8_t {
  none,
  i64,
  i32,
  any_int,
  f32,
  boolean,
  string,
  symbol,
  symbols,
  ints,
  pairs,
  bools,
  groups,
  tensor,
  accuracy,
  precisions,
  precision,
  layouts,
  layout,
  tilings,
  tiles,
  int_lists,
  int_list,
  list,
  dict,
  dicts,
  string_or_dict,
  aliases,
  alias,
  type,
  type_or_none,
  boolean_or_none,
  i64_or_none,
  compare_direction,
  compare_type,
  custom_call_api,
  fft_type,
  rng_algorithm,
  rng_distribution,
  transpose,
  anything,
  optional_any,
  optional_string,
};

struct AttrSpec {
  std::string_view name;
  AttrKind kind;
  int since = 1, until = std::numeric_limits<int>::max();  // versions of the op

  bool optional() const {
    return kind == AttrKind::optional_any || kind == AttrKind::optional_string;
  }
  // Whether its value may be the none type, which means that it is not given.
  bool may_be_none() const {
    return kind == AttrKind::type_or_none || kind == AttrKind::boolean_or_none ||
           kind == AttrKind::i64_or_none;
  }
};

struct OpSpec {
  enum class Role : uint8_t { module, function, mesh, op };
  std::string name;  // in full: "vhlo.add_v1"
  Role role;
  ir::OpId id;                         // of an op
  std::vector<AttrSpec> attrs;         // of this version, in wire order
  std::vector<AttrSpec> later, ended;  // that the newest version has and this one not; the reverse

  const AttrSpec* find(std::string_view attr_name) const;
  // Brings attributes of this version to the newest form.
  void upgrade(ir::AttrDict& values) const;
};

// Null if there is no such op.
const OpSpec* find_op_spec(std::string_view full_name);
std::span<const OpSpec> op_specs();

// The value as the op wants it, or an error saying what it should have been. `none` values are
// handled by the caller (`is_none`). Replica groups in mesh form stay a dictionary {axes, mesh}, to
// be resolved once all meshes are known.
Result<ir::Attr> convert(AttrKind kind, ir::Attr value);
bool is_none(const AttrSpec& attr, const ir::Attr& value);

// Lists of device positions for a group over mesh axes.
Result<ir::ReplicaGroups> resolve_groups(const ir::AttrDict& by_axes,
                                         const std::vector<ir::Mesh>& meshes);
// A mesh out of its dictionary form.
Result<ir::Mesh> to_mesh(const ir::AttrDict& dict, std::string name);

}  // namespace jaxmps::bytecode
