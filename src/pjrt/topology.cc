#include "pjrt/topology.h"

#include "base/parse.h"
#include "pjrt/bindings.h"
#include "pjrt/client.h"
#include "pjrt/entry.h"

namespace jaxmps::pjrt {
namespace {

constexpr std::string_view kMagic = "jax-mps topology 1";

std::string serialize_facts(const TopologyFacts& facts) {
  return str(kMagic, "\n", facts.platform_version, "\n", facts.device_kind, "\n", facts.num_devices,
             "\n");
}

Result<TopologyFacts> parse_facts(std::string_view bytes) {
  std::vector<std::string_view> lines;
  while (!bytes.empty()) {
    size_t end = bytes.find('\n');
    if (end == std::string_view::npos) break;
    lines.push_back(bytes.substr(0, end));
    bytes.remove_prefix(end + 1);
  }
  TopologyFacts facts;
  if (lines.size() != 4 || !bytes.empty() || lines[0] != kMagic ||
      !parse_number(lines[3], &facts.num_devices) || facts.num_devices < 1 ||
      facts.num_devices > kMaxDevices) {
    return invalid("serialized topology: not made by this plugin");
  }
  facts.platform_version = lines[1];
  facts.device_kind = lines[2];
  return facts;
}

Status create_topology(PJRT_TopologyDescription_Create_Args& args) {
  TRY(TopologyFacts facts, local_topology(args.create_options, args.num_options));
  args.topology = new PJRT_TopologyDescription(std::move(facts));
  return {};
}

Status deserialize_topology(PJRT_TopologyDescription_Deserialize_Args& args) {
  TRY(TopologyFacts facts,
      parse_facts(view(args.serialized_topology, args.serialized_topology_size)));
  args.topology = new PJRT_TopologyDescription(std::move(facts));
  return {};
}

constexpr int kMemoryKindIds[kNumMemoryKinds] = {0, 1, 2};

}  // namespace

uint64_t stable_hash(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3u;
  return hash;
}

void bind_topology(PJRT_Api& api) {
  bind<create_topology>(api.PJRT_TopologyDescription_Create);
  ANSWER_ANY(api, PJRT_TopologyDescription_Destroy, delete args.topology);
  ANSWER_ANY(api, PJRT_TopologyDescription_PlatformName,
             give(kPlatformName, args.platform_name, args.platform_name_size));
  ANSWER(api, PJRT_TopologyDescription_PlatformVersion, topology,
         give(it.facts.platform_version, args.platform_version, args.platform_version_size));
  ANSWER(api, PJRT_TopologyDescription_GetDeviceDescriptions, topology,
         give(it.pointers, args.descriptions, args.num_descriptions));
  ANSWER(api, PJRT_TopologyDescription_Serialize, topology,
         hand_out(it.serialized, args.serialized_bytes, args.serialized_bytes_size,
                  args.serialized_topology, args.serialized_topology_deleter));
  bind<deserialize_topology>(api.PJRT_TopologyDescription_Deserialize);
  ANSWER(api, PJRT_TopologyDescription_Attributes, topology,
         give(it.attributes, args.attributes, args.num_attributes));
  ANSWER(api, PJRT_TopologyDescription_Fingerprint, topology,
         args.fingerprint = stable_hash(it.serialized));
  ANSWER_ANY(api, PJRT_TopologyDescription_GetMemorySpaceKindIds,
             give(kMemoryKindIds, args.memory_space_kind_ids, args.num_memory_space_kind_ids));
  ANSWER(api, PJRT_DeviceDescription_Id, device_description, args.id = it.id);
  ANSWER(api, PJRT_DeviceDescription_ProcessIndex, device_description,
         args.process_index = it.process_index);
  ANSWER(api, PJRT_DeviceDescription_Attributes, device_description,
         give(it.attributes, args.attributes, args.num_attributes));
  ANSWER(api, PJRT_DeviceDescription_Kind, device_description,
         give(it.kind, args.device_kind, args.device_kind_size));
  ANSWER(api, PJRT_DeviceDescription_DebugString, device_description,
         give(it.debug_string, args.debug_string, args.debug_string_size));
  ANSWER(api, PJRT_DeviceDescription_ToString, device_description,
         give(it.to_string, args.to_string, args.to_string_size));
}

}  // namespace jaxmps::pjrt

using jaxmps::str;

PJRT_DeviceDescription::PJRT_DeviceDescription(int32_t number, int32_t process, std::string name)
    : id(number),
      process_index(process),
      kind(std::move(name)),
      debug_string(str("MPS_", number, "(process=", process, ")")),
      to_string(str("MpsDevice(id=", number, ")")) {}

PJRT_TopologyDescription::PJRT_TopologyDescription(jaxmps::pjrt::TopologyFacts given)
    : facts(std::move(given)), serialized(jaxmps::pjrt::serialize_facts(facts)) {
  for (int32_t id = 0; id < facts.num_devices; ++id) {
    pointers.push_back(
        descriptions
            .emplace_back(std::make_unique<PJRT_DeviceDescription>(id, 0, facts.device_kind))
            .get());
  }
  attributes.add("num_devices", static_cast<int64_t>(facts.num_devices));
}
