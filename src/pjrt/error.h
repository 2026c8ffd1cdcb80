// PJRT_Error: an Error of ours behind the two doors a client may use, the slots and the vtable.
// The client owns what it is handed and frees it with PJRT_Error_Destroy. Thread-compatible.
#pragma once

#include <string_view>

#include "base/result.h"
#include "pjrt/abi.h"

namespace jaxmps::pjrt {

// Never null and never throws: without memory it is a fixed RESOURCE_EXHAUSTED error.
PJRT_Error* new_error(Error error) noexcept;
// The error for the exception in flight; call inside a catch block only.
PJRT_Error* error_of_exception(const char* slot) noexcept;
// Null for success.
inline PJRT_Error* new_error(Status status) noexcept {
  return status.ok() ? nullptr : new_error(std::move(status).error());
}
// An error that a client describes by code and message. Code OK becomes UNKNOWN.
Error client_error(PJRT_Error_Code code, const char* message, size_t message_size);

}  // namespace jaxmps::pjrt
