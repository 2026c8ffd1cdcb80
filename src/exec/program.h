// Programs: an artifact compiled for a kind of device, and its asynchronous execution.
// `compile` may be called from many threads; equal artifacts with equal options share one Program.
// `execute` returns at once with pending buffers; errors of the work arrive at their ready events.
// A program that calls into Python is waited for, as on JAX's CPU backend: what it prints is there
// when `execute` returns, and its errors are those of `execute`.
#pragma once

#include <atomic>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/event.h"
#include "exec/buffer.h"
#include "ir/module.h"

namespace jaxmps::exec {

struct Plan;

struct CompileOptions {
  int64_t num_replicas = 1;
  int64_t num_partitions = 1;
};

struct ProgramInfo {
  std::string name;
  std::vector<ir::Type> parameters;
  std::vector<ir::Type> results;
  std::vector<bool> tokens;  // per result: a token of ordered effects; it stands as pred[0]
  // Per parameter: may its storage be reused (jax.buffer_donor or tf.aliasing_output)?
  std::vector<bool> donated;
  // Per parameter: the result it aliases by tf.aliasing_output, or -1.
  std::vector<int> alias;
  // Function attributes as the artifact carries them: mhlo.layout_mode, mhlo.memory_kind,
  // shardings (empty dictionaries where there are none).
  std::vector<ir::AttrDict> parameter_attrs;
  std::vector<ir::AttrDict> result_attrs;
  double flops = 0;
  double bytes_accessed = 0;
  int64_t temporary_bytes = 0;  // largest sum of live intermediates, estimated when compiled
  int64_t constant_bytes = 0;
};

class Program : public std::enable_shared_from_this<Program> {
 public:
  ~Program();

  const ProgramInfo& info() const { return info_; }
  const std::string& artifact() const { return *artifact_; }
  const ir::Target& target() const { return *target_; }
  // The optimised program as text: the IR after all passes.
  const std::string& text() const { return text_; }
  // Hex digest of artifact, options and plugin version; stable over processes.
  const std::string& fingerprint() const { return fingerprint_; }

  struct Execution {
    std::vector<BufferPtr> results;
    Event done = Event::ready();  // the whole execution, with its error
  };
  // Checks the arguments (count, types, device, deleted or twice donated buffers): those errors
  // come back here. `no_donation` lists parameters whose donation this call vetoes. Donated
  // arguments read as deleted when this returns.
  Result<Execution> execute(Device* device, std::span<const BufferPtr> arguments,
                            std::span<const int64_t> no_donation = {}) const;

 private:
  friend class Compiler;
  Program() = default;
  struct Run;
  struct Task;
  // Which of them are donated.
  Result<std::vector<bool>> check_arguments(const Device* device,
                                            std::span<const BufferPtr> arguments,
                                            std::span<const int64_t> no_donation) const;
  void add_results(Run& run, Execution& execution) const;
  // Runs now, on this thread, if the device is idle.
  template <typename Donate>
  bool execute_inline(Run& run, Execution& execution, const Donate& donate, Status& refused) const;
  // How long an execution keeps the device busy, at most. On the CPU the last run tells it of what
  // was estimated as long (`is_timed`). Of such work that cannot be had again (`is_unique`) nobody
  // knows: it takes the way on which interrupts spare it.
  bool is_timed() const;
  double nanoseconds(bool is_unique) const;
  Result<const Plan*> plan_for(const Device& device) const;
  ProgramInfo info_;
  std::shared_ptr<const std::string> artifact_;
  std::unique_ptr<ir::Module> module_;
  std::unique_ptr<Plan> plan_;
  const ir::Target* target_ = nullptr;
  // The plan is native: of the CPU device, or small work of a device that shares the CPU's memory.
  bool is_on_cpu_ = false;
  bool calls_python_ = false;
  // Estimated, of a slow one; endless if a step waits for it.
  double gpu_nanoseconds_ = std::numeric_limits<double>::infinity();
  // Nanoseconds of the last run of what is timed.
  mutable std::atomic<double> took_{std::numeric_limits<double>::infinity()};
  int stream_ = -1;  // of MLX, for which that plan is made
  mutable std::unordered_map<int, std::unique_ptr<Plan>> plans_;  // for others, made when needed
  std::string text_;
  std::string fingerprint_;
};
using ProgramPtr = std::shared_ptr<const Program>;

// Reads, verifies, optimises and plans. Every unsupported op of the program is named in one error.
Result<ProgramPtr> compile(std::shared_ptr<const std::string> artifact,
                           const CompileOptions& options, const ir::Target& target);

// FNV-1a, 64 bits: the hash behind fingerprints and caches.
uint64_t content_hash(std::string_view bytes, uint64_t seed = 0xcbf29ce484222325ull);

}  // namespace jaxmps::exec
