// Questions about a compiled program.

#include "pjrt/executable.h"

#include "pjrt/bindings.h"
#include "pjrt/entry.h"

namespace jaxmps::pjrt {
namespace {

constexpr std::string_view kMemoryKindAttr = "mhlo.memory_kind";
constexpr char kReplicated[] = "";  // an OpSharding without fields

int memory_kind(const ir::AttrDict& attrs) {
  const ir::Attr* attr = ir::find(attrs, kMemoryKindAttr);
  const auto* name = attr ? attr->get_if<std::string>() : nullptr;
  for (int kind = 0; name && kind < kNumMemoryKinds; ++kind) {
    if (*name == kMemoryKinds[kind]) return kind;
  }
  return kDeviceMemory;
}

ExecutableState::Side describe(const std::vector<ir::Type>& types,
                               const std::vector<ir::AttrDict>& attrs) {
  ExecutableState::Side side;
  for (size_t i = 0; i < types.size(); ++i) {
    const int kind = i < attrs.size() ? memory_kind(attrs[i]) : kDeviceMemory;
    side.kinds.push_back(kind);
    side.kind_names.push_back(kMemoryKinds[kind].data());
    side.kind_name_sizes.push_back(kMemoryKinds[kind].size());
    side.layouts.push_back({print_layout(row_major(types[i].dims.size()))});
    side.shardings.push_back(kReplicated);
    side.sharding_sizes.push_back(0);
  }
  for (auto& layout : side.layouts) side.layout_pointers.push_back(&layout);
  return side;
}

int64_t total_bytes(const std::vector<ir::Type>& types) {
  int64_t bytes = 0;
  for (const auto& type : types) bytes += type.byte_count();
  return bytes;
}

// ---- slots ----

Status destroy(PJRT_Executable_Destroy_Args& args) {
  delete args.executable;
  return {};
}

Status name(PJRT_Executable_Name_Args& args) {
  REQUIRE(args.executable);
  const std::string& name = args.executable->state->info().name;
  args.executable_name = name.data();
  args.executable_name_size = name.size();
  return {};
}

Status num_replicas(PJRT_Executable_NumReplicas_Args& args) {
  REQUIRE(args.executable);
  args.num_replicas = args.executable->state->options.num_replicas;
  return {};
}

Status num_partitions(PJRT_Executable_NumPartitions_Args& args) {
  REQUIRE(args.executable);
  args.num_partitions = args.executable->state->options.num_partitions;
  return {};
}

Status num_outputs(PJRT_Executable_NumOutputs_Args& args) {
  REQUIRE(args.executable);
  args.num_outputs = args.executable->state->info().results.size();
  return {};
}

Status code_size(PJRT_Executable_SizeOfGeneratedCodeInBytes_Args& args) {
  REQUIRE(args.executable);
  args.size_in_bytes = args.executable->state->info().constant_bytes;
  return {};
}

Status cost_analysis(PJRT_Executable_GetCostAnalysis_Args& args) {
  REQUIRE(args.executable);
  args.properties = args.executable->state->costs.data();
  args.num_properties = args.executable->state->costs.size();
  return {};
}

Status output_memory_kinds(PJRT_Executable_OutputMemoryKinds_Args& args) {
  REQUIRE(args.executable);
  const auto& side = args.executable->state->results;
  args.num_outputs = side.kinds.size();
  args.memory_kinds = side.kind_names.data();
  args.memory_kind_sizes = side.kind_name_sizes.data();
  return {};
}

Status parameter_memory_kinds(PJRT_Executable_ParameterMemoryKinds_Args& args) {
  REQUIRE(args.executable);
  const auto& side = args.executable->state->parameters;
  args.num_parameters = side.kinds.size();
  args.memory_kinds = side.kind_names.data();
  args.memory_kind_sizes = side.kind_name_sizes.data();
  return {};
}

// Called twice: with null code for the size, then with room for it. The artifact stands for the
// optimised program, because clients read StableHLO and not this plugin's own form.
Status optimized_program(PJRT_Executable_OptimizedProgram_Args& args) {
  REQUIRE(args.executable);
  REQUIRE(args.program);
  if (args.program->struct_size < offsetof(PJRT_Program, format_size) + sizeof(size_t)) {
    return invalid("PJRT_Executable_OptimizedProgram: the PJRT_Program struct is too small");
  }
  const std::string& artifact = args.executable->state->program->artifact();
  PJRT_Program& program = *args.program;
  program.format = "mlir";
  program.format_size = 4;
  if (program.code) {
    if (program.code_size < artifact.size()) {
      return invalid(
          str("the destination has ", program.code_size, " bytes, the program ", artifact.size()));
    }
    artifact.copy(program.code, artifact.size());
  }
  program.code_size = artifact.size();
  return {};
}

Status output_types(PJRT_Executable_OutputElementTypes_Args& args) {
  REQUIRE(args.executable);
  const auto& types = args.executable->state->result_types;
  args.output_types = const_cast<PJRT_Buffer_Type*>(types.data());
  args.num_output_types = types.size();
  return {};
}

Status output_dimensions(PJRT_Executable_OutputDimensions_Args& args) {
  REQUIRE(args.executable);
  const ExecutableState& state = *args.executable->state;
  args.num_outputs = state.result_ranks.size();
  args.dims = state.result_dims.data();
  args.dim_sizes = state.result_ranks.data();
  return {};
}

Status fingerprint(PJRT_Executable_Fingerprint_Args& args) {
  REQUIRE(args.executable);
  const std::string& digest = args.executable->state->program->fingerprint();
  args.executable_fingerprint = digest.data();
  args.executable_fingerprint_size = digest.size();
  return {};
}

Status memory_stats(PJRT_Executable_GetCompiledMemoryStats_Args& args) {
  REQUIRE(args.executable);
  const exec::ProgramInfo& info = args.executable->state->info();
  PJRT_Executable_GetCompiledMemoryStats_Args out{};
  out.struct_size = args.struct_size;
  out.extension_start = args.extension_start;
  out.executable = args.executable;
  out.generated_code_size_in_bytes = info.constant_bytes;
  out.argument_size_in_bytes = total_bytes(info.parameters);
  out.output_size_in_bytes = args.executable->state->result_bytes;
  for (size_t i = 0; i < info.alias.size(); ++i) {
    if (info.alias[i] >= 0) out.alias_size_in_bytes += info.parameters[i].byte_count();
  }
  out.temp_size_in_bytes = info.temporary_bytes;
  out.total_size_in_bytes = info.constant_bytes + out.argument_size_in_bytes +
                            out.output_size_in_bytes + info.temporary_bytes -
                            out.alias_size_in_bytes;
  out.peak_memory_in_bytes = out.total_size_in_bytes;
  out.total_allocation_bytes = out.total_size_in_bytes;
  out.peak_unpadded_heap_bytes = out.total_size_in_bytes;
  args = out;
  return {};
}

Status compile_options(PJRT_Executable_GetCompileOptions_Args& args) {
  REQUIRE(args.executable);
  hand_out(args.executable->state->options.bytes, args.serialized_bytes, args.serialized_bytes_size,
           args.serialized_compile_options, args.serialized_compile_options_deleter);
  return {};
}

}  // namespace

ExecutableState::ExecutableState(exec::ProgramPtr compiled, CompileOptions given)
    : program(std::move(compiled)),
      options(std::move(given)),
      parameters(describe(info().parameters, info().parameter_attrs)),
      results(describe(info().results, info().result_attrs)),
      result_bytes(total_bytes(info().results)) {
  for (size_t i = 0; i < info().results.size(); ++i) {
    const ir::Type& type = info().results[i];
    result_types.push_back(info().tokens[i]
                               ? PJRT_Buffer_Type_TOKEN
                               : static_cast<PJRT_Buffer_Type>(ir::pjrt_type(type.dtype)));
    result_dims.insert(result_dims.end(), type.dims.begin(), type.dims.end());
    result_ranks.push_back(type.dims.size());
  }
  costs.add("flops", static_cast<float>(info().flops));
  costs.add("bytes accessed", static_cast<float>(info().bytes_accessed));
}

void bind_executable(PJRT_Api& api) {
  bind<destroy>(api.PJRT_Executable_Destroy);
  bind<name>(api.PJRT_Executable_Name);
  bind<num_replicas>(api.PJRT_Executable_NumReplicas);
  bind<num_partitions>(api.PJRT_Executable_NumPartitions);
  bind<num_outputs>(api.PJRT_Executable_NumOutputs);
  bind<code_size>(api.PJRT_Executable_SizeOfGeneratedCodeInBytes);
  bind<cost_analysis>(api.PJRT_Executable_GetCostAnalysis);
  bind<output_memory_kinds>(api.PJRT_Executable_OutputMemoryKinds);
  bind<parameter_memory_kinds>(api.PJRT_Executable_ParameterMemoryKinds);
  bind<optimized_program>(api.PJRT_Executable_OptimizedProgram);
  bind<output_types>(api.PJRT_Executable_OutputElementTypes);
  bind<output_dimensions>(api.PJRT_Executable_OutputDimensions);
  bind<fingerprint>(api.PJRT_Executable_Fingerprint);
  bind<memory_stats>(api.PJRT_Executable_GetCompiledMemoryStats);
  bind<compile_options>(api.PJRT_Executable_GetCompileOptions);
}

}  // namespace jaxmps::pjrt
