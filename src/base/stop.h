// Stopping executions. Whoever runs one makes its flag the thread's current one; loops and steps
// ask now and then whether it has been set, by any thread, and then end by an exception.
#pragma once

#include <atomic>
#include <cstdint>

namespace jaxmps {

// While it lives, `flag` is what check_stopped() on this thread looks at. Nests.
class StopScope {
 public:
  explicit StopScope(const std::atomic<bool>& flag);
  ~StopScope();
  StopScope(const StopScope&) = delete;

 private:
  const std::atomic<bool>* outer_;
};

// Throws Failure with code `cancelled` if the current flag is set.
void check_stopped();

// Changes whenever a flag is set, for loops too short to look at their own.
extern std::atomic<uint32_t> stop_epoch;

}  // namespace jaxmps
