#include "pjrt/topology.h"

#include <charconv>

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

template <typename T>
bool parse_number(std::string_view text, T& out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
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
      !parse_number(lines[3], facts.num_devices) || facts.num_devices < 1 ||
      facts.num_devices > kMaxDevices) {
    return invalid("serialized topology: not made by this plugin");
  }
  facts.platform_version = lines[1];
  facts.device_kind = lines[2];
  return facts;
}

// ---- topology ----

Status create(PJRT_TopologyDescription_Create_Args& args) {
  TRY(TopologyFacts facts, local_topology(args.create_options, args.num_options));
  args.topology = new PJRT_TopologyDescription(std::move(facts));
  return {};
}

Status destroy(PJRT_TopologyDescription_Destroy_Args& args) {
  delete args.topology;
  return {};
}

Status platform_name(PJRT_TopologyDescription_PlatformName_Args& args) {
  args.platform_name = kPlatformName.data();
  args.platform_name_size = kPlatformName.size();
  return {};
}

Status platform_version(PJRT_TopologyDescription_PlatformVersion_Args& args) {
  REQUIRE(args.topology);
  args.platform_version = args.topology->facts.platform_version.data();
  args.platform_version_size = args.topology->facts.platform_version.size();
  return {};
}

Status device_descriptions(PJRT_TopologyDescription_GetDeviceDescriptions_Args& args) {
  REQUIRE(args.topology);
  args.descriptions = args.topology->pointers.data();
  args.num_descriptions = args.topology->pointers.size();
  return {};
}

Status serialize(PJRT_TopologyDescription_Serialize_Args& args) {
  REQUIRE(args.topology);
  hand_out(args.topology->serialized, args.serialized_bytes, args.serialized_bytes_size,
           args.serialized_topology, args.serialized_topology_deleter);
  return {};
}

Status deserialize(PJRT_TopologyDescription_Deserialize_Args& args) {
  TRY(TopologyFacts facts,
      parse_facts(view(args.serialized_topology, args.serialized_topology_size)));
  args.topology = new PJRT_TopologyDescription(std::move(facts));
  return {};
}

Status attributes(PJRT_TopologyDescription_Attributes_Args& args) {
  REQUIRE(args.topology);
  args.attributes = args.topology->attributes.data();
  args.num_attributes = args.topology->attributes.size();
  return {};
}

Status fingerprint(PJRT_TopologyDescription_Fingerprint_Args& args) {
  REQUIRE(args.topology);
  args.fingerprint = stable_hash(args.topology->serialized);
  return {};
}

Status memory_space_kind_ids(PJRT_TopologyDescription_GetMemorySpaceKindIds_Args& args) {
  static constexpr int ids[kNumMemoryKinds] = {0, 1, 2};
  args.memory_space_kind_ids = ids;
  args.num_memory_space_kind_ids = kNumMemoryKinds;
  return {};
}

// ---- device descriptions ----

Status description_id(PJRT_DeviceDescription_Id_Args& args) {
  REQUIRE(args.device_description);
  args.id = args.device_description->id;
  return {};
}

Status description_process(PJRT_DeviceDescription_ProcessIndex_Args& args) {
  REQUIRE(args.device_description);
  args.process_index = args.device_description->process_index;
  return {};
}

Status description_attributes(PJRT_DeviceDescription_Attributes_Args& args) {
  REQUIRE(args.device_description);
  args.attributes = args.device_description->attributes.data();
  args.num_attributes = args.device_description->attributes.size();
  return {};
}

Status description_kind(PJRT_DeviceDescription_Kind_Args& args) {
  REQUIRE(args.device_description);
  args.device_kind = args.device_description->kind.data();
  args.device_kind_size = args.device_description->kind.size();
  return {};
}

Status description_debug_string(PJRT_DeviceDescription_DebugString_Args& args) {
  REQUIRE(args.device_description);
  args.debug_string = args.device_description->debug_string.data();
  args.debug_string_size = args.device_description->debug_string.size();
  return {};
}

Status description_to_string(PJRT_DeviceDescription_ToString_Args& args) {
  REQUIRE(args.device_description);
  args.to_string = args.device_description->to_string.data();
  args.to_string_size = args.device_description->to_string.size();
  return {};
}

}  // namespace

uint64_t stable_hash(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3u;
  return hash;
}

void bind_topology(PJRT_Api& api) {
  bind<create>(api.PJRT_TopologyDescription_Create);
  bind<destroy>(api.PJRT_TopologyDescription_Destroy);
  bind<platform_name>(api.PJRT_TopologyDescription_PlatformName);
  bind<platform_version>(api.PJRT_TopologyDescription_PlatformVersion);
  bind<device_descriptions>(api.PJRT_TopologyDescription_GetDeviceDescriptions);
  bind<serialize>(api.PJRT_TopologyDescription_Serialize);
  bind<deserialize>(api.PJRT_TopologyDescription_Deserialize);
  bind<attributes>(api.PJRT_TopologyDescription_Attributes);
  bind<fingerprint>(api.PJRT_TopologyDescription_Fingerprint);
  bind<memory_space_kind_ids>(api.PJRT_TopologyDescription_GetMemorySpaceKindIds);
  bind<description_id>(api.PJRT_DeviceDescription_Id);
  bind<description_process>(api.PJRT_DeviceDescription_ProcessIndex);
  bind<description_attributes>(api.PJRT_DeviceDescription_Attributes);
  bind<description_kind>(api.PJRT_DeviceDescription_Kind);
  bind<description_debug_string>(api.PJRT_DeviceDescription_DebugString);
  bind<description_to_string>(api.PJRT_DeviceDescription_ToString);
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
