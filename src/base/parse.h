// Numbers out of text. No state; any thread.
#pragma once

#include <charconv>
#include <string_view>

namespace jaxmps {

// Whether the whole text is a number of this type, as which it is stored.
template <typename T>
bool parse_number(std::string_view text, T* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace jaxmps
