// PJRT_Executable and PJRT_LoadedExecutable: a compiled program as clients see it. Both are thin
// handles: all executables of one compilation share one immutable ExecutableState. A loaded
// executable adds the devices it runs on. Any thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "exec/program.h"
#include "pjrt/attributes.h"
#include "pjrt/client.h"
#include "pjrt/compile_options.h"
#include "pjrt/layout.h"

struct PJRT_Layouts_MemoryLayout {
  std::string text;
};

namespace jaxmps::pjrt {

struct ExecutableState {
  ExecutableState(exec::ProgramPtr compiled, CompileOptions given);
  ExecutableState(const ExecutableState&) = delete;

  const exec::ProgramInfo& info() const { return program->info(); }

  const exec::ProgramPtr program;
  const CompileOptions options;

  // Answers of the query slots, which hand out pointers into them.
  struct Side {              // the parameters or the results
    std::vector<int> kinds;  // memory kind of each
    std::vector<const char*> kind_names;
    std::vector<size_t> kind_name_sizes;
    std::vector<PJRT_Layouts_MemoryLayout> layouts;
    std::vector<PJRT_Layouts_MemoryLayout*> layout_pointers;
    std::vector<const char*> shardings;
    std::vector<size_t> sharding_sizes;
  };
  Side parameters, results;
  std::vector<PJRT_Buffer_Type> result_types;
  std::vector<int64_t> result_dims;  // of all results, one after the other
  std::vector<size_t> result_ranks;
  int64_t result_bytes = 0;
  Attributes costs;
};
using StatePtr = std::shared_ptr<const ExecutableState>;

// Compiles for a client. Refuses what this plugin cannot run, before anything is compiled.
Result<PJRT_LoadedExecutable*> compile(PJRT_Client& client, std::string_view code,
                                       CompileOptions options);
// Binds a compiled program to the device that the options name.
Result<PJRT_LoadedExecutable*> load(PJRT_Client& client, exec::ProgramPtr program,
                                    CompileOptions options);

}  // namespace jaxmps::pjrt

struct PJRT_Executable {
  jaxmps::pjrt::StatePtr state;
};

struct PJRT_LoadedExecutable {
  PJRT_LoadedExecutable(PJRT_Client* owner, jaxmps::pjrt::StatePtr compiled, PJRT_Device* device)
      : client(owner),
        devices{device},
        logical_ids{{0, 0}},
        fingerprint(compiled->program->fingerprint()),
        state_(std::move(compiled)) {}

  // Null once deleted.
  jaxmps::pjrt::StatePtr state() const {
    std::lock_guard lock(mutex_);
    return state_;
  }
  void drop() {
    std::lock_guard lock(mutex_);
    state_ = nullptr;
  }

  PJRT_Client* const client;
  const std::vector<PJRT_Device*> devices;
  std::vector<PJRT_LogicalDeviceIds> logical_ids;
  const std::string fingerprint;

 private:
  mutable std::mutex mutex_;
  jaxmps::pjrt::StatePtr state_;
};
