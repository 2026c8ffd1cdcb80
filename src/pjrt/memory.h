// PJRT_Memory: one memory space of one device. All kinds of a device share one pool: on the CPU and
// on unified memory they are the same bytes, so a kind is a tag. Owned by the client; immutable but
// for the data that clients attach, which is locked. Any thread.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "pjrt/abi.h"

namespace jaxmps::pjrt {

inline constexpr std::string_view kMemoryKinds[] = {"device", "pinned_host", "unpinned_host"};
inline constexpr int kNumMemoryKinds = 3;
inline constexpr int kDeviceMemory = 0;  // index of the default kind, and its kind id

struct Memory : PJRT_Memory {
  Memory(PJRT_Device* device, int32_t device_id, int kind_index);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  PJRT_Device* device;
  int kind_index;  // also the kind id
  int32_t id;      // unique in the client
  std::string to_string;

  struct UserData {
    void* data;
    void (*destructor)(void*);
  };
  std::mutex mutex;
  std::map<const void*, UserData> user_data;
};

inline Memory& memory_of(PJRT_Memory* handle) { return *static_cast<Memory*>(handle); }

}  // namespace jaxmps::pjrt
