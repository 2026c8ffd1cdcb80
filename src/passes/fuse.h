// Grouping ops into `mps.fusion` ops: elementwise ops and index maps with the reductions they feed.
//
// Works on all regions of a module, in one thread that owns the module. A fusion's region takes its
// operands as arguments, holds the ops, and returns the results; constants stay inside when they
// are splats. The cost is close to linear in the number of ops.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "fusion/fusion.h"
#include "ir/target.h"
#include "passes/pass.h"

namespace jaxmps::passes {

struct FuseOptions {
  // Ops and results of one fusion at most.
  int max_ops = 200;
  int max_results = 8;
  // A cheap value of at least so many bytes that several fusions read may be computed by each of
  // them instead of stored.
  int64_t min_recomputed_bytes = int64_t{1} << 16;
  bool gathers = true;  // may be inside of fusions
  // Otherwise each elementwise op and each reduction is a fusion of its own.
  bool joins = true;
  // Asked once per finished group, with the mps.fusion op, its description and the target, which
  // may not be the module's. It may attach a kernel to the op: an error takes the group apart
  // again, as does want of a description. Empty: everything that can be described is accepted.
  std::function<Status(ir::Op&, fusion::Fusion, const ir::Target&)> accept;
  // When set, receives one line per op: where it went, or why it stayed alone.
  std::string* dump = nullptr;
};

Status fuse(ir::Module& module, const ir::Target& target = ir::kCpu,
            const FuseOptions& options = {});

}  // namespace jaxmps::passes
