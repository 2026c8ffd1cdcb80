// Where work runs if a GPU shares the CPU's memory (Target::host_memory): programs, and loops and
// branches inside of others, which the CPU's kernels have done before a GPU's would have begun, run
// on those, in the same buffers. Results of ops that round correctly are the same bit for bit.
// JAX_MPS_SMALL_ON_CPU switches it. Any thread; a module belongs to one.
#pragma once

#include <memory>
#include <string>

#include "exec/plan.h"
#include "ir/module.h"
#include "ir/target.h"

namespace jaxmps::exec {

struct Work {
  double flops = 0, bytes = 0;
};
// Operations and bytes that the region's ops read and write; loops count as one trip.
Work work_of(const ir::Region& region);

// Nanoseconds for which the ops of a fused region keep a slow GPU busy, an estimate.
double gpu_nanoseconds(const ir::Region& region);

// The largest sum of values alive at once, parameters and results not counted.
int64_t live_peak(const ir::Region& region);

// A program for the CPU: its module, fused for it, and the plan.
struct PlacedProgram {
  std::unique_ptr<ir::Module> module;
  std::unique_ptr<Plan> plan;  // null: the program is the GPU's
};
// `artifact` is what the program was read from. Says in `notes` what was decided and why.
Result<PlacedProgram> place_program(std::shared_ptr<const std::string> artifact, const Work& work,
                                    const ir::Target& target, std::string* notes);

// Marks the loops and branches of a module, not yet fused, that are the CPU's (ir::target_of).
Status place_regions(ir::Module& module, const ir::Target& target, std::string* notes);

}  // namespace jaxmps::exec
