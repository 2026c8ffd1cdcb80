// What goes with one run of a program, through all its nested plans. It lives on the stack of the
// thread that runs the program.
#pragma once

#include <string_view>

#include "exec/encoder.h"
#include "ir/module.h"

namespace jaxmps::exec {

class RunContext {
 public:
  explicit RunContext(Encoder& encoder);
  ~RunContext();
  RunContext(const RunContext&) = delete;

  // That of the program which the calling thread runs; a callback may run another one inside.
  static RunContext* current();

  // The error of this place as refusals have it: the program, the op and the user's line, as far as
  // they are known. Where there is no memory for that, the error as it is.
  Error locate(Error error, std::string_view program) const noexcept;

  Encoder& encoder;
  // Where the run is: the innermost op. Null while it waits for what was sent, because MLX does not
  // tell what of that has failed.
  const ir::Op* op = nullptr;

 private:
  RunContext* const outer_;
};

}  // namespace jaxmps::exec
