// PJRT_Event: a handle to a completion. Clients destroy the handle right after registering a
// callback, so it holds no more than a share of the state. Thread-safe.
#pragma once

#include "base/event.h"
#include "pjrt/abi.h"

struct PJRT_Event {
  jaxmps::Event event;
};

namespace jaxmps::pjrt {

inline PJRT_Event* new_event(Event event) { return new PJRT_Event{std::move(event)}; }

}  // namespace jaxmps::pjrt
