#include <set>

#include "pjrt/proto.h"
#include "pjrt/support.h"

namespace jaxmps::pjrt::test {
namespace {

PJRT_NamedValue option(const std::string& name, int64_t value) {
  PJRT_NamedValue out{};
  out.struct_size = sizeof(out);
  out.name = name.data();
  out.name_size = name.size();
  out.type = PJRT_NamedValue_kInt64;
  out.int64_value = value;
  out.value_size = 1;
  return out;
}

TEST(PjrtClient, OptionsAreChecked) {
  const std::string nodes = "num_nodes", other = "something_else";
  PJRT_NamedValue values[] = {option(nodes, 2), option(other, 1)};
  PJRT_Client_Create_Args args{};
  args.create_options = values;
  args.num_options = 2;
  EXPECT_FAILS(call(api()->PJRT_Client_Create, args), UNIMPLEMENTED,
               "client option `num_nodes` is 2; this plugin runs in one process");
  values[0].type = PJRT_NamedValue_kString;
  values[0].string_value = "1x";
  values[0].value_size = 2;
  EXPECT_FAILS(call(api()->PJRT_Client_Create, args), INVALID_ARGUMENT,
               "client option `num_nodes` must be an integer");
  values[0].value_size = 1;  // "1"
  must(api()->PJRT_Client_Create, args);
  PJRT_Client_Destroy_Args destroy{};
  destroy.client = args.client;
  must(api()->PJRT_Client_Destroy, destroy);
}

TEST(PjrtClient, DescribesItself) {
  PJRT_Client_PlatformName_Args name{};
  name.client = client();
  must(api()->PJRT_Client_PlatformName, name);
  EXPECT_EQ(std::string(name.platform_name, name.platform_name_size), "mps");
  PJRT_Client_PlatformVersion_Args version{};
  version.client = client();
  must(api()->PJRT_Client_PlatformVersion, version);
  EXPECT_EQ(std::string(version.platform_version, version.platform_version_size),
            "jax-mps " JAXMPS_VERSION ", MLX " JAXMPS_MLX_VERSION);
}

TEST(PjrtClient, DevicesAndMemoriesReferToEachOther) {
  PJRT_Client_Devices_Args devices{};
  devices.client = client();
  must(api()->PJRT_Client_Devices, devices);
  ASSERT_GE(devices.num_devices, 1u);
  std::set<int> memory_ids;
  for (size_t i = 0; i < devices.num_devices; ++i) {
    PJRT_Client_LookupDevice_Args lookup{};
    lookup.client = client();
    lookup.id = static_cast<int>(i);
    must(api()->PJRT_Client_LookupDevice, lookup);
    EXPECT_EQ(lookup.device, devices.devices[i]);
    PJRT_Device_AddressableMemories_Args memories{};
    memories.device = lookup.device;
    must(api()->PJRT_Device_AddressableMemories, memories);
    ASSERT_EQ(memories.num_memories, 3u);
    for (size_t k = 0; k < 3; ++k) {
      PJRT_Memory_Id_Args id{};
      id.memory = memories.memories[k];
      must(api()->PJRT_Memory_Id, id);
      EXPECT_TRUE(memory_ids.insert(id.id).second);
      PJRT_Memory_AddressableByDevices_Args by{};
      by.memory = memories.memories[k];
      must(api()->PJRT_Memory_AddressableByDevices, by);
      ASSERT_EQ(by.num_devices, 1u);
      EXPECT_EQ(by.devices[0], lookup.device);
    }
  }
  PJRT_Client_LookupDevice_Args missing{};
  missing.client = client();
  missing.id = 4711;
  EXPECT_FAILS(call(api()->PJRT_Client_LookupDevice, missing), INVALID_ARGUMENT,
               "there is no device 4711; this client has ");
  PJRT_Client_LookupAddressableDevice_Args local{};
  local.client = client();
  local.local_hardware_id = 99;
  EXPECT_FAILS(call(api()->PJRT_Client_LookupAddressableDevice, local), INVALID_ARGUMENT,
               "there is no device with local hardware id 99");
}

TEST(PjrtClient, DefaultAssignment) {
  int ids[2] = {-1, -1};
  PJRT_Client_DefaultDeviceAssignment_Args args{};
  args.client = client();
  args.num_replicas = args.num_partitions = 1;
  args.default_assignment = ids;
  args.default_assignment_size = 2;
  must(api()->PJRT_Client_DefaultDeviceAssignment, args);
  EXPECT_EQ(ids[0], 0);
  EXPECT_EQ(ids[1], -1);
  args.num_replicas = 100000;
  args.num_partitions = 100000;
  EXPECT_FAILS(call(api()->PJRT_Client_DefaultDeviceAssignment, args), INVALID_ARGUMENT,
               "a device assignment of 100000 replicas by 100000 partitions does not fit ");
  args.num_replicas = args.num_partitions = 1;
  args.default_assignment_size = 0;
  EXPECT_FAILS(call(api()->PJRT_Client_DefaultDeviceAssignment, args), INVALID_ARGUMENT,
               "default_assignment has room for 0 of 1 ids");
}

TEST(PjrtMemory, UserDataDiesWithTheMemory) {
  PJRT_Client_Create_Args create{};
  must(api()->PJRT_Client_Create, create);
  PJRT_Client_AddressableMemories_Args memories{};
  memories.client = create.client;
  must(api()->PJRT_Client_AddressableMemories, memories);
  PJRT_Memory* memory = memories.addressable_memories[0];
  static int destroyed;
  destroyed = 0;
  auto destructor = [](void* data) { destroyed += *static_cast<int*>(data); };
  int one = 1, ten = 10, hundred = 100;
  char key_a, key_b;
  EXPECT_EQ(memory->vtable->get_user_data(memory, &key_a), nullptr);
  memory->vtable->set_user_data(memory, &key_a, &one, destructor);
  memory->vtable->set_user_data(memory, &key_b, &ten, destructor);
  EXPECT_EQ(memory->vtable->get_user_data(memory, &key_a), &one);
  EXPECT_EQ(memory->vtable->get_user_data(memory, &key_b), &ten);
  memory->vtable->set_user_data(memory, &key_a, &hundred, destructor);
  EXPECT_EQ(destroyed, 1);
  PJRT_Client_Destroy_Args destroy{};
  destroy.client = create.client;
  must(api()->PJRT_Client_Destroy, destroy);
  EXPECT_EQ(destroyed, 111);
}

TEST(PjrtTopology, SurvivesSerialisation) {
  PJRT_TopologyDescription_Create_Args create{};
  must(api()->PJRT_TopologyDescription_Create, create);
  PJRT_Client_TopologyDescription_Args own{};
  own.client = client();
  must(api()->PJRT_Client_TopologyDescription, own);
  PJRT_TopologyDescription_Serialize_Args bytes{};
  bytes.topology = create.topology;
  must(api()->PJRT_TopologyDescription_Serialize, bytes);
  PJRT_TopologyDescription_Deserialize_Args back{};
  back.serialized_topology = bytes.serialized_bytes;
  back.serialized_topology_size = bytes.serialized_bytes_size;
  must(api()->PJRT_TopologyDescription_Deserialize, back);
  uint64_t fingerprints[3];
  PJRT_TopologyDescription* all[] = {create.topology, own.topology, back.topology};
  for (int i = 0; i < 3; ++i) {
    PJRT_TopologyDescription_Fingerprint_Args args{};
    args.topology = all[i];
    must(api()->PJRT_TopologyDescription_Fingerprint, args);
    fingerprints[i] = args.fingerprint;
  }
  EXPECT_EQ(fingerprints[0], fingerprints[1]);
  EXPECT_EQ(fingerprints[0], fingerprints[2]);
  for (size_t cut = 0; cut < bytes.serialized_bytes_size; ++cut) {
    back.serialized_topology_size = cut;
    EXPECT_FAILS(call(api()->PJRT_TopologyDescription_Deserialize, back), INVALID_ARGUMENT,
                 "serialized topology: not made by this plugin");
  }
  bytes.serialized_topology_deleter(bytes.serialized_topology);
  for (int i : {0, 2}) {
    PJRT_TopologyDescription_Destroy_Args destroy{};
    destroy.topology = all[i];
    must(api()->PJRT_TopologyDescription_Destroy, destroy);
  }
}

TEST(PjrtClient, ProgramsThatAreNoArtifactsAreRefused) {
  EXPECT_FAILS(compile("module { }"), INVALID_ARGUMENT, "no portable StableHLO artifact");
  EXPECT_FAILS(compile(""), INVALID_ARGUMENT, "the program is empty");
  EXPECT_FAILS(compile("", nullptr, "", "hlo_"), UNIMPLEMENTED,
               "programs of format `hlo_`; the format must be `mlir`");
  EXPECT_FAILS(compile("", nullptr, "\x1a\x04\x20\x02\x28\x04"), UNIMPLEMENTED,
               "the program is for 8 devices (2 replicas, 4 partitions); programs for more than "
               "one device are not supported");
  EXPECT_FAILS(compile("ML\xefR", nullptr, "\x1a\x02\x08\x63"), INVALID_ARGUMENT,
               "the program is for device 99; this client has ");
}

TEST(PjrtClient, ForeignExecutablesAreRefused) {
  PJRT_Executable_DeserializeAndLoad_Args args{};
  args.client = client();
  const std::string bytes = "something else";
  args.serialized_executable = bytes.data();
  args.serialized_executable_size = bytes.size();
  EXPECT_FAILS(call(api()->PJRT_Executable_DeserializeAndLoad, args), INVALID_ARGUMENT,
               "serialized executable: not made by this plugin");
  const std::string old = "jax-mps executable 1\n\x0a\x03old";
  args.serialized_executable = old.data();
  args.serialized_executable_size = old.size();
  EXPECT_FAILS(call(api()->PJRT_Executable_DeserializeAndLoad, args), FAILED_PRECONDITION,
               "serialized executable: made by old, this is ");
  const auto says = [&](ProtoWriter& fields, std::string_view text) {
    const std::string blob = "jax-mps executable 1\n" + fields.take();
    args.serialized_executable = blob.data();
    args.serialized_executable_size = blob.size();
    EXPECT_FAILS(call(api()->PJRT_Executable_DeserializeAndLoad, args), INVALID_ARGUMENT, text);
  };
  ProtoWriter unknown, changed;
  unknown.number(9, 1);
  says(unknown, "serialized executable: unknown field 9");
  changed.bytes(1, "jax-mps " JAXMPS_VERSION ", MLX " JAXMPS_MLX_VERSION);
  changed.bytes(2, "another program");
  says(changed, "serialized executable: the checksum of the program does not fit");
}

}  // namespace
}  // namespace jaxmps::pjrt::test
