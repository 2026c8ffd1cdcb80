// What a client asks for when it compiles: the decoded CompileOptionsProto. A plain value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace jaxmps::pjrt {

struct CompileOptions {
  std::string bytes;  // as received; handed back by PJRT_Executable_GetCompileOptions
  int64_t num_replicas = 1;
  int64_t num_partitions = 1;
  int64_t device_ordinal = -1;
  bool portable = false;       // runs on whichever device Execute names
  bool deterministic = false;  // every run shall give the same bits
  // Device ids by [partition][replica]; empty if the client leaves the choice to the plugin.
  std::vector<std::vector<int64_t>> device_assignment;
  // Element k: may the plugin choose the sharding of output or parameter k; one element is for all.
  std::vector<int64_t> choose_output_shardings;
  std::vector<int64_t> choose_parameter_shardings;

  int64_t num_devices() const { return num_replicas * num_partitions; }
};

// INVALID_ARGUMENT for bytes that are no such message, for a device assignment of another size than
// replicas × partitions, and for named options as xla_options.h says.
Result<CompileOptions> parse_compile_options(std::string_view bytes);

std::string serialize_device_assignment(const std::vector<std::vector<int64_t>>& assignment);

}  // namespace jaxmps::pjrt
