// A fusion on the CPU in its two tiers: the tile machine, and machine code once the runs have taken
// long enough (kernels/llvm/compiler.h), if it is faster. The bits are equal. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "kernels/cpu/tile.h"
#include "kernels/llvm/fusion_text.h"

namespace jaxmps::kernels {
class MachineCode;
}

namespace jaxmps::exec {

class FusionTiers {
 public:
  FusionTiers(cpu::TileKernel tile, std::shared_ptr<const kernels::Fusion> fusion);

  // As TileKernel::run.
  void run(const void* const* in, void* const* out);
  // Has it compiled now.
  Status compile();

 private:
  enum class State : uint8_t { counting, printed, compared, refused };
  void print(bool always);
  void run_machine(const void* address, const void* const* in, void* const* out) const;
  void run_counted(const void* const* in, void* const* out);
  void run_timed(const void* address, const void* const* in, void* const* out);
  bool is_slow() const;

  const cpu::TileKernel tile_;
  const double nanoseconds_;
  std::shared_ptr<const kernels::Fusion> fusion_;
  std::mutex mutex_;
  std::atomic<State> state_{State::counting};
  std::shared_ptr<kernels::MachineCode> code_;  // set before `printed`
  int64_t parts_ = 1;
  // A few runs may get lost.
  std::atomic<int> runs_{0}, machine_runs_{0};
  std::atomic<double> tile_time_,
      machine_time_;  // nanoseconds, the shortest: others may use the cores
};

}  // namespace jaxmps::exec
