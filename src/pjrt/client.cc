#include "pjrt/client.h"

#include "base/event.h"
#include "base/interpreter.h"
#include "base/log.h"
#include "base/parse.h"
#include "exec/device.h"
#include "exec/interrupt.h"
#include "exec/program.h"
#include "kernels/cpu/blas.h"
#include "kernels/cpu/threads.h"
#include "kernels/llvm/compiler.h"
#include "ops/python_callback.h"
#include "pjrt/bindings.h"
#include "pjrt/entry.h"

#ifndef JAXMPS_VERSION
#error "JAXMPS_VERSION is not defined"
#endif

PJRT_Client::PJRT_Client(jaxmps::pjrt::TopologyFacts facts,
                         const std::vector<jaxmps::exec::Device*>& runtime)
    : topology(std::move(facts)) {
  for (size_t i = 0; i < runtime.size(); ++i) {
    auto& made =
        devices.emplace_back(std::make_unique<PJRT_Device>(this, topology.pointers[i], runtime[i]));
    device_pointers.push_back(made.get());
    memory_pointers.insert(memory_pointers.end(), made->memory_pointers.begin(),
                           made->memory_pointers.end());
  }
}

PJRT_Device* PJRT_Client::device(int64_t id) const {
  bool exists = id >= 0 && id < static_cast<int64_t>(device_pointers.size());
  return exists ? device_pointers[id] : nullptr;
}

namespace jaxmps::pjrt {
namespace {

// An integer option, which may come as text.
Result<int64_t> integer(const PJRT_NamedValue& option) {
  if (option.type == PJRT_NamedValue_kInt64) return option.int64_value;
  if (option.type == PJRT_NamedValue_kBool) return static_cast<int64_t>(option.bool_value);
  std::string_view text;
  if (option.type == PJRT_NamedValue_kString) text = view(option.string_value, option.value_size);
  int64_t value = 0;
  if (!parse_number(text, &value)) {
    return invalid(
        str("client option `", view(option.name, option.name_size), "` must be an integer"));
  }
  return value;
}

// Of a table of functions; options have no pointers.
template <typename Table>
Result<const Table*> address(const PJRT_NamedValue& option) {
  TRY(const int64_t value, integer(option));
  return reinterpret_cast<const Table*>(value);  // NOLINT(performance-no-int-to-ptr)
}

Status check_options(const PJRT_NamedValue* options, size_t num_options) {
  for (size_t i = 0; i < num_options; ++i) {
    std::string_view name = view(options[i].name, options[i].name_size);
    if (name == "num_nodes") {
      TRY(int64_t nodes, integer(options[i]));
      if (nodes > 1) {
        return unimplemented(
            str("client option `num_nodes` is ", nodes, "; this plugin runs in one process"));
      }
    } else if (name == "node_id") {
      TRY([[maybe_unused]] int64_t node, integer(options[i]));
    } else if (name == "blas_library" && options[i].type == PJRT_NamedValue_kString) {
      cpu::set_blas_library(std::string(view(options[i].string_value, options[i].value_size)));
    } else if (name == "interpreter") {
      TRY(const auto* table, address<Interpreter>(options[i]));
      set_interpreter(table);
    } else if (name == "python_callbacks") {
      TRY(const auto* table, address<ops::PythonCallbacks>(options[i]));
      ops::set_python_callbacks(table);
    } else if (name == "code_generator") {
      TRY(const auto* table, address<kernels::CodeGenerator>(options[i]));
      kernels::set_code_generator(table);
    } else {
      log(Level::warning, "client option `", name, "` is not known and ignored");
    }
  }
  return {};
}

// Now, so that a system that grants no more of them is an error here and not in the midst of work.
Status start_threads() {
  CHECK_OK(start_notifier());
  cpu::thread_count();
  return exec::start_interrupts();
}

// ---- slots ----

Status create_client(PJRT_Client_Create_Args& args) {
  TRY(TopologyFacts facts, local_topology(args.create_options, args.num_options));
  TRY(const auto* runtime, exec::devices());
  CHECK_OK(start_threads());
  args.client = new PJRT_Client(std::move(facts), *runtime);
  return {};
}

Status lookup_device(PJRT_Client_LookupDevice_Args& args) {
  REQUIRE(args.client);
  args.device = args.client->device(args.id);
  if (args.device) return {};
  return invalid(str("there is no device ", args.id, "; this client has ",
                     args.client->device_pointers.size()));
}

Status lookup_addressable(PJRT_Client_LookupAddressableDevice_Args& args) {
  REQUIRE(args.client);
  args.addressable_device = nullptr;
  for (PJRT_Device* device : args.client->device_pointers) {
    if (device->local_hardware_id == args.local_hardware_id) args.addressable_device = device;
  }
  if (args.addressable_device) return {};
  return invalid(str("there is no device with local hardware id ", args.local_hardware_id));
}

Status default_assignment(PJRT_Client_DefaultDeviceAssignment_Args& args) {
  REQUIRE(args.client);
  REQUIRE(args.default_assignment);
  const int64_t wanted = int64_t{args.num_replicas} * args.num_partitions;
  const auto available = static_cast<int64_t>(args.client->device_pointers.size());
  if (args.num_replicas < 1 || args.num_partitions < 1 || wanted > available) {
    return invalid(str("a device assignment of ", args.num_replicas, " replicas by ",
                       args.num_partitions, " partitions does not fit ", available, " devices"));
  }
  if (static_cast<int64_t>(args.default_assignment_size) < wanted) {
    return invalid(str("default_assignment has room for ", args.default_assignment_size, " of ",
                       wanted, " ids"));
  }
  for (int64_t i = 0; i < wanted; ++i) args.default_assignment[i] = static_cast<int>(i);
  return {};
}

}  // namespace

Result<TopologyFacts> local_topology(const PJRT_NamedValue* options, size_t num_options) {
  if (options) CHECK_OK(check_options(options, num_options));
  TRY(const auto* devices, exec::devices());
  TopologyFacts facts;
  facts.platform_version = "jax-mps " JAXMPS_VERSION ", MLX " JAXMPS_MLX_VERSION;
  // JAX looks for this word to tell whose GPU's memory is meant by an address.
  if (&devices->front()->target() == &ir::kCuda) facts.platform_version += ", cuda";
  facts.device_kind = devices->front()->kind();
  facts.num_devices = static_cast<int32_t>(devices->size());
  return facts;
}

Result<Memory*> choose_memory(PJRT_Device* device, PJRT_Memory* memory) {
  if (memory) return &memory_of(memory);
  if (device) return &device->default_memory();
  return invalid("neither a memory nor a device is given for the new buffer");
}

void bind_client(PJRT_Api& api) {
  bind<create_client>(api.PJRT_Client_Create);
  ANSWER_ANY(api, PJRT_Client_Destroy, delete args.client);
  ANSWER_ANY(api, PJRT_Client_PlatformName,
             give(kPlatformName, args.platform_name, args.platform_name_size));
  ANSWER_ANY(api, PJRT_Client_ProcessIndex, args.process_index = 0);
  ANSWER(
      api, PJRT_Client_PlatformVersion, client,
      give(it.topology.facts.platform_version, args.platform_version, args.platform_version_size));
  ANSWER(api, PJRT_Client_TopologyDescription, client, args.topology = &it.topology);
  ANSWER(api, PJRT_Client_Devices, client,
         give(it.device_pointers, args.devices, args.num_devices));
  ANSWER(api, PJRT_Client_AddressableDevices, client,
         give(it.device_pointers, args.addressable_devices, args.num_addressable_devices));
  ANSWER(api, PJRT_Client_AddressableMemories, client,
         give(it.memory_pointers, args.addressable_memories, args.num_addressable_memories));
  bind<lookup_device>(api.PJRT_Client_LookupDevice);
  bind<lookup_addressable>(api.PJRT_Client_LookupAddressableDevice);
  bind<default_assignment>(api.PJRT_Client_DefaultDeviceAssignment);
  // Arrives whenever the processes of a job change; there is one process.
  ANSWER_ANY(api, PJRT_Client_UpdateGlobalProcessInfo);
}

}  // namespace jaxmps::pjrt
