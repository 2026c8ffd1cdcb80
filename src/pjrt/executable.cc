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

Status compiled_memory_stats(PJRT_Executable_GetCompiledMemoryStats_Args& args) {
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

}  // namespace

ExecutableState::ExecutableState(exec::ProgramPtr compiled, CompileOptions given)
    : program(std::move(compiled)),
      options(std::move(given)),
      parameters(describe(info().parameters, info().parameter_attrs)),
      results(describe(info().results, info().result_attrs)),
      result_bytes(total_bytes(info().results)) {
  for (size_t i = 0; i < info().results.size(); ++i) {
    const ir::Type& type = info().results[i];
    result_types.push_back(client_type(type, info().tokens[i]));
    result_dims.insert(result_dims.end(), type.dims.begin(), type.dims.end());
    result_ranks.push_back(type.dims.size());
  }
  costs.add("flops", static_cast<float>(info().flops));
  costs.add("bytes accessed", static_cast<float>(info().bytes_accessed));
}

void bind_executable(PJRT_Api& api) {
  ANSWER_ANY(api, PJRT_Executable_Destroy, delete args.executable);
  ANSWER(api, PJRT_Executable_Name, executable,
         give(it.state->info().name, args.executable_name, args.executable_name_size));
  ANSWER(api, PJRT_Executable_NumReplicas, executable,
         args.num_replicas = it.state->options.num_replicas);
  ANSWER(api, PJRT_Executable_NumPartitions, executable,
         args.num_partitions = it.state->options.num_partitions);
  ANSWER(api, PJRT_Executable_NumOutputs, executable,
         args.num_outputs = it.state->info().results.size());
  ANSWER(api, PJRT_Executable_SizeOfGeneratedCodeInBytes, executable,
         args.size_in_bytes = it.state->info().constant_bytes);
  ANSWER(api, PJRT_Executable_GetCostAnalysis, executable,
         give(it.state->costs, args.properties, args.num_properties));
  ANSWER(api, PJRT_Executable_OutputMemoryKinds, executable,
         give(it.state->results.kind_names, args.memory_kinds, args.num_outputs);
         args.memory_kind_sizes = it.state->results.kind_name_sizes.data());
  ANSWER(api, PJRT_Executable_ParameterMemoryKinds, executable,
         give(it.state->parameters.kind_names, args.memory_kinds, args.num_parameters);
         args.memory_kind_sizes = it.state->parameters.kind_name_sizes.data());
  bind<optimized_program>(api.PJRT_Executable_OptimizedProgram);
  ANSWER(api, PJRT_Executable_OutputElementTypes, executable,
         give(it.state->result_types, args.output_types, args.num_output_types));
  ANSWER(api, PJRT_Executable_OutputDimensions, executable,
         give(it.state->result_ranks, args.dim_sizes, args.num_outputs);
         args.dims = it.state->result_dims.data());
  ANSWER(api, PJRT_Executable_Fingerprint, executable,
         give(it.state->program->fingerprint(), args.executable_fingerprint,
              args.executable_fingerprint_size));
  bind<compiled_memory_stats>(api.PJRT_Executable_GetCompiledMemoryStats);
  ANSWER(api, PJRT_Executable_GetCompileOptions, executable,
         hand_out(it.state->options.bytes, args.serialized_bytes, args.serialized_bytes_size,
                  args.serialized_compile_options, args.serialized_compile_options_deleter));
}

}  // namespace jaxmps::pjrt
