// Starting threads: one that the system does not grant is an Error. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"

namespace jaxmps {

// Runs `work` on a thread of its own, which nobody joins. It may not throw.
Status start_thread(std::function<void()> work) noexcept;

// The number by which Python knows the calling thread (threading.get_ident).
uint64_t this_thread();

}  // namespace jaxmps
