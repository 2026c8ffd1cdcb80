// What goes with one run of a program, through all its nested plans. It lives on the stack of the
// thread that runs the program.
#pragma once

#include <string_view>

#include "exec/encoder.h"
#include "ir/module.h"

namespace jaxmps::exec {

struct Step;

// Told of every step of a run, by the thread that runs it. The steps of a loop or a branch come
// between its begin and its end, each time that they run. What is sent to a GPU begins and ends
// when it is sent. A step that fails has no end.
class Profiler {
 public:
  virtual ~Profiler() = default;
  virtual void begin(const Step& step) = 0;
  virtual void end(const Step& step) = 0;
};

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
  // Null, as a rule: each plan asks once.
  Profiler* profiler = nullptr;
  // Where the run is: the innermost op. Null while it waits for what was sent, because MLX does not
  // tell what of that has failed.
  const ir::Op* op = nullptr;

 private:
  RunContext* const outer_;
};

}  // namespace jaxmps::exec
