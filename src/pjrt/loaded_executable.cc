// Compiling, loading, serialising: how executables come to be, and the slots of loaded ones but
// for Execute.

#include "pjrt/bindings.h"
#include "pjrt/entry.h"
#include "pjrt/executable.h"
#include "pjrt/proto.h"

namespace jaxmps::pjrt {
namespace {

constexpr std::string_view kBytecodeMagic =
    "ML\xef"
    "R";
constexpr std::string_view kBlobMagic = "jax-mps executable 1\n";
// Fields of a serialised executable.
enum BlobField : uint32_t { kPluginVersion = 1, kArtifact = 2, kOptions = 3, kChecksum = 4 };

std::string version() { return "jax-mps " JAXMPS_VERSION ", MLX " JAXMPS_MLX_VERSION; }

Status check_attrs(const std::vector<ir::AttrDict>& attrs, const std::vector<ir::Type>& types,
                   std::string_view what) {
  for (size_t i = 0; i < attrs.size() && i < types.size(); ++i) {
    if (const ir::Attr* kind = ir::find(attrs[i], "mhlo.memory_kind")) {
      const auto* name = kind->get_if<std::string>();
      bool known = false;
      for (std::string_view each : kMemoryKinds) known = known || (name && *name == each);
      if (!known) {
        return invalid(str(what, " ", i, ": memory kind ", ir::print(*kind), " does not exist"));
      }
    }
    const ir::Attr* mode = ir::find(attrs[i], "mhlo.layout_mode");
    const auto* layout = mode ? mode->get_if<std::string>() : nullptr;
    if (layout && *layout != "default" && *layout != "auto" &&
        *layout != print_layout(row_major(types[i].dims.size()))) {
      return unimplemented(str(what, " ", i, ": layout ", *layout, "; arrays are row-major here"));
    }
  }
  return {};
}

Status check_program(std::string_view code) {
  if (code.empty()) return invalid("the program is empty");
  if (code.substr(0, kBytecodeMagic.size()) != kBytecodeMagic) {
    return invalid(
        "the program is no portable StableHLO artifact (MLIR bytecode); text must be "
        "serialised to an artifact first");
  }
  return {};
}

Status check_devices(const CompileOptions& options) {
  if (options.num_devices() == 1) return {};
  return unimplemented(str("the program is for ", options.num_devices(), " devices (",
                           options.num_replicas, " replicas, ", options.num_partitions,
                           " partitions); programs for more than one device are not supported"));
}

Result<PJRT_Device*> choose_device(const PJRT_Client& client, const CompileOptions& options) {
  int64_t id = 0;
  if (!options.device_assignment.empty()) {
    id = options.device_assignment[0][0];
  } else if (options.device_ordinal >= 0) {
    id = options.device_ordinal;
  }
  if (PJRT_Device* device = client.device(id)) return device;
  return invalid(str("the program is for device ", id, "; this client has ",
                     client.device_pointers.size(), " devices"));
}

// ---- serialised executables ----

std::string write_blob(const ExecutableState& state) {
  ProtoWriter writer;
  writer.bytes(kPluginVersion, version());
  writer.bytes(kArtifact, state.program->artifact());
  writer.bytes(kOptions, state.options.bytes);
  writer.number(kChecksum, static_cast<int64_t>(stable_hash(state.program->artifact())));
  return std::string(kBlobMagic) + writer.take();
}

struct Blob {
  std::string_view version, artifact, options;
  uint64_t checksum = 0;
};

Result<Blob> read_blob(std::string_view bytes) {
  if (bytes.substr(0, kBlobMagic.size()) != kBlobMagic) {
    return invalid("serialized executable: not made by this plugin");
  }
  Blob blob;
  ProtoReader reader(bytes.substr(kBlobMagic.size()), "serialized executable");
  while (!reader.at_end()) {
    TRY(ProtoField field, reader.next());
    switch (field.number) {
      case kPluginVersion:
        blob.version = field.bytes;
        break;
      case kArtifact:
        blob.artifact = field.bytes;
        break;
      case kOptions:
        blob.options = field.bytes;
        break;
      case kChecksum:
        blob.checksum = field.value;
        break;
      default:
        return invalid(str("serialized executable: unknown field ", field.number));
    }
  }
  if (blob.version != version()) {
    return Error(Code::failed_precondition,
                 str("serialized executable: made by ", blob.version, ", this is ", version()));
  }
  if (blob.checksum != stable_hash(blob.artifact)) {
    return invalid("serialized executable: the checksum of the program does not fit");
  }
  return blob;
}

// ---- slots ----

Status client_compile(PJRT_Client_Compile_Args& args) {
  REQUIRE(args.client);
  REQUIRE(args.program);
  const PJRT_Program program = full_copy(*args.program);
  std::string_view format = view(program.format, program.format_size);
  if (format != "mlir") {
    return unimplemented(str("programs of format `", format, "`; the format must be `mlir`"));
  }
  TRY(CompileOptions options,
      parse_compile_options(view(args.compile_options, args.compile_options_size)));
  TRY(args.executable,
      compile(*args.client, view(program.code, program.code_size), std::move(options)));
  return {};
}

Status deserialize(PJRT_Executable_DeserializeAndLoad_Args& args) {
  REQUIRE(args.client);
  TRY(Blob blob, read_blob(view(args.serialized_executable, args.serialized_executable_size)));
  std::string_view options_bytes = view(args.overridden_serialized_compile_options,
                                        args.overridden_serialized_compile_options_size);
  TRY(CompileOptions options,
      parse_compile_options(options_bytes.empty() ? blob.options : options_bytes));
  TRY(args.loaded_executable, compile(*args.client, blob.artifact, std::move(options)));
  return {};
}

Status client_load(PJRT_Client_Load_Args& args) {
  REQUIRE(args.client);
  REQUIRE(args.executable);
  const ExecutableState& state = *args.executable->state;
  CompileOptions options = state.options;
  if (args.compile_options && args.compile_options_size > 0) {
    TRY(options, parse_compile_options(view(args.compile_options, args.compile_options_size)));
  }
  TRY(args.loaded_executable, load(*args.client, state.program, std::move(options)));
  return {};
}

Status executable_of(PJRT_LoadedExecutable_GetExecutable_Args& args) {
  REQUIRE(args.loaded_executable);
  StatePtr state = args.loaded_executable->state();
  if (!state) return invalid("the executable has been deleted");
  args.executable = new PJRT_Executable{std::move(state)};
  return {};
}

Status device_assignment(PJRT_LoadedExecutable_GetDeviceAssignment_Args& args) {
  REQUIRE(args.executable);
  // No bytes say: runs on any device.
  StatePtr state = args.executable->state();
  std::string bytes;
  if (!state || !state->options.portable) {
    bytes = serialize_device_assignment({{args.executable->devices[0]->description->id}});
  }
  hand_out(std::move(bytes), args.serialized_bytes, args.serialized_bytes_size,
           args.serialized_device_assignment, args.serialized_device_assignment_deleter);
  return {};
}

}  // namespace

Result<PJRT_LoadedExecutable*> load(PJRT_Client& client, exec::ProgramPtr program,
                                    CompileOptions options) {
  CHECK_OK(check_devices(options));
  TRY(PJRT_Device * device, choose_device(client, options));
  if (options.deterministic && !device->runtime->target().runs_native) {
    return unimplemented("compile options: sums of scatters on this GPU come in any order");
  }
  CHECK_OK(check_attrs(program->info().parameter_attrs, program->info().parameters, "parameter"));
  CHECK_OK(check_attrs(program->info().result_attrs, program->info().results, "result"));
  auto state = std::make_shared<const ExecutableState>(std::move(program), std::move(options));
  return new PJRT_LoadedExecutable(&client, std::move(state), device);
}

Result<PJRT_LoadedExecutable*> compile(PJRT_Client& client, std::string_view code,
                                       CompileOptions options) {
  CHECK_OK(check_devices(options));
  CHECK_OK(check_program(code));
  TRY(PJRT_Device * device, choose_device(client, options));
  exec::CompileOptions wanted;
  wanted.num_replicas = options.num_replicas;
  wanted.num_partitions = options.num_partitions;
  TRY(exec::ProgramPtr program,
      exec::compile(std::make_shared<const std::string>(code), wanted, device->runtime->target()));
  return load(client, std::move(program), std::move(options));
}

void bind_loaded_executable(PJRT_Api& api) {
  bind<client_compile>(api.PJRT_Client_Compile);
  ANSWER(api, PJRT_Executable_Serialize, executable,
         hand_out(write_blob(*it.state), args.serialized_bytes, args.serialized_bytes_size,
                  args.serialized_executable, args.serialized_executable_deleter));
  bind<deserialize>(api.PJRT_Executable_DeserializeAndLoad);
  bind<client_load>(api.PJRT_Client_Load);
  ANSWER_ANY(api, PJRT_LoadedExecutable_Destroy, delete args.executable);
  bind<executable_of>(api.PJRT_LoadedExecutable_GetExecutable);
  ANSWER(api, PJRT_LoadedExecutable_AddressableDevices, executable,
         give(it.devices, args.addressable_devices, args.num_addressable_devices));
  ANSWER(api, PJRT_LoadedExecutable_AddressableDeviceLogicalIds, executable,
         give(it.logical_ids, args.addressable_device_logical_ids,
              args.num_addressable_device_logical_ids));
  bind<device_assignment>(api.PJRT_LoadedExecutable_GetDeviceAssignment);
  ANSWER(api, PJRT_LoadedExecutable_Delete, executable, it.drop());
  ANSWER(api, PJRT_LoadedExecutable_IsDeleted, executable, args.is_deleted = it.state() == nullptr);
  ANSWER(api, PJRT_LoadedExecutable_Fingerprint, executable,
         give(it.fingerprint, args.executable_fingerprint, args.executable_fingerprint_size));
}

}  // namespace jaxmps::pjrt
