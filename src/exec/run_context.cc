#include "exec/run_context.h"

#include <new>
#include <utility>

namespace jaxmps::exec {
namespace {

thread_local RunContext* innermost = nullptr;

}  // namespace

RunContext::RunContext(Encoder& to) : encoder(to), outer_(std::exchange(innermost, this)) {}
RunContext::~RunContext() { innermost = outer_; }
RunContext* RunContext::current() { return innermost; }

Error RunContext::locate(Error error, std::string_view program) const noexcept {
  try {
    // Whoever stopped it is not to be found in the program.
    if (op && error.code != Code::cancelled) {
      const std::string place =
          str(program, ": ", ir::brief(*op), " at ", ir::brief(op->location), ": ");
      error.text.insert(0, place);
      return error;
    }
    return std::move(error).in(program);
  } catch (const std::bad_alloc&) {
    return error;
  }
}

}  // namespace jaxmps::exec
