// Decodes source locations, each once and without recursion: chains of call sites are as deep as
// the user's stack, far deeper than other attributes may nest. Not thread-safe.
#pragma once

#include <vector>

#include "bytecode/tables.h"
#include "ir/module.h"

namespace jaxmps::bytecode {

class Locations {
 public:
  // Locations are owned by `module`.
  Locations(Tables& tables, ir::Module& module);

  Result<const ir::Location*> at(size_t index);

 private:
  struct Pending {
    size_t index;
    ir::Location location;
    std::vector<size_t> children;
    size_t next = 0;
  };
  Result<Pending> decode(size_t index);

  Tables& tables_;
  ir::Module& module_;
  std::vector<const ir::Location*> done_;
  std::vector<bool> open_;
};

}  // namespace jaxmps::bytecode
