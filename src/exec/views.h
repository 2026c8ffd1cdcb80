// Which slices of a region may be parts of their operand's memory instead of copies. A part keeps
// the whole alive and in use, so it must not leave the region, and must be dead before the last
// user of the whole, which may overwrite it in place. Built once per region; the region must not
// change while it lives. One thread.
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "ir/module.h"

namespace jaxmps::exec {

class Views {
 public:
  explicit Views(const ir::Region& region);
  // Asked once per op, in their order; a yes is remembered.
  bool may_be_view(const ir::Op& op);
  // Whether the value is such a part, or one of its shapes.
  bool is_part(const ir::Value* value) const { return parts_.count(value) != 0; }

 private:
  static constexpr int64_t kOutside = INT64_MAX;
  // The op's place in the region; that of the op which holds it for ops of nested regions.
  int64_t place(const ir::Op* op) const;
  // The last place where the value or its shapes are used, users through `except` not counted;
  // kOutside if they leave the region or enter a nested one.
  int64_t last_use(const ir::Value* value, const ir::Op* except) const;

  const ir::Region& region_;
  std::unordered_map<const ir::Op*, int64_t> places_;
  std::unordered_set<const ir::Value*> parts_;
};

}  // namespace jaxmps::exec
