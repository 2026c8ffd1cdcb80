// Which slices of a region may be parts of their operand's memory instead of copies. A part keeps
// the whole alive and in use, so it must not leave the region, and must be dead before the last
// user of the whole, which may overwrite it in place. Built once per region; the region must not
// change while it lives. One thread.
#pragma once

#include <unordered_set>

#include "ir/lifetimes.h"

namespace jaxmps::exec {

class Views {
 public:
  explicit Views(const ir::Region& region);
  // Asked once per op, in their order; a yes is remembered.
  bool may_be_view(const ir::Op& op);
  // Whether the value is such a part, or one of its shapes.
  bool is_part(const ir::Value* value) const { return parts_.count(whole_of(value)) != 0; }

 private:
  // What has been given other shapes before it was this value.
  const ir::Value* whole_of(const ir::Value* value) const;
  // Whether the value or one of its shapes leaves the region or enters a nested one.
  bool leaves(const ir::Value* value) const;

  const ir::Region& region_;
  const ir::Lifetimes lifetimes_;
  std::unordered_set<const ir::Value*> parts_, leaving_shapes_;
};

}  // namespace jaxmps::exec
