// The fields that attribute and type entries are made of.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "bytecode/tables.h"
#include "ir/float_format.h"
#include "ir/lists.h"

namespace jaxmps::bytecode {

void Decoder::add(size_t cost, int height) {
  cost_ += cost;
  height_ = std::max(height_, height);
}

Status Decoder::charge(size_t bytes) {
  cost_ += bytes;
  return tables_.charge(bytes, in.offset());
}

Result<ir::Attr> Decoder::attr_at(size_t index, size_t offset) {
  TRY(const AttrEntry* entry, tables_.attribute(index, depth_ + 1));
  CHECK_OK(tables_.charge(entry->cost, offset));
  add(entry->cost, entry->height);
  return entry->attr;
}

Result<ir::Attr> Decoder::attr(Text field) {
  const size_t at = in.offset();
  TRY(const size_t index, in.index(field, tables_.container().attributes.size()));
  return attr_at(index, at);
}

Result<ir::AttrList> Decoder::attrs(Text field) {
  TRY(const size_t count, in.count(field));
  ir::AttrList list;
  list.reserve(std::min<size_t>(count, 1024));
  for (size_t i = 0; i < count; ++i) {
    TRY(ir::Attr item, attr(field));
    list.push_back(std::move(item));
  }
  return list;
}

Result<std::string> Decoder::text_attr(Text field) {
  const size_t at = in.offset();
  TRY(const ir::Attr value, attr(field));
  const auto* text = value.get_if<std::string>();
  if (!text) return malformed(at, field, "not a string attribute");
  return *text;
}

Result<bool> Decoder::optional_attr(Text field, ir::Attr* out) {
  const size_t at = in.offset();
  TRY(const Flagged index, in.flagged(field));
  if (!index.flag) return false;
  const size_t size = tables_.container().attributes.size();
  if (index.value >= size)
    return malformed(at, field, str("index ", index.value, " out of ", size));
  TRY(*out, attr_at(static_cast<size_t>(index.value), at));
  return true;
}

Result<ir::AttrDict> Decoder::dict(Text field) {
  const size_t at = in.offset();
  TRY(const size_t count, in.count(field, 2));
  ir::AttrDict dict;
  dict.reserve(std::min<size_t>(count, 1024));
  for (size_t i = 0; i < count; ++i) {
    TRY(std::string key, text_attr("dictionary key"));
    TRY(ir::Attr value, attr("dictionary value"));
    dict.push_back({std::move(key), std::move(value)});
  }
  dict = ir::attributes(std::move(dict));
  for (size_t i = 1; i < dict.size(); ++i) {
    if (dict[i].name == dict[i - 1].name) {
      return malformed(at, field, str("key ", quoted(dict[i].name), " occurs twice"));
    }
  }
  return dict;
}

Result<const TypeEntry*> Decoder::type(Text field) {
  const size_t at = in.offset();
  TRY(const size_t index, in.index(field, tables_.container().types.size()));
  TRY(const TypeEntry* entry, tables_.type(index, depth_ + 1));
  CHECK_OK(tables_.charge(entry->cost, at));
  add(entry->cost, entry->height);
  return entry;
}

Result<ir::Type> Decoder::any_type(Text field) {
  TRY(const TypeEntry* entry, type(field));
  return entry->type;
}

Result<ir::Type> Decoder::value_type(Text field) {
  const size_t at = in.offset();
  TRY(const TypeEntry* entry, type(field));
  using Kind = ir::Type::Kind;
  if (entry->element || entry->type.kind == Kind::function || entry->type.kind == Kind::none) {
    return malformed(at, field, str(ir::print(entry->type), " is not the type of a value"));
  }
  return entry->type;
}

Result<ir::Type> Decoder::element_type(Text field) {
  const size_t at = in.offset();
  TRY(const TypeEntry* entry, type(field));
  if (!entry->element) {
    return malformed(at, field, str(ir::print(entry->type), " is not an element type"));
  }
  return entry->type;
}

Result<std::vector<ir::Type>> Decoder::value_types(Text field) {
  TRY(const size_t count, in.count(field));
  std::vector<ir::Type> types;
  types.reserve(std::min<size_t>(count, 1024));
  for (size_t i = 0; i < count; ++i) {
    TRY(ir::Type type, value_type(field));
    types.push_back(std::move(type));
  }
  return types;
}

Result<std::string> Decoder::string(Text field) {
  TRY(const size_t index, in.index(field, tables_.container().strings.size()));
  const Text text = tables_.container().strings[index];
  CHECK_OK(charge(text.size()));
  return std::string(text);
}

Result<ir::Dims> Decoder::ints(Text field) {
  TRY(const size_t count, in.count(field));
  CHECK_OK(charge(count * sizeof(int64_t)));
  ir::Dims values(count);
  for (int64_t& value : values) {
    TRY(value, in.svarint(field));
  }
  return values;
}

Result<ir::Dims> Decoder::shape(Text field) {
  const size_t at = in.offset();
  TRY(ir::Dims dims, ints(field));
  if (dims.size() > kMaxRank) return malformed(at, field, str("rank ", dims.size(), " above 64"));
  // 16 bytes is the largest element, so byte counts fit as well.
  int64_t bytes = 16;
  for (int64_t dim : dims) {
    if (dim == ir::kDynamic) continue;
    if (dim < 0) return malformed(at, field, str("negative dimension ", dim));
    if (dim > 0 && __builtin_mul_overflow(bytes, dim, &bytes)) {
      return malformed(at, field, "more bytes than 2^63");
    }
  }
  return dims;
}

Result<uint8_t> Decoder::enum_value(Text field, uint64_t first, uint64_t last) {
  const size_t at = in.offset();
  TRY(const uint64_t value, in.varint(field));
  if (value < first || value > last) {
    return malformed(at, field, str("value ", value, " outside ", first, "..", last));
  }
  return static_cast<uint8_t>(value);
}

Result<int64_t> Decoder::integer(Text field, ir::DType dtype) {
  const int bits = ir::bit_width(dtype);
  uint64_t raw;
  if (bits <= 8) {
    TRY(raw, in.u8(field));
  } else {
    TRY(raw, in.svarint(field));
  }
  if (bits < 64) raw &= (uint64_t{1} << bits) - 1;
  if (ir::is_signed_int(dtype) && bits < 64 && raw >> (bits - 1)) raw |= ~uint64_t{0} << bits;
  return static_cast<int64_t>(raw);
}

Result<double> Decoder::floating(Text field, ir::DType dtype) {
  TRY(const int64_t raw, integer(field, dtype));
  if (dtype == ir::DType::f64) return std::bit_cast<double>(raw);
  if (dtype == ir::DType::f32) return std::bit_cast<float>(static_cast<uint32_t>(raw));
  return ir::decode_float(static_cast<uint32_t>(raw), ir::float_format(dtype));
}

Result<ir::Attr> Decoder::int_attr() {
  const size_t at = in.offset();
  TRY(const ir::Type type, element_type("integer type"));
  if (type.dtype == ir::DType::pred) {
    TRY(const uint8_t value, in.u8("boolean"));
    return ir::Attr(ir::Attr::Value(value != 0));
  }
  if (!ir::is_int(type.dtype) || type.quantization) {
    return malformed(at, "integer type", "not an integer type");
  }
  TRY(const int64_t value, integer("integer value", type.dtype));
  return ir::Attr(ir::Attr::Value(ir::TypedInt{type.dtype, value}));
}

Result<ir::Attr> Decoder::float_attr() {
  const size_t at = in.offset();
  TRY(const ir::Type type, element_type("float type"));
  if (!ir::is_float(type.dtype)) return malformed(at, "float type", "not a float type");
  TRY(const double value, floating("float value", type.dtype));
  return ir::Attr(ir::Attr::Value(ir::TypedFloat{type.dtype, value}));
}

Result<ir::Attr> Decoder::dense_attr() {
  TRY(ir::Type type, value_type("tensor type"));
  TRY(ir::Dense dense, tensor_data(*this, std::move(type)));
  return ir::Attr(std::move(dense));
}

Result<ir::Attr> Decoder::sub_axis() {
  TRY(const int64_t pre_size, in.svarint("sub-axis pre-size"));
  TRY(const int64_t size, in.svarint("sub-axis size"));
  return named({{"pre_size", ir::Attr(pre_size)}, {"size", ir::Attr(size)}});
}

}  // namespace jaxmps::bytecode
