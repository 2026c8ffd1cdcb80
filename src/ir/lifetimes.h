// When the values of a region are read last. Ops are numbered by their places in the region; what
// ops of nested regions read is read at the place of the op that holds them. A snapshot: the region
// must not change while it is asked. One thread.
#pragma once

#include <unordered_map>

#include "ir/module.h"

namespace jaxmps::ir {

class Lifetimes {
 public:
  static constexpr int kNever = -1;

  Lifetimes() = default;
  // Results of ops that are `views` may lie in the memory of their first operand: reading them is
  // reading that.
  explicit Lifetimes(const Region& region, bool (*views)(const Op& op) = nullptr);

  // kNever for ops that are not of the region or of those nested in it.
  int place(const Op* op) const;
  // The last place where the value is read, the terminator's among them; kNever if it is not.
  int last_use(const Value* value) const;

 private:
  void read_all(const Op& op, int place);

  const Region* region_ = nullptr;
  std::unordered_map<const Op*, int> places_;
  std::unordered_map<const Value*, int> last_;
};

}  // namespace jaxmps::ir
