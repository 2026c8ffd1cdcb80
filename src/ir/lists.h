// Dictionaries of attributes and lists of numbers, as many files make and search them. Values; any
// thread.
#pragma once

#include <algorithm>

#include "ir/attr.h"

namespace jaxmps::ir {

// Sets or adds the attribute of this name.
void set(AttrDict& dict, std::string_view name, Attr value);
// Attributes from a list in any order.
AttrDict attributes(std::vector<NamedAttr> list);

inline bool contains(const std::vector<int64_t>& list, int64_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace jaxmps::ir
