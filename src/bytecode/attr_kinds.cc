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

template <typename T>
Result<Attr> check(Attr value, Text expected) {
  if (!value.get_if<T>()) return wrong(expected);
  return value;
}

Result<Attr> check_f32(Attr value) {
  const auto* f = value.get_if<ir::TypedFloat>();
  if (!f || f->dtype != DType::f32) return wrong("an f32");
  return value;
}

Result<Attr> check_enum(Attr value, Enum::Kind kind, Text expected) {
  const auto* e = value.get_if<Enum>();
  if (!e || e->kind != kind) return wrong(expected);
  return value;
}

Result<Attr> check_int(Attr value, DType dtype, Text expected) {
  const auto* i = value.get_if<ir::TypedInt>();
  if (!i || i->dtype != dtype) return wrong(expected);
  return value;
}

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

// Applies `item` to every item of an array.
template <typename F>
Result<Attr> each(Attr value, Text expected, F item) {
  auto* list = std::get_if<ir::AttrList>(&value.value);
  if (!list) return wrong(expected);
  for (Attr& element : *list) {
    TRY(element, item(std::move(element)));
  }
  return value;
}

Result<Attr> layout(const Attr& value) {
  return ints(value, DType::index, "a rank-1 tensor of index");
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

Result<Attr> lists(AttrKind kind, Attr value) {
  using enum AttrKind;
  switch (kind) {
    case symbols:
      return each(std::move(value), "an array of symbols", to_symbol);
    case precisions:
      return each(std::move(value), "an array of precisions", [](Attr item) {
        return check_enum(std::move(item), Enum::Kind::precision, "a precision");
      });
    case layouts:
      return each(std::move(value), "an array of layouts", layout);
    case tilings:
      return each(std::move(value), "an array of tilings",
                  [](Attr item) { return each(std::move(item), "an array of tiles", layout); });
    case int_lists:
      return each(std::move(value), "an array of arrays of integers", int_list);
    case dicts:
      return each(std::move(value), "an array of dictionaries",
                  [](Attr item) { return check<ir::AttrDict>(std::move(item), "a dictionary"); });
    default:
      return each(std::move(value), "an array of aliases", [](Attr item) {
        return check<ir::OutputOperandAlias>(std::move(item), "an output operand alias");
      });
  }
}

Result<Attr> enums(AttrKind kind, Attr value) {
  using enum AttrKind;
  using K = Enum::Kind;
  switch (kind) {
    case compare_direction:
      return check_enum(std::move(value), K::compare_direction, "a comparison direction");
    case compare_type:
      return check_enum(std::move(value), K::compare_type, "a comparison type");
    case custom_call_api:
      return check_enum(std::move(value), K::custom_call_api, "a custom call API version");
    case fft_type:
      return check_enum(std::move(value), K::fft_type, "an FFT type");
    case rng_algorithm:
      return check_enum(std::move(value), K::rng_algorithm, "an RNG algorithm");
    case rng_distribution:
      return check_enum(std::move(value), K::rng_distribution, "an RNG distribution");
    case transpose:
      return check_enum(std::move(value), K::transpose, "a transpose kind");
    default:  // anything
      return value;
  }
}

}  // namespace

bool is_none(AttrKind kind, const Attr& value) {
  if (kind != AttrKind::type_or_none && kind != AttrKind::boolean_or_none &&
      kind != AttrKind::i64_or_none) {
    return false;
  }
  const auto* type = value.get_if<ir::Type>();
  return type && type->kind == ir::Type::Kind::none;
}

Result<Attr> convert(AttrKind kind, Attr value) {
  using enum AttrKind;
  switch (kind) {
    case i64:
    case i64_or_none:
      return check_int(std::move(value), DType::s64, "an i64");
    case i32:
      return check_int(std::move(value), DType::s32, "an i32");
    case any_int:
      return check<ir::TypedInt>(std::move(value), "an integer");
    case f32:
      return check_f32(std::move(value));
    case boolean:
    case boolean_or_none:
      return check<bool>(std::move(value), "a boolean");
    case string:
    case optional_string:
      return check<std::string>(std::move(value), "a string");
    case symbol:
      return to_symbol(std::move(value));
    case ints:
      return bytecode::ints(value, DType::s64, "a rank-1 tensor of i64");
    case pairs:
      return bytecode::pairs(value);
    case bools:
      return bytecode::ints(value, DType::pred, "a rank-1 tensor of bool");
    case groups:
      return bytecode::groups(std::move(value));
    case tensor:
      return check<Dense>(std::move(value), "a tensor");
    case accuracy:
      return check<ir::Accuracy>(std::move(value), "a result accuracy");
    case list:
      return check<ir::AttrList>(std::move(value), "an array");
    case dict:
      return check<ir::AttrDict>(std::move(value), "a dictionary");
    case string_or_dict:
      if (value.get_if<std::string>()) return value;
      return check<ir::AttrDict>(std::move(value), "a string or a dictionary");
    case type:
    case type_or_none:
      return check<ir::Type>(std::move(value), "a type");
    case symbols:
    case precisions:
    case layouts:
    case tilings:
    case int_lists:
    case dicts:
    case aliases:
      return lists(kind, std::move(value));
    default:
      return enums(kind, std::move(value));
  }
}

}  // namespace jaxmps::bytecode
