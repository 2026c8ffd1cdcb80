// Reads a portable artifact (MLIR bytecode with the VHLO, builtin and sdy dialects) into a module.
// The input is not trusted: anything malformed or unknown is an error that names the byte offset,
// the field and what is wrong with it; time and memory stay in proportion to the input's size.
// The module keeps `bytes` alive, because constants point into it. Thread-safe: no shared state.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "ir/module.h"

namespace jaxmps::bytecode {

// The newest StableHLO version of which every op, type and attribute is known.
inline constexpr int64_t kStableHloVersion[3] = {1, 22, 0};

Result<std::unique_ptr<ir::Module>> read_artifact(std::shared_ptr<const std::string> bytes);

}  // namespace jaxmps::bytecode
