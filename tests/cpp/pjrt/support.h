// A small C++ client of the function table, for the tests: calls with struct_size filled in, errors
// as values, one client for the whole test program.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pjrt/api.h"
#include "pjrt/entry.h"

namespace jaxmps::pjrt::test {

struct Outcome {
  PJRT_Error_Code code = PJRT_Error_Code_OK;
  std::string text;
  bool ok() const { return code == PJRT_Error_Code_OK; }
};

// Reads and frees an error.
inline Outcome consume(PJRT_Error* error) {
  if (!error) return {};
  PJRT_Error_GetCode_Args code{};
  code.struct_size = ArgsInfo<PJRT_Error_GetCode_Args>::size;
  code.error = error;
  EXPECT_EQ(api()->PJRT_Error_GetCode(&code), nullptr);
  PJRT_Error_Message_Args message{};
  message.struct_size = ArgsInfo<PJRT_Error_Message_Args>::size;
  message.error = error;
  api()->PJRT_Error_Message(&message);
  Outcome out{code.code, std::string(message.message, message.message_size)};
  PJRT_Error_Destroy_Args destroy{};
  destroy.struct_size = ArgsInfo<PJRT_Error_Destroy_Args>::size;
  destroy.error = error;
  api()->PJRT_Error_Destroy(&destroy);
  return out;
}

template <typename Args>
Outcome call(PJRT_Error* (*slot)(Args*), Args& args) {
  args.struct_size = ArgsInfo<Args>::size;
  return consume(slot(&args));
}

template <typename Args>
void must(PJRT_Error* (*slot)(Args*), Args& args) {
  Outcome outcome = call(slot, args);
  ASSERT_TRUE(outcome.ok()) << ArgsInfo<Args>::name << ": " << outcome.text;
}

#define EXPECT_FAILS(outcome, expected_code, part)                                        \
  do {                                                                                    \
    const Outcome failed_ = (outcome);                                                    \
    EXPECT_EQ(failed_.code, PJRT_Error_Code_##expected_code) << failed_.text;             \
    EXPECT_NE(failed_.text.find(part), std::string::npos) << "message: " << failed_.text; \
  } while (false)

// Made at first use, destroyed when the program ends.
inline PJRT_Client* client() {
  struct Owner {
    Owner() {
      PJRT_Client_Create_Args args{};
      must(api()->PJRT_Client_Create, args);
      made = args.client;
    }
    ~Owner() {
      PJRT_Client_Destroy_Args args{};
      args.client = made;
      must(api()->PJRT_Client_Destroy, args);
    }
    PJRT_Client* made = nullptr;
  };
  static Owner owner;
  return owner.made;
}

inline PJRT_Device* device() {
  PJRT_Client_AddressableDevices_Args args{};
  args.client = client();
  must(api()->PJRT_Client_AddressableDevices, args);
  return args.addressable_devices[0];
}

inline PJRT_Memory* memory(int kind = 0) {
  PJRT_Device_AddressableMemories_Args args{};
  args.device = device();
  must(api()->PJRT_Device_AddressableMemories, args);
  return args.memories[kind];
}

inline Outcome await(PJRT_Event* event, bool destroy = true) {
  PJRT_Event_Await_Args args{};
  args.event = event;
  Outcome outcome = call(api()->PJRT_Event_Await, args);
  if (destroy) {
    PJRT_Event_Destroy_Args gone{};
    gone.event = event;
    must(api()->PJRT_Event_Destroy, gone);
  }
  return outcome;
}

// Compiles a portable StableHLO artifact; the caller destroys the executable. `options` is a
// serialized CompileOptionsProto.
inline Outcome compile(std::string code, PJRT_LoadedExecutable** executable = nullptr,
                       const std::string& options = "", const std::string& format = "mlir") {
  PJRT_Program program{};
  program.struct_size = sizeof(program);
  program.code = code.data();
  program.code_size = code.size();
  program.format = format.data();
  program.format_size = format.size();
  PJRT_Client_Compile_Args args{};
  args.client = client();
  args.program = &program;
  args.compile_options = options.data();
  args.compile_options_size = options.size();
  Outcome outcome = call(api()->PJRT_Client_Compile, args);
  if (executable) *executable = args.executable;
  return outcome;
}

// Owns a PJRT_Buffer.
class Handle {
 public:
  Handle() = default;
  explicit Handle(PJRT_Buffer* buffer) : buffer_(buffer) {}
  Handle(Handle&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~Handle() {
    if (!buffer_) return;
    PJRT_Buffer_Destroy_Args args{};
    args.buffer = buffer_;
    must(api()->PJRT_Buffer_Destroy, args);
  }
  PJRT_Buffer* get() const { return buffer_; }

 private:
  PJRT_Buffer* buffer_ = nullptr;
};

template <typename T>
constexpr PJRT_Buffer_Type type_of() {
  if constexpr (std::is_same_v<T, float>) return PJRT_Buffer_Type_F32;
  if constexpr (std::is_same_v<T, int32_t>) return PJRT_Buffer_Type_S32;
  if constexpr (std::is_same_v<T, uint8_t>) return PJRT_Buffer_Type_U8;
  if constexpr (std::is_same_v<T, double>) return PJRT_Buffer_Type_F64;
  return PJRT_Buffer_Type_INVALID;
}

inline PJRT_Client_BufferFromHostBuffer_Args host_args(const void* data, PJRT_Buffer_Type type,
                                                       const std::vector<int64_t>& dims) {
  PJRT_Client_BufferFromHostBuffer_Args args{};
  args.client = client();
  args.data = data;
  args.type = type;
  args.dims = dims.data();
  args.num_dims = dims.size();
  args.memory = memory();
  return args;
}

// A dense buffer, copied during the call.
template <typename T>
Handle upload(const std::vector<T>& data, const std::vector<int64_t>& dims) {
  auto args = host_args(data.data(), type_of<T>(), dims);
  must(api()->PJRT_Client_BufferFromHostBuffer, args);
  if (args.done_with_host_buffer) {
    EXPECT_TRUE(await(args.done_with_host_buffer).ok());
  }
  return Handle(args.buffer);
}

template <typename T>
std::vector<T> download(PJRT_Buffer* buffer, PJRT_Buffer_MemoryLayout* layout = nullptr) {
  PJRT_Buffer_ToHostBuffer_Args args{};
  args.src = buffer;
  args.host_layout = layout;
  must(api()->PJRT_Buffer_ToHostBuffer, args);
  std::vector<T> out(args.dst_size / sizeof(T) + 1);
  args.dst = out.data();
  must(api()->PJRT_Buffer_ToHostBuffer, args);
  Outcome outcome = await(args.event);
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  out.resize(args.dst_size / sizeof(T));
  return out;
}

}  // namespace jaxmps::pjrt::test
