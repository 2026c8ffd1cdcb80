#include "base/thread.h"

#include <pthread.h>

#include <system_error>
#include <thread>

namespace jaxmps {

Status start_thread(std::function<void()> work) noexcept {
  try {
    std::thread(std::move(work)).detach();
    return {};
  } catch (const std::system_error&) {
  } catch (const std::bad_alloc&) {
  }
  return Error(Code::resource_exhausted, "no new thread");
}

// NOLINTNEXTLINE(google-readability-casting): a number or a pointer, depending on the system
uint64_t this_thread() { return (uint64_t)pthread_self(); }

}  // namespace jaxmps
