// The attributes of the VHLO dialect.
#include <bit>

#include "bytecode/tables.h"

namespace jaxmps::bytecode {
namespace {

using ir::Attr;
using ir::Enum;
using Value = ir::Attr::Value;

// The attributes that are one value of an enumeration, from first to last.
struct Enumeration {
  uint64_t code;
  Enum::Kind kind;
  Text field;
  uint64_t first, last;
};
constexpr Enumeration kEnumerations[] = {
    {3, Enum::Kind::compare_direction, "comparison direction", 0, 5},
    {4, Enum::Kind::compare_type, "comparison type", 0, 4},
    {5, Enum::Kind::custom_call_api, "custom call API version", 0, 4},
    {7, Enum::Kind::fft_type, "FFT type", 0, 3},
    {11, Enum::Kind::precision, "precision", 0, 2},
    {12, Enum::Kind::rng_algorithm, "RNG algorithm", 0, 2},
    {13, Enum::Kind::rng_distribution, "RNG distribution", 1, 2},
    {16, Enum::Kind::transpose, "transpose", 0, 3},
    {19, Enum::Kind::accuracy_mode, "result accuracy mode", 0, 2},
};

Result<Attr> retired_alias(Decoder& in) {
  TRY([[maybe_unused]] const auto outputs, in.ints("output tuple indices"));
  TRY([[maybe_unused]] const auto operand, in.in.svarint("operand index"));
  TRY([[maybe_unused]] const auto tuple, in.ints("operand tuple indices"));
  TRY([[maybe_unused]] const auto must, in.in.varint("must alias"));
  return opaque("vhlo argument/result alias");
}

Result<Attr> alias(Decoder& in) {
  ir::OutputOperandAlias out;
  TRY(out.output_tuple_indices, in.ints("output tuple indices"));
  TRY(out.operand_index, in.in.svarint("operand index"));
  TRY(out.operand_tuple_indices, in.ints("operand tuple indices"));
  return Attr(Value(std::move(out)));
}

Result<Attr> accuracy(Decoder& in) {
  ir::Accuracy out;
  TRY(const int64_t atol, in.in.svarint("atol"));
  TRY(const int64_t rtol, in.in.svarint("rtol"));
  out.atol = std::bit_cast<double>(atol);
  out.rtol = std::bit_cast<double>(rtol);
  TRY(out.ulps, in.in.svarint("ulps"));
  const size_t at = in.in.offset();
  TRY(const Attr mode, in.attr("result accuracy mode"));
  const auto* value = mode.get_if<Enum>();
  if (!value || value->kind != Enum::Kind::accuracy_mode) {
    return malformed(at, "result accuracy mode", "not an accuracy mode");
  }
  out.mode = static_cast<ir::AccuracyMode>(value->value);
  return Attr(Value(out));
}

Result<Attr> axis_reference(Decoder& in) {
  TRY(std::string name, in.text_attr("axis name"));
  TRY(const uint8_t has_sub_axis, in.enum_value("sub-axis presence", 0, 1));
  if (!has_sub_axis) return named({{"name", Attr(std::move(name))}});
  TRY(Attr sub, in.attr("sub-axis"));
  return named({{"name", Attr(std::move(name))}, {"sub_axis", std::move(sub)}});
}

Result<Attr> replica_group_mesh_axes(Decoder& in) {
  TRY(Attr mesh, in.attr("mesh"));
  TRY(Attr axes, in.attr("mesh axes"));
  return named({{"axes", std::move(axes)}, {"mesh", std::move(mesh)}});
}

Result<Attr> mesh_axis(Decoder& in) {
  TRY(std::string name, in.text_attr("axis name"));
  TRY(const int64_t size, in.in.svarint("axis size"));
  return named({{"name", Attr(std::move(name))}, {"size", Attr(size)}});
}

Result<Attr> mesh(Decoder& in) {
  TRY(Attr axes, in.attr("mesh axes"));
  Attr device_ids;
  TRY(const bool present, in.optional_attr("device ids", &device_ids));
  if (!present) return named({{"axes", std::move(axes)}});
  return named({{"axes", std::move(axes)}, {"device_ids", std::move(device_ids)}});
}

}  // namespace

Result<Attr> vhlo_attribute(Decoder& in) {
  const size_t at = in.in.offset();
  TRY(const uint64_t code, in.in.varint("vhlo attribute code"));
  for (const Enumeration& e : kEnumerations) {
    if (e.code != code) continue;
    TRY(const uint8_t value, in.enum_value(e.field, e.first, e.last));
    return Attr(Enum{e.kind, value});
  }
  switch (code) {
    case 0:
      return retired_alias(in);
    case 1:
      return attr_of(in.attrs("array item"));
    case 2: {
      TRY(const uint8_t value, in.enum_value("boolean", 0, 1));
      return Attr(Value(value != 0));
    }
    case 6:
      return attr_of(in.dict("dictionary"));
    case 8:
      return in.float_attr();
    case 9:
      return in.int_attr();
    case 10:
      return alias(in);
    case 14:
      return attr_of(in.string("string"));
    case 15:
      return in.dense_attr();
    case 17:
      return attr_of(in.any_type("type"));
    case 18:
      return attr_of(in.ints("bounds"));
    case 20:
      return accuracy(in);
    case 21:
      return in.sub_axis();
    case 22:
      return axis_reference(in);
    case 23:
      return replica_group_mesh_axes(in);
    case 24:
      return mesh_axis(in);
    case 25:
      return mesh(in);
    default:
      return malformed(at, "vhlo attribute code", str("unknown code ", code));
  }
}

}  // namespace jaxmps::bytecode
