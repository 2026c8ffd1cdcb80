// The types of the VHLO and builtin dialects.
#include <algorithm>
#include <bit>
#include <iterator>

#include "bytecode/tables.h"

namespace jaxmps::bytecode {
namespace {

using ir::DType;
using TypeKind = ir::Type::Kind;

TypeEntry element(DType dtype) { return {.type = ir::Type(dtype, {}), .element = true}; }
TypeEntry whole(ir::Type type) { return {.type = std::move(type)}; }

ir::Type of_kind(TypeKind kind) {
  ir::Type type;
  type.kind = kind;
  return type;
}

Result<TypeEntry> complex(Decoder& in) {
  const size_t at = in.in.offset();
  TRY(const ir::Type part, in.element_type("complex element type"));
  if (part.dtype == DType::f32) return element(DType::c64);
  if (part.dtype == DType::f64) return element(DType::c128);
  return malformed(at, "complex element type", str(ir::name(part.dtype), " is not f32 or f64"));
}

Result<TypeEntry> function(Decoder& in) {
  ir::Type type = of_kind(TypeKind::function);
  TRY(type.elements, in.value_types("function inputs"));
  TRY(type.results, in.value_types("function results"));
  return whole(std::move(type));
}

Result<TypeEntry> with_elements(Decoder& in, TypeKind kind) {
  ir::Type type = of_kind(kind);
  TRY(type.elements, in.value_types("element types"));
  return whole(std::move(type));
}

Result<TypeEntry> shaped(Decoder& in, TypeKind kind) {
  TRY(ir::Dims dims, in.shape("dimensions"));
  TRY(ir::Type type, in.element_type("element type"));
  type.kind = kind;
  type.dims = std::move(dims);
  return whole(std::move(type));
}

Result<TypeEntry> unranked(Decoder& in) {
  TRY(ir::Type type, in.element_type("element type"));
  type.kind = TypeKind::unranked_tensor;
  return whole(std::move(type));
}

// The encoding holds the bounds of dynamic dimensions.
Result<TypeEntry> bounded(Decoder& in) {
  const size_t at = in.in.offset();
  TRY(const ir::Attr encoding, in.attr("tensor encoding"));
  TRY(TypeEntry out, shaped(in, TypeKind::tensor));
  const auto* bounds = encoding.get_if<ir::Ints>();
  if (!bounds) return malformed(at, "tensor encoding", "not a list of bounds");
  if (bounds->size() != out.type.dims.size()) {
    return malformed(at, "tensor encoding",
                     str(bounds->size(), " bounds for rank ", out.type.dims.size()));
  }
  for (size_t i = 0; i < bounds->size(); ++i) {
    const int64_t bound = (*bounds)[i];
    if (bound == ir::kDynamic) continue;
    if (bound < 0 || out.type.dims[i] != ir::kDynamic) {
      return malformed(at, "tensor encoding", str("bound ", bound, " of dimension ", i));
    }
  }
  out.type.bounds = *bounds;
  return out;
}

struct QuantHead {
  ir::Type type;
  std::shared_ptr<ir::Quantization> params;
};

Result<QuantHead> quantized_head(Decoder& in) {
  auto params = std::make_shared<ir::Quantization>();
  const size_t at = in.in.offset();
  TRY(const uint64_t flags, in.in.varint("quantization flags"));
  if (flags > 1) return malformed(at, "quantization flags", str("unknown flags ", flags));
  params->is_signed = flags == 1;
  TRY(const ir::Type storage, in.element_type("storage type"));
  TRY(const ir::Type expressed, in.element_type("expressed type"));
  if (!ir::is_int(storage.dtype)) {
    return malformed(at, "storage type", str(ir::name(storage.dtype), " is not an integer"));
  }
  if (!ir::is_float(expressed.dtype)) {
    return malformed(at, "expressed type", str(ir::name(expressed.dtype), " is not a float"));
  }
  params->storage = storage.dtype;
  params->expressed = expressed.dtype;
  return QuantHead{ir::Type(storage.dtype, {}), std::move(params)};
}

Result<double> scale(Decoder& in) {
  TRY(const int64_t bits, in.in.svarint("scale"));
  return std::bit_cast<double>(bits);
}

TypeEntry finish(QuantHead head) {
  head.type.quantization = std::move(head.params);
  return {.type = std::move(head.type), .element = true};
}

Result<TypeEntry> per_tensor(Decoder& in) {
  TRY(QuantHead head, quantized_head(in));
  TRY(const double factor, scale(in));
  head.params->scales = {factor};
  TRY(const int64_t zero_point, in.in.svarint("zero point"));
  head.params->zero_points = {zero_point};
  TRY(head.params->storage_min, in.in.svarint("storage minimum"));
  TRY(head.params->storage_max, in.in.svarint("storage maximum"));
  return finish(std::move(head));
}

Result<TypeEntry> per_axis(Decoder& in) {
  TRY(QuantHead head, quantized_head(in));
  TRY(const size_t axis, in.in.index("quantized axis", kMaxRank));
  head.params->axis = static_cast<int64_t>(axis);
  TRY(head.params->storage_min, in.in.svarint("storage minimum"));
  TRY(head.params->storage_max, in.in.svarint("storage maximum"));
  const size_t at = in.in.offset();
  TRY(const size_t count, in.in.count("scales"));
  CHECK_OK(in.charge(count * sizeof(double)));
  for (size_t i = 0; i < count; ++i) {
    TRY(const double factor, scale(in));
    head.params->scales.push_back(factor);
  }
  TRY(head.params->zero_points, in.ints("zero points"));
  if (head.params->zero_points.size() != count) {
    return malformed(at, "zero points",
                     str(head.params->zero_points.size(), " for ", count, " scales"));
  }
  return finish(std::move(head));
}

Result<TypeEntry> integer_type(Decoder& in) {
  const size_t at = in.in.offset();
  TRY(const uint64_t code, in.in.varint("integer type"));
  const uint64_t bits = code >> 2, sign = code & 3;
  if (bits == 1 && sign != 3) return element(DType::pred);
  for (int i = 0; i < ir::kDTypeCount && sign != 3; ++i) {
    const auto dtype = static_cast<DType>(i);
    const bool is_such = sign == 2 ? ir::is_unsigned_int(dtype) : ir::is_signed_int(dtype);
    if (is_such && static_cast<uint64_t>(ir::bit_width(dtype)) == bits) return element(dtype);
  }
  return malformed(at, "integer type", str("width ", bits, ", signedness ", sign));
}

constexpr DType kNoElement = static_cast<DType>(255);

// The codes of VHLO types that are plain element types.
constexpr DType kVhloElements[] = {
    DType::pred,      kNoElement,      DType::bf16,       DType::f16,        DType::f32,
    DType::f64,       DType::f8e4m3fn, DType::f8e5m2,     kNoElement,        DType::index,
    DType::s4,        DType::s8,       DType::s16,        DType::s32,        DType::s64,
    DType::u4,        DType::u8,       DType::u16,        DType::u32,        DType::u64,
    kNoElement,       kNoElement,      kNoElement,        kNoElement,        kNoElement,
    kNoElement,       kNoElement,      DType::f8e4m3fnuz, DType::f8e5m2fnuz, DType::f8e4m3b11fnuz,
    kNoElement,       DType::s2,       DType::u2,         kNoElement,        DType::tf32,
    DType::f8e4m3,    DType::f8e3m4,   DType::f4e2m1fn,   DType::f6e2m3fn,   DType::f6e3m2fn,
    DType::f8e8m0fnu,
};
static_assert(kVhloElements[40] == DType::f8e8m0fnu && kVhloElements[34] == DType::tf32);

// Builtin codes 21 to 32.
constexpr DType kBuiltinFloats[] = {
    DType::tf32,       DType::f8e5m2,     DType::f8e4m3,        DType::f8e4m3fn,
    DType::f8e5m2fnuz, DType::f8e4m3fnuz, DType::f8e4m3b11fnuz, DType::f8e3m4,
    DType::f4e2m1fn,   DType::f6e2m3fn,   DType::f6e3m2fn,      DType::f8e8m0fnu,
};

}  // namespace

Result<TypeEntry> vhlo_type(Decoder& in) {
  const size_t at = in.in.offset();
  TRY(const uint64_t code, in.in.varint("vhlo type code"));
  if (code < std::size(kVhloElements) && kVhloElements[code] != kNoElement) {
    return element(kVhloElements[code]);
  }
  switch (code) {
    case 1:
      return complex(in);
    case 8:
      return function(in);
    case 20:
      return shaped(in, TypeKind::tensor);
    case 21:
      return bounded(in);
    case 22:
      return whole(ir::Type::token());
    case 23:
      return with_elements(in, TypeKind::tuple);
    case 24:
      return per_tensor(in);
    case 25:
      return unranked(in);
    case 30:
      return per_axis(in);
    case 33:
      return whole(of_kind(TypeKind::none));
    case 41:
      return shaped(in, TypeKind::buffer);
    case 42:
      return with_elements(in, TypeKind::future);
    default:
      return malformed(at, "vhlo type code", str("unknown code ", code));
  }
}

Result<TypeEntry> builtin_type(Decoder& in) {
  const size_t at = in.in.offset();
  TRY(const uint64_t code, in.in.varint("builtin type code"));
  if (code >= 21 && code < 21 + std::size(kBuiltinFloats))
    return element(kBuiltinFloats[code - 21]);
  switch (code) {
    case 0:
      return integer_type(in);
    case 1:
      return element(DType::index);
    case 2:
      return function(in);
    case 3:
      return element(DType::bf16);
    case 4:
      return element(DType::f16);
    case 5:
      return element(DType::f32);
    case 6:
      return element(DType::f64);
    case 9:
      return complex(in);
    case 12:
      return whole(of_kind(TypeKind::none));
    case 13:
      return shaped(in, TypeKind::tensor);
    case 14:
      return bounded(in);
    case 15:
      return with_elements(in, TypeKind::tuple);
    case 18:
      return unranked(in);
    default:
      return malformed(at, "builtin type code", str("unsupported code ", code));
  }
}

// Builtin floats that older writers spell out.
Result<TypeEntry> text_type(Text text, size_t offset) {
  for (DType dtype : kBuiltinFloats) {
    if (text == ir::name(dtype)) return element(dtype);
  }
  return malformed(offset, "type as text", str(quoted(text), " is not a known type"));
}

}  // namespace jaxmps::bytecode
