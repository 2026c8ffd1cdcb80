#include "base/result.h"

#include <cstdio>

namespace jaxmps::detail {

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

}  // namespace jaxmps::detail
