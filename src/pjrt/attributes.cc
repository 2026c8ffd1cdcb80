#include "pjrt/attributes.h"

namespace jaxmps::pjrt {

PJRT_NamedValue& Attributes::append(std::string_view name, PJRT_NamedValue_Type type, size_t size) {
  const std::string& kept = strings_.emplace_back(name);
  PJRT_NamedValue value{};
  value.struct_size = sizeof(value);
  value.name = kept.data();
  value.name_size = kept.size();
  value.type = type;
  value.value_size = size;
  return values_.emplace_back(value);
}

void Attributes::add(std::string_view name, std::string_view value) {
  const std::string& kept = strings_.emplace_back(value);
  append(name, PJRT_NamedValue_kString, kept.size()).string_value = kept.data();
}

void Attributes::add(std::string_view name, int64_t value) {
  append(name, PJRT_NamedValue_kInt64, 1).int64_value = value;
}

void Attributes::add(std::string_view name, std::vector<int64_t> value) {
  const auto& kept = lists_.emplace_back(std::move(value));
  append(name, PJRT_NamedValue_kInt64List, kept.size()).int64_array_value = kept.data();
}

void Attributes::add(std::string_view name, float value) {
  append(name, PJRT_NamedValue_kFloat, 1).float_value = value;
}

void Attributes::add(std::string_view name, bool value) {
  append(name, PJRT_NamedValue_kBool, 1).bool_value = value;
}

}  // namespace jaxmps::pjrt
