// The simulated Metal as a GPU of the executor. The one of Metal's own dialect takes Metal's place
// where this is linked.
#pragma once

#include <memory>

#include "exec/gpu.h"

namespace jaxmps::exec {

// One that keeps to the target of the dialect, which is Metal's but for its target. Texts in which
// the word JAX_MPS_SIMULATED_REFUSES of the environment occurs are refused, as by a compiler.
std::unique_ptr<Gpu> simulated_gpu(const kernels::Dialect& dialect);

// What encoders have done since the process began.
struct SimulatedCounts {
  int64_t commits, waits;
};
SimulatedCounts simulated_counts();

}  // namespace jaxmps::exec
