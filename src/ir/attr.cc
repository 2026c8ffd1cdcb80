#include "ir/attr.h"

#include <algorithm>
#include <cstring>

#include "ir/float_format.h"
#include "ir/lists.h"

namespace jaxmps::ir {
namespace {

template <typename T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

Dense Dense::copy(Type type, std::span<const uint8_t> bytes, bool splat) {
  auto storage = std::make_shared<std::vector<uint8_t>>(bytes.begin(), bytes.end());
  Dense dense;
  dense.type = std::move(type);
  dense.splat = splat;
  dense.data = storage->data();
  dense.owner = std::move(storage);
  return dense;
}

int64_t Dense::int_at(int64_t index) const {
  const uint8_t* at = data + (splat ? 0 : index) * byte_size(type.dtype);
  switch (type.dtype) {
    case DType::pred:
    case DType::u2:
    case DType::u4:
    case DType::u8:
      return *at;
    case DType::s2:
    case DType::s4:
    case DType::s8:
      return static_cast<int8_t>(*at);
    case DType::s16:
      return load<int16_t>(at);
    case DType::u16:
      return load<uint16_t>(at);
    case DType::s32:
      return load<int32_t>(at);
    case DType::u32:
      return load<uint32_t>(at);
    case DType::s64:
    case DType::u64:
    case DType::index:
      return load<int64_t>(at);
    default:
      return static_cast<int64_t>(float_at(index));
  }
}

double Dense::float_at(int64_t index) const {
  const uint8_t* at = data + (splat ? 0 : index) * byte_size(type.dtype);
  switch (type.dtype) {
    case DType::f64:
    case DType::c128:
      return load<double>(at);
    case DType::f32:
    case DType::c64:
      return load<float>(at);
    case DType::f16:
    case DType::bf16:
      return decode_float(load<uint16_t>(at), float_format(type.dtype));
    case DType::u64:
      return static_cast<double>(load<uint64_t>(at));
    default:
      break;
  }
  if (is_small_float(type.dtype)) return decode_float(*at, float_format(type.dtype));
  return static_cast<double>(int_at(index));
}

bool Dense::operator==(const Dense& other) const {
  if (!(type == other.type)) return false;
  if (splat != other.splat && type.size() != 1) return false;
  const auto mine = bytes(), theirs = other.bytes();
  return data == other.data || std::equal(mine.begin(), mine.end(), theirs.begin(), theirs.end());
}

Attr::Attr() = default;
Attr::~Attr() = default;
Attr::Attr(const Attr&) = default;
Attr::Attr(Attr&&) noexcept = default;
Attr& Attr::operator=(const Attr&) = default;
Attr& Attr::operator=(Attr&&) noexcept = default;
Attr::Attr(Value v) : value(std::move(v)) {}
Attr::Attr(int64_t v) : value(TypedInt{DType::s64, v}) {}
Attr::Attr(double v) : value(TypedFloat{DType::f64, v}) {}
Attr::Attr(Ints v) : value(std::move(v)) {}
Attr::Attr(std::string v) : value(std::move(v)) {}
Attr::Attr(Dense v) : value(std::move(v)) {}
Attr::Attr(Type v) : value(std::move(v)) {}
Attr::Attr(Symbol v) : value(std::move(v)) {}
Attr::Attr(Enum v) : value(v) {}

bool Attr::operator==(const Attr& other) const { return value == other.value; }

const Attr* find(const AttrDict& dict, std::string_view name) {
  for (const NamedAttr& entry : dict) {
    if (entry.name == name) return &entry.value;
  }
  return nullptr;
}

void set(AttrDict& dict, std::string_view name, Attr value) {
  auto at = std::lower_bound(dict.begin(), dict.end(), name,
                             [](const NamedAttr& a, std::string_view n) { return a.name < n; });
  if (at != dict.end() && at->name == name) {
    at->value = std::move(value);
  } else {
    dict.insert(at, NamedAttr{std::string(name), std::move(value)});
  }
}

AttrDict attributes(std::vector<NamedAttr> list) {
  std::sort(list.begin(), list.end(),
            [](const NamedAttr& a, const NamedAttr& b) { return a.name < b.name; });
  return list;
}

}  // namespace jaxmps::ir
