// A list of PJRT_NamedValue that owns its names and values. Filled once, then read only.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "pjrt/abi.h"

namespace jaxmps::pjrt {

class Attributes {
 public:
  Attributes() = default;
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;

  void add(std::string_view name, std::string_view value);
  void add(std::string_view name, int64_t value);
  void add(std::string_view name, std::vector<int64_t> value);
  void add(std::string_view name, float value);
  void add(std::string_view name, bool value);
  void add(std::string_view name, const char* value) { add(name, std::string_view(value)); }

  const PJRT_NamedValue* data() const { return values_.data(); }
  size_t size() const { return values_.size(); }

 private:
  PJRT_NamedValue& append(std::string_view name, PJRT_NamedValue_Type type, size_t size);

  std::vector<PJRT_NamedValue> values_;
  std::deque<std::string> strings_;  // deques keep their elements in place
  std::deque<std::vector<int64_t>> lists_;
};

}  // namespace jaxmps::pjrt
