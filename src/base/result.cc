#include "base/result.h"

#include <cstdio>

namespace jaxmps {

Error::Error(Code c, std::string t) : code(c), text(std::move(t)) {}
Error::~Error() = default;
Error::Error(const Error&) = default;
Error::Error(Error&&) noexcept = default;
Error& Error::operator=(const Error&) = default;
Error& Error::operator=(Error&&) noexcept = default;

Error&& Error::in(std::string_view where) && {
  text.insert(0, ": ");
  text.insert(0, where);
  return std::move(*this);
}

Error invalid(std::string text) { return Error(Code::invalid_argument, std::move(text)); }
Error unimplemented(std::string text) { return Error(Code::unimplemented, std::move(text)); }
Error internal(std::string text) { return Error(Code::internal, std::move(text)); }

namespace detail {

void append(std::string& out, std::string_view part) { out.append(part); }
void append(std::string& out, bool part) { out += part ? "true" : "false"; }
void append(std::string& out, char part) { out += part; }
void append(std::string& out, int64_t part) { out += std::to_string(part); }
void append(std::string& out, uint64_t part) { out += std::to_string(part); }

void append(std::string& out, double part) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", part);
  out += text;
}

}  // namespace detail
}  // namespace jaxmps
