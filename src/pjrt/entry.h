// The border: bind<f>(api.PJRT_Slot) puts a function of ours, `Status f(PJRT_Slot_Args&)`, behind a
// slot. The wrapper hands f a full-size copy of the caller's struct (fields an older client does
// not know are zero) and copies back no more than the caller has, so that no code behind it can
// read or write out of bounds; and it turns every exception into a PJRT_Error.
#pragma once

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include "pjrt/abi_extensions.h"
#include "pjrt/error.h"

namespace jaxmps::pjrt {

template <typename Args>
struct ArgsInfo;  // slot name; size up to the last field, as clients announce it

// Sizes of pointers are meant where the last field is one.
// NOLINTBEGIN(bugprone-sizeof-expression)
#define PJRT_SLOT(slot, last, ...)                                             \
  template <>                                                                  \
  struct ArgsInfo<PJRT_##slot##_Args> {                                        \
    static constexpr const char* name = "PJRT_" #slot;                         \
    static constexpr size_t size =                                             \
        offsetof(PJRT_##slot##_Args, last) + sizeof(PJRT_##slot##_Args::last); \
  };
// NOLINTEND(bugprone-sizeof-expression)
#define PJRT_VOID_SLOT PJRT_SLOT
#include "pjrt/extension_slots.def"
#include "pjrt/slots.def"
#undef PJRT_VOID_SLOT
#undef PJRT_SLOT

// What a caller must send at least: everything, but for the structs that grew over the years.
template <typename Args>
inline constexpr size_t kMinSize = ArgsInfo<Args>::size;
template <>
inline constexpr size_t kMinSize<PJRT_Client_Create_Args> = offsetof(PJRT_Client_Create_Args,
                                                                     kv_try_get_callback);
template <>
inline constexpr size_t kMinSize<PJRT_Device_MemoryStats_Args> =
    offsetof(PJRT_Device_MemoryStats_Args, peak_bytes_in_use);
template <>
inline constexpr size_t kMinSize<PJRT_Executable_GetCompiledMemoryStats_Args> =
    offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, host_generated_code_size_in_bytes);
template <>
inline constexpr size_t kMinSize<PJRT_Executable_DeserializeAndLoad_Args> =
    offsetof(PJRT_Executable_DeserializeAndLoad_Args, overridden_serialized_compile_options);
template <>
inline constexpr size_t kMinSize<PJRT_Client_CreateViewOfDeviceBuffer_Args> =
    offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, memory);
template <>
inline constexpr size_t kMinSize<PJRT_Client_CreateErrorBuffer_Args> =
    offsetof(PJRT_Client_CreateErrorBuffer_Args, payload);
template <>
inline constexpr size_t kMinSize<PJRT_Device_PoisonExecution_Args> =
    offsetof(PJRT_Device_PoisonExecution_Args, payload);

// The bytes of `args` that exist. Headers up to minor 69 announced PJRT_Plugin_Attributes_Args
// without its last field, which callers nevertheless have and read.
template <typename Args>
size_t usable_size(const Args& args) {
  size_t size = args.struct_size;
  if constexpr (std::is_same_v<Args, PJRT_Plugin_Attributes_Args>) {
    if (size == offsetof(Args, num_attributes)) size = sizeof(Args);
  }
  return std::min(size, sizeof(Args));
}

// A full-size copy of a struct that an argument points to; absent fields are zero.
template <typename Struct>
Struct full_copy(const Struct& given) {
  Struct copy{};
  std::memcpy(&copy, &given, std::min(given.struct_size, sizeof(Struct)));
  return copy;
}

template <typename Args, typename Function>
PJRT_Error* entry(Args* args) noexcept {
  using Info = ArgsInfo<Args>;
  try {
    size_t size = args ? usable_size(*args) : 0;
    if (size < kMinSize<Args>) {
      return new_error(invalid(str(Info::name, ": struct_size is ", size, ", at least ",
                                   kMinSize<Args>, " bytes are needed")));
    }
    Args copy{};
    std::memcpy(&copy, args, size);
    Status status = Function()(copy);
    std::memcpy(args, &copy, size);
    return new_error(std::move(status));
  } catch (...) {
    return error_of_exception(Info::name);
  }
}

// `Function` is a type without state, as that of a lambda is which captures nothing.
template <typename Args, typename Function>
void answer(PJRT_Error* (*&slot)(Args*), Function) {
  slot = entry<Args, Function>;
}

template <auto Function, typename Args>
void bind(PJRT_Error* (*&slot)(Args*)) {
  answer(slot, [](Args& args) -> Status { return Function(args); });
}

// For the slots that need a handle to do anything.
#define REQUIRE(pointer)                                               \
  do {                                                                 \
    if (!(pointer)) return invalid("argument `" #pointer "` is null"); \
  } while (false)

// A slot that only answers, as a row of bind_...(PJRT_Api& api): what it does with its `args`.
#define ANSWER_ANY(table, slot, ...)                                      \
  answer((table).slot, []([[maybe_unused]] slot##_Args& args) -> Status { \
    __VA_ARGS__;                                                          \
    return {};                                                            \
  })
// The same with `it`, the object that `args.object` points to.
#define ANSWER(table, slot, object, ...)                                                  \
  ANSWER_ANY(table, slot, REQUIRE(args.object); [[maybe_unused]] auto& it = *args.object; \
             __VA_ARGS__)

// A list, or a text, as the two fields that a struct of C has for it.
template <typename List, typename Pointer, typename Count>
void give(List& list, Pointer& data, Count& count) {
  data = const_cast<Pointer>(std::data(list));
  count = std::size(list);
}

inline std::string_view view(const char* data, size_t size) {
  return data ? std::string_view(data, size) : std::string_view();
}

// Fills the four out fields of the slots that hand out bytes with a holder and its deleter.
template <typename Handle>
void hand_out(std::string bytes, const char*& data, size_t& size, Handle*& holder,
              void (*&deleter)(Handle*)) {
  auto* kept = new std::string(std::move(bytes));
  data = kept->data();
  size = kept->size();
  holder = reinterpret_cast<Handle*>(kept);
  deleter = [](Handle* given) { delete reinterpret_cast<std::string*>(given); };
}

}  // namespace jaxmps::pjrt
