#include "base/stop.h"

#include "base/result.h"

namespace jaxmps {
namespace {
thread_local const std::atomic<bool>* current = nullptr;
}  // namespace

std::atomic<uint32_t> stop_epoch{0};

StopScope::StopScope(const std::atomic<bool>& flag) : outer_(current) { current = &flag; }
StopScope::~StopScope() { current = outer_; }

void check_stopped() {
  if (!current || !current->load(std::memory_order_relaxed)) return;
  throw Failure{Error(Code::cancelled,
                      "the program was stopped by an interrupt (Ctrl-C) before it had ended, so "
                      "this was not computed; run it again")};
}

}  // namespace jaxmps
