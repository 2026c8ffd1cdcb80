// Checks the attributes of an op against their declared kinds and unpacks small tensors to lists.
#include <algorithm>

#include "bytecode/cursor.h"
#include "bytecode/op_specs.h"

namespace jaxmps::bytecode {
namespace {

using ir::Attr;
using ir::Dense;
using ir::DType;
using ir::Enum;
using ir::Ints;
using Value = ir::Attr::Value;

// A splat's shape may be far larger than the artifact; no index list is longer than this.
constexpr int64_t kMaxInts = int64_t{1} << 20;

Error wrong(Text expected) { return invalid(str("not ", expected)); }

Result<Ints> unpack(const Dense* dense, DType dtype, size_t rank, Text expected) {
  if (!dense || dense->type.dtype != dtype || dense->type.dims.size() != rank) {
    return wrong(expected);
  }
  const int64_t count = dense->type.size();
  if (count > kMaxInts) return invalid(str(count, " elements are more than ", kMaxInts));
  Ints out(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) out[static_cast<size_t>(i)] = dense->int_at(i);
  return out;
}

Result<Attr> ints(const Attr& value, DType dtype, Text expected) {
  TRY(Ints out, unpack(value.get_if<Dense>(), dtype, 1, expected));
  return Attr(std::move(out));
}

Result<Attr> pairs(const Attr& value) {
  const auto* dense = value.get_if<Dense>();
  constexpr Text kExpected = "a two-column tensor of i64";
  // No pairs are also written as 0x0, or with one dimension of 0.
  const bool none = dense && dense->type.dtype == DType::s64 && dense->type.size() == 0;
  if (none) return Attr(Ints{});
  TRY(Ints out, unpack(dense, DType::s64, 2, kExpected));
  if (dense->type.dims[1] != 2) return wrong(kExpected);
  return Attr(std::move(out));
}

// Rows of device positions; -1 fills up short ones.
Result<Attr> groups(Attr value) {
  if (value.get_if<ir::AttrDict>()) return value;
  const auto* dense = value.get_if<Dense>();
  TRY(const Ints flat, unpack(dense, DType::s64, 2, "replica groups"));
  ir::ReplicaGroups out;
  if (dense->type.dims[0] > kMaxInts) return wrong("replica groups");
  const auto rows = static_cast<size_t>(dense->type.dims[0]);
  const auto columns = static_cast<size_t>(dense->type.dims[1]);
  out.groups.resize(rows);
  for (size_t i = 0; i < flat.size(); ++i) {
    if (flat[i] != -1) out.groups[i / columns].push_back(flat[i]);
  }
  return Attr(Value(std::move(out)));
}

Result<Attr> to_symbol(Attr value) {
  if (value.get_if<ir::Symbol>()) return value;
  auto* text = std::get_if<std::string>(&value.value);
  if (!text) return wrong("a symbol");
  return Attr(ir::Symbol{std::move(*text)});
}

Result<Attr> int_list(const Attr& value) {
  const auto* list = value.get_if<ir::AttrList>();
  if (!list) return wrong("an array of integers");
  Ints out;
  for (const Attr& item : *list) {
    const auto* i = item.get_if<ir::TypedInt>();
    if (!i) return wrong("an array of integers");
    out.push_back(i->value);
  }
  return Attr(std::move(out));
}

template <typename T>
bool is(const Attr& value) {
  return value.get_if<T>() != nullptr;
}
template <typename T, DType dtype>
bool is_number(const Attr& value) {
  const auto* number = value.get_if<T>();
  return number && number->dtype == dtype;
}
template <Enum::Kind kind>
bool is_enum(const Attr& value) {
  const auto* e = value.get_if<Enum>();
  return e && e->kind == kind;
}
bool is_string_or_dict(const Attr& value) {
  return is<std::string>(value) || is<ir::AttrDict>(value);
}

// Values that stay as they are.
struct Plain {
  AttrKind kind;
  bool (*fits)(const Attr& value);
  Text expected;
};
constexpr Plain kPlain[] = {
    {AttrKind::i64, is_number<ir::TypedInt, DType::s64>, "an i64"},
    {AttrKind::i64_or_none, is_number<ir::TypedInt, DType::s64>, "an i64"},
    {AttrKind::i32, is_number<ir::TypedInt, DType::s32>, "an i32"},
    {AttrKind::any_int, is<ir::TypedInt>, "an integer"},
    {AttrKind::f32, is_number<ir::TypedFloat, DType::f32>, "an f32"},
    {AttrKind::boolean, is<bool>, "a boolean"},
    {AttrKind::boolean_or_none, is<bool>, "a boolean"},
    {AttrKind::string, is<std::string>, "a string"},
    {AttrKind::optional_string, is<std::string>, "a string"},
    {AttrKind::tensor, is<Dense>, "a tensor"},
    {AttrKind::accuracy, is<ir::Accuracy>, "a result accuracy"},
    {AttrKind::list, is<ir::AttrList>, "an array"},
    {AttrKind::dict, is<ir::AttrDict>, "a dictionary"},
    {AttrKind::string_or_dict, is_string_or_dict, "a string or a dictionary"},
    {AttrKind::alias, is<ir::OutputOperandAlias>, "an output operand alias"},
    {AttrKind::type, is<ir::Type>, "a type"},
    {AttrKind::type_or_none, is<ir::Type>, "a type"},
    {AttrKind::precision, is_enum<Enum::Kind::precision>, "a precision"},
    {AttrKind::compare_direction, is_enum<Enum::Kind::compare_direction>, "a comparison direction"},
    {AttrKind::compare_type, is_enum<Enum::Kind::compare_type>, "a comparison type"},
    {AttrKind::custom_call_api, is_enum<Enum::Kind::custom_call_api>, "a custom call API version"},
    {AttrKind::fft_type, is_enum<Enum::Kind::fft_type>, "an FFT type"},
    {AttrKind::rng_algorithm, is_enum<Enum::Kind::rng_algorithm>, "an RNG algorithm"},
    {AttrKind::rng_distribution, is_enum<Enum::Kind::rng_distribution>, "an RNG distribution"},
    {AttrKind::transpose, is_enum<Enum::Kind::transpose>, "a transpose kind"},
};

// Arrays whose items are of one kind.
struct ListKind {
  AttrKind kind, item;
  Text expected;
};
constexpr ListKind kLists[] = {
    {AttrKind::symbols, AttrKind::symbol, "an array of symbols"},
    {AttrKind::precisions, AttrKind::precision, "an array of precisions"},
    {AttrKind::layouts, AttrKind::layout, "an array of layouts"},
    {AttrKind::tilings, AttrKind::tiles, "an array of tilings"},
    {AttrKind::tiles, AttrKind::layout, "an array of tiles"},
    {AttrKind::int_lists, AttrKind::int_list, "an array of arrays of integers"},
    {AttrKind::dicts, AttrKind::dict, "an array of dictionaries"},
    {AttrKind::aliases, AttrKind::alias, "an array of aliases"},
};

}  // namespace

bool is_none(const AttrSpec& attr, const Attr& value) {
  const auto* type = attr.may_be_none() ? value.get_if<ir::Type>() : nullptr;
  return type && type->kind == ir::Type::Kind::none;
}

Result<Attr> convert(AttrKind kind, Attr value) {
  for (const Plain& plain : kPlain) {
    if (plain.kind != kind) continue;
    if (!plain.fits(value)) return wrong(plain.expected);
    return value;
  }
  for (const ListKind& whole : kLists) {
    if (whole.kind != kind) continue;
    auto* list = std::get_if<ir::AttrList>(&value.value);
    if (!list) return wrong(whole.expected);
    for (Attr& item : *list) {
      TRY(item, convert(whole.item, std::move(item)));
    }
    return value;
  }
  switch (kind) {
    case AttrKind::symbol:
      return to_symbol(std::move(value));
    case AttrKind::ints:
      return ints(value, DType::s64, "a rank-1 tensor of i64");
    case AttrKind::pairs:
      return pairs(value);
    case AttrKind::bools:
      return ints(value, DType::pred, "a rank-1 tensor of bool");
    case AttrKind::layout:
      return ints(value, DType::index, "a rank-1 tensor of index");
    case AttrKind::groups:
      return groups(std::move(value));
    case AttrKind::int_list:
      return int_list(value);
    default:  // anything
      return value;
  }
}

}  // namespace jaxmps::bytecode
