// The attributes of the sdy (Shardy) dialect, as dictionaries of named parts. `vhlo.def` lists
// them.
#include "bytecode/tables.h"

namespace jaxmps::bytecode {
namespace {

using ir::Attr;
using Value = ir::Attr::Value;

Result<Attr> list(Decoder& in, Text field) { return attr_of(in.attrs(field)); }

Result<Attr> sdy_mesh_axis(Decoder& in) {
  TRY(std::string name, in.string("axis name"));
  TRY(const int64_t size, in.in.svarint("axis size"));
  return named({{"name", Attr(std::move(name))}, {"size", Attr(size)}});
}

Result<Attr> sdy_mesh(Decoder& in) {
  TRY(Attr axes, list(in, "mesh axis"));
  TRY(ir::Dims device_ids, in.ints("device ids"));
  return named({{"axes", std::move(axes)}, {"device_ids", Attr(std::move(device_ids))}});
}

Result<Attr> sdy_axis_reference(Decoder& in) {
  TRY(std::string name, in.string("axis name"));
  Attr sub;
  TRY(const bool present, in.optional_attr("sub-axis", &sub));
  if (!present) return named({{"name", Attr(std::move(name))}});
  return named({{"name", Attr(std::move(name))}, {"sub_axis", std::move(sub)}});
}

Result<Attr> dimension_sharding(Decoder& in) {
  TRY(Attr axes, list(in, "sharding axis"));
  const size_t at = in.in.offset();
  TRY(const uint8_t closed, in.in.u8("is closed"));
  if (closed > 1) return malformed(at, "is closed", str("value ", closed, " outside 0..1"));
  TRY(const Flagged priority, in.in.flagged("priority"));
  if (!priority.flag) {
    return named({{"axes", std::move(axes)}, {"closed", Attr(Value(closed != 0))}});
  }
  return named({{"axes", std::move(axes)},
                {"closed", Attr(Value(closed != 0))},
                {"priority", Attr(static_cast<int64_t>(priority.value))}});
}

Result<Attr> tensor_sharding(Decoder& in, bool unreduced, bool reduction) {
  TRY(Attr mesh, in.attr("mesh"));
  TRY(Attr dimensions, list(in, "dimension sharding"));
  TRY(Attr replicated, list(in, "replicated axis"));
  ir::AttrDict dict;
  dict.push_back({"dimensions", std::move(dimensions)});
  dict.push_back({"mesh", std::move(mesh)});
  if (reduction || unreduced) {
    TRY(Attr axes, list(in, "unreduced axis"));
    if (reduction) {
      const size_t at = in.in.offset();
      TRY(const int64_t kind, in.in.svarint("reduction kind"));
      if (kind < 0 || kind > 2) {
        return malformed(at, "reduction kind", str("value ", kind, " outside 0..2"));
      }
      dict.push_back({"reduction_kind", Attr(kind)});
    }
    dict.push_back({"replicated", std::move(replicated)});
    dict.push_back({"unreduced", std::move(axes)});
  } else {
    dict.push_back({"replicated", std::move(replicated)});
  }
  return Attr(Value(std::move(dict)));
}

Result<Attr> sharding_rule(Decoder& in) {
  TRY(ir::Dims sizes, in.ints("factor sizes"));
  TRY(Attr operands, list(in, "operand mapping"));
  TRY(Attr results, list(in, "result mapping"));
  TRY(ir::Dims reduction, in.ints("reduction factors"));
  TRY(ir::Dims replication, in.ints("replication factors"));
  TRY(ir::Dims permutation, in.ints("permutation factors"));
  TRY(ir::Dims blocked, in.ints("blocked factors"));
  TRY(const uint8_t custom, in.in.u8("is custom"));
  return named({{"blocked", Attr(std::move(blocked))},
                {"custom", Attr(Value(custom != 0))},
                {"factor_sizes", Attr(std::move(sizes))},
                {"operands", std::move(operands)},
                {"permutation", Attr(std::move(permutation))},
                {"reduction", Attr(std::move(reduction))},
                {"replication", Attr(std::move(replication))},
                {"results", std::move(results)}});
}

Result<Attr> all_to_all(Decoder& in) {
  TRY(Attr axes, list(in, "axis"));
  TRY(const int64_t source, in.in.svarint("source dimension"));
  TRY(const int64_t target, in.in.svarint("target dimension"));
  return named({{"axes", std::move(axes)}, {"source", Attr(source)}, {"target", Attr(target)}});
}

}  // namespace

Result<Attr> sdy_attribute(Decoder& in) {
  const size_t at = in.in.offset();
  TRY(const uint64_t code, in.in.varint("sdy attribute code"));
  switch (code) {
    case 0:
      return list(in, "manual axis");
    case 1:
      return sdy_mesh_axis(in);
    case 2:
      return sdy_mesh(in);
    case 3:
      return in.sub_axis();
    case 4:
      return sdy_axis_reference(in);
    case 5:
      return dimension_sharding(in);
    case 6:
      return tensor_sharding(in, false, false);
    case 7:
    case 16:
      return list(in, "sharding");
    case 8:
      return attr_of(in.ints("dimension mapping"));
    case 9:
      return list(in, "dimension mapping");
    case 10:
      return sharding_rule(in);
    case 11:
    case 12:
    case 14:
      return list(in, "list item");
    case 13:
      return all_to_all(in);
    case 15:
      return tensor_sharding(in, true, false);
    case 17:
      return tensor_sharding(in, true, true);
    default:
      return malformed(at, "sdy attribute code", str("unknown code ", code));
  }
}

}  // namespace jaxmps::bytecode
