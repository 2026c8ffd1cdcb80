// PJRT_TopologyDescription and PJRT_DeviceDescription: what the devices are, without a client.
// A topology owns its descriptions; a client owns its topology, and clients of the interface may
// create and own others. Immutable after construction, so any thread may read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "pjrt/abi.h"
#include "pjrt/attributes.h"

struct PJRT_DeviceDescription {
  PJRT_DeviceDescription(int32_t id, int32_t process_index, std::string kind);

  int32_t id;
  int32_t process_index;
  std::string kind;
  std::string debug_string;
  std::string to_string;
  jaxmps::pjrt::Attributes attributes;
};

namespace jaxmps::pjrt {

inline constexpr std::string_view kPlatformName = "mps";

// The facts that a topology is made of; equal facts make equal serialised forms.
struct TopologyFacts {
  std::string platform_version;
  std::string device_kind;
  int32_t num_devices = 1;
};

}  // namespace jaxmps::pjrt

struct PJRT_TopologyDescription {
  explicit PJRT_TopologyDescription(jaxmps::pjrt::TopologyFacts facts);

  jaxmps::pjrt::TopologyFacts facts;
  std::string serialized;  // the same in every process: it is part of compilation cache keys
  std::vector<std::unique_ptr<PJRT_DeviceDescription>> descriptions;
  std::vector<PJRT_DeviceDescription*> pointers;
  jaxmps::pjrt::Attributes attributes;
};

namespace jaxmps::pjrt {

// A hash that is the same on every machine and in every run (FNV-1a, 64 bit).
uint64_t stable_hash(std::string_view bytes);

}  // namespace jaxmps::pjrt
