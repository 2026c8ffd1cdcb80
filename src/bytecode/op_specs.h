// What each op of an artifact looks like on the wire (vhlo.def), and the conversion of its
// attributes to the form that the rest of the program sees. Immutable tables; thread-safe.
#pragma once

#include <array>
#include <string_view>

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
  layouts,
  tilings,
  int_lists,
  list,
  dict,
  dicts,
  string_or_dict,
  aliases,
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
  AttrKind kind = AttrKind::none;
  bool optional() const {
    return kind == AttrKind::optional_any || kind == AttrKind::optional_string;
  }
};

struct OpSpec {
  std::string_view name;  // in full: "vhlo.add_v1"
  ir::OpId id;
  std::array<AttrSpec, 18> attrs;  // ends with an unnamed one

  const AttrSpec* find(std::string_view attr_name) const;
};

// Null if there is no such op.
const OpSpec* find_op_spec(std::string_view full_name);
std::span<const OpSpec> op_specs();
// These have no OpId of their own.
const OpSpec& module_spec();
const OpSpec& function_spec();
const OpSpec& mesh_spec();

// The value as the op wants it, or an error saying what it should have been. `none` values of the
// `_or_none` kinds are handled by the caller (`is_none`). Replica groups in mesh form stay a
// dictionary {axes, mesh}, to be resolved once all meshes are known.
Result<ir::Attr> convert(AttrKind kind, ir::Attr value);
bool is_none(AttrKind kind, const ir::Attr& value);

// Brings the attributes of an op that was written by an old version to the newest form.
void upgrade(ir::OpId id, ir::AttrDict& attrs);

// Lists of device positions for a group over mesh axes.
Result<ir::ReplicaGroups> resolve_groups(const ir::AttrDict& by_axes,
                                         const std::vector<ir::Mesh>& meshes);
// A mesh out of its dictionary form.
Result<ir::Mesh> to_mesh(const ir::AttrDict& dict, std::string name);

}  // namespace jaxmps::bytecode
