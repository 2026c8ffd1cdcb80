// The border between the executor and the fusion compiler: fusing a module, and turning one
// `mps.fusion` op into something that runs. With JAX_MPS_FUSION=0 every fusion is of one op;
// JAX_MPS_STRICT=1 makes a fusion without kernel an error.
#pragma once

#include "kernels/cpu/tile.h"
#include "ops/op.h"

namespace jaxmps::exec {

// Groups ops of all regions into `mps.fusion` ops, where the target has kernels for them, and
// attaches these. With `notes`, adds one line per op: where it went, or why it stayed alone.
Status fuse_module(ir::Module& module, const ir::Target& target, std::string* notes = nullptr);

// Takes the kernels from the fusions, once the plan has them.
void release_kernels(const ir::Module& module);

// The kernel of a fusion, or of any other op as a fusion of its own; or why there is none.
Result<ops::Lowering> lower_fused(const ir::Op& op, const ir::Target& target);

// The CPU's tile kernel of a fusion or of a single op, and for each result an operand whose memory
// it may overwrite in place, or -1.
Result<cpu::TileKernel> lower_tile(const ir::Op& op);
// What it computes.
Result<std::shared_ptr<const kernels::Fusion>> describe(const ir::Op& op);
std::vector<int> reusable(const cpu::TileKernel& kernel, const ir::Op& op);

// The fusion's GPU kernels, or on the CPU its description, for dumps; empty if it has none.
std::string kernel_text(const ir::Op& fusion, const ir::Target& target);

// Calls visit(op) for the fusions of the region and of those nested in it.
template <typename Visit>
void for_fusions(const ir::Region& region, Visit visit) {
  for (ir::Op* op : region) {
    if (op->id == ir::OpId::fusion) {
      visit(*op);
    } else {
      for (const auto& nested : op->regions()) for_fusions<Visit&>(*nested, visit);
    }
  }
}

// JAX_MPS_FUSION.
bool uses_kernels();
// JAX_MPS_STRICT.
bool is_strict();
// Logs a warning: how the op runs, and why not as a kernel of the target's.
void report_refused(const ir::Op& op, std::string_view how, const Error& why);

}  // namespace jaxmps::exec
