#include "pjrt/error.h"

#include <exception>
#include <new>

#include "pjrt/bindings.h"
#include "pjrt/entry.h"

namespace jaxmps::pjrt {
namespace {

struct OwnedError : PJRT_Error {
  explicit OwnedError(Error e) : error(std::move(e)) {}
  Error error;
};

// Handed out when there is no memory left to make an error; never freed.
struct OutOfMemory : PJRT_Error {
  static constexpr std::string_view text = "out of host memory";
};
OutOfMemory out_of_memory;

bool is_fixed(const PJRT_Error* error) { return error == &out_of_memory; }

void destroy(PJRT_Error* error) {
  if (error && !is_fixed(error)) delete static_cast<OwnedError*>(error);
}

std::string_view text_of(const PJRT_Error* error) {
  if (!error) return {};
  return is_fixed(error) ? OutOfMemory::text : static_cast<const OwnedError*>(error)->error.text;
}

PJRT_Error_Code code_of(const PJRT_Error* error) {
  if (!error) return PJRT_Error_Code_OK;
  if (is_fixed(error)) return PJRT_Error_Code_RESOURCE_EXHAUSTED;
  return static_cast<PJRT_Error_Code>(static_cast<const OwnedError*>(error)->error.code);
}

void message(const PJRT_Error* error, const char** data, size_t* size) {
  *data = text_of(error).data();
  *size = text_of(error).size();
}

// Our errors carry no payloads.
void for_each_payload(const PJRT_Error*, PJRT_Error_PayloadVisitor, void*) {}

const PJRT_Error_FunctionTable kErrorTable = {
    .struct_size = sizeof(PJRT_Error_FunctionTable),
    .instance_size = sizeof(PJRT_Error),
    .extension_start = nullptr,
    .destroy = destroy,
    .message = message,
    .get_code = code_of,
    .for_each_payload = for_each_payload,
};

PJRT_Error* fixed_error() {
  out_of_memory.vtable = &kErrorTable;
  return &out_of_memory;
}

// These four must succeed whatever they are given: clients abort or recurse when they do not.
void error_destroy(PJRT_Error_Destroy_Args* args) { destroy(args->error); }

void error_message(PJRT_Error_Message_Args* args) {
  message(args->error, &args->message, &args->message_size);
}

PJRT_Error* error_code(PJRT_Error_GetCode_Args* args) {
  args->code = code_of(args->error);
  return nullptr;
}

PJRT_Error* error_payloads(PJRT_Error_ForEachPayload_Args*) { return nullptr; }

}  // namespace

PJRT_Error* new_error(Error error) noexcept {
  try {
    auto* made = new OwnedError(std::move(error));
    made->vtable = &kErrorTable;
    return made;
  } catch (...) {
    return fixed_error();
  }
}

PJRT_Error* error_of_exception(const char* slot) noexcept {
  try {
    try {
      throw;
    } catch (const std::bad_alloc&) {
      return new_error(Error(Code::resource_exhausted, str(slot, ": out of host memory")));
    } catch (const std::exception& e) {
      return new_error(internal(str(slot, ": ", e.what())));
    } catch (...) {
      return new_error(internal(str(slot, ": an exception of unknown type")));
    }
  } catch (...) {
    return fixed_error();
  }
}

Error client_error(PJRT_Error_Code code, const char* text, size_t size) {
  bool known = code > PJRT_Error_Code_OK && code <= PJRT_Error_Code_UNAUTHENTICATED;
  return Error(known ? static_cast<Code>(code) : Code::unknown,
               text ? std::string(text, size) : std::string());
}

void bind_error(PJRT_Api& api) {
  api.PJRT_Error_Destroy = error_destroy;
  api.PJRT_Error_Message = error_message;
  api.PJRT_Error_GetCode = error_code;
  api.PJRT_Error_ForEachPayload = error_payloads;
}

}  // namespace jaxmps::pjrt
