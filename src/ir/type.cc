#include "ir/type.h"

#include <iterator>

#include "base/result.h"

namespace jaxmps::ir {
namespace {

struct DTypeInfo {
  int bits;
  std::string_view text;
  std::string_view short_name;
  int pjrt;
};

constexpr DTypeInfo kInfo[] = {
#define X(name, bits, text, pjrt) {bits, text, #name, pjrt},
    JAXMPS_DTYPES(X)
#undef X
};

const DTypeInfo& info(DType dtype) { return kInfo[static_cast<size_t>(dtype)]; }

std::string print_list(const std::vector<Type>& types) {
  std::string out;
  for (const Type& type : types) {
    if (!out.empty()) out += ", ";
    out += print(type);
  }
  return out;
}

std::string print_element(const Type& type) {
  if (!type.quantization) return std::string(info(type.dtype).text);
  const Quantization& q = *type.quantization;
  std::string out = str("!quant.uniform<", name(q.storage), ":", name(q.expressed));
  if (q.axis >= 0) out += str(":", q.axis);
  out += ", ";
  for (size_t i = 0; i < q.scales.size(); ++i) {
    if (i) out += ",";
    out += str(q.scales[i], ":", i < q.zero_points.size() ? q.zero_points[i] : 0);
  }
  return out + ">";
}

std::string print_dims(const Dims& dims, char separator, bool trailing) {
  std::string out;
  for (size_t i = 0; i < dims.size(); ++i) {
    out += dims[i] == kDynamic ? "?" : std::to_string(dims[i]);
    if (trailing || i + 1 < dims.size()) out += separator;
  }
  return out;
}

}  // namespace

int byte_size(DType dtype) { return info(dtype).bits / 8; }
std::string_view name(DType dtype) { return info(dtype).text; }
int pjrt_type(DType dtype) { return info(dtype).pjrt; }

bool from_pjrt_type(int type, DType* dtype) {
  for (size_t i = 0; i < std::size(kInfo); ++i) {
    if (kInfo[i].pjrt == type && type != 0) {
      *dtype = static_cast<DType>(i);
      return true;
    }
  }
  return false;
}

DType real_type(DType dtype) {
  if (dtype == DType::c64) return DType::f32;
  if (dtype == DType::c128) return DType::f64;
  return dtype;
}

int bit_width(DType dtype) {
  switch (dtype) {
    case DType::pred:
      return 1;
    case DType::s2:
    case DType::u2:
      return 2;
    case DType::s4:
    case DType::u4:
    case DType::f4e2m1fn:
      return 4;
    case DType::f6e2m3fn:
    case DType::f6e3m2fn:
      return 6;
    case DType::tf32:
      return 19;
    default:
      return info(dtype).bits;
  }
}

Type::Type() = default;
Type::Type(DType d, Dims shape) : kind(Kind::tensor), dtype(d), dims(std::move(shape)) {}
Type::~Type() = default;
Type::Type(const Type&) = default;
Type::Type(Type&&) noexcept = default;
Type& Type::operator=(const Type&) = default;
Type& Type::operator=(Type&&) noexcept = default;

Type Type::token() {
  Type type;
  type.kind = Kind::token;
  return type;
}

bool Type::is_static() const {
  for (int64_t dim : dims) {
    if (dim == kDynamic) return false;
  }
  return kind == Kind::tensor;
}

int64_t Type::size() const { return element_count(dims); }

Type Type::with(DType other) const {
  Type type = *this;
  type.dtype = other;
  type.quantization = nullptr;
  return type;
}

Type Type::with(Dims other) const {
  Type type = *this;
  type.dims = std::move(other);
  type.bounds.clear();
  return type;
}

bool Type::operator==(const Type& other) const {
  if (kind != other.kind || dims != other.dims) return false;
  if ((kind == Kind::tensor || kind == Kind::buffer || kind == Kind::unranked_tensor) &&
      dtype != other.dtype) {
    return false;
  }
  if (elements != other.elements || results != other.results) return false;
  if (!quantization || !other.quantization) return quantization == other.quantization;
  return *quantization == *other.quantization;
}

std::string print(const Type& type) {
  switch (type.kind) {
    case Type::Kind::none:
      return "none";
    case Type::Kind::token:
      return "!stablehlo.token";
    case Type::Kind::tuple:
      return str("tuple<", print_list(type.elements), ">");
    case Type::Kind::future:
      return str("!stablehlo.future<", print_list(type.elements), ">");
    case Type::Kind::function:
      return str("(", print_list(type.elements), ") -> (", print_list(type.results), ")");
    case Type::Kind::unranked_tensor:
      return str("tensor<*x", print_element(type), ">");
    case Type::Kind::buffer:
      return str("memref<", print_dims(type.dims, 'x', true), print_element(type), ">");
    case Type::Kind::tensor:
      break;
  }
  return str("tensor<", print_dims(type.dims, 'x', true), print_element(type), ">");
}

std::string brief(const Type& type) {
  if (!type.is_tensor() || type.quantization) return print(type);
  return str(info(type.dtype).short_name, "[", print_dims(type.dims, ',', false), "]");
}

int64_t element_count(const Dims& dims) {
  int64_t count = 1;
  for (int64_t dim : dims) count *= dim;
  return count;
}

Dims row_major_strides(const Dims& dims) {
  Dims strides(dims.size());
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= dims[i];
  }
  return strides;
}

}  // namespace jaxmps::ir
