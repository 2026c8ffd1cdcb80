// Grouping ops into `mps.fusion` ops: elementwise ops and index maps with the reductions they feed.
//
// Works on all regions of a module, in one thread that owns the module. A fusion's region takes its
// operands as arguments, holds the ops, and returns the results; constants stay inside when they
// are splats. The cost is close to linear in the number of ops.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "ir/module.h"

namespace jaxmps::passes {

struct FuseOptions {
  // Reductions may end a fusion (and softmax-like rows may hold several).
  bool reductions = true;
  // Ops in one fusion at most, and operands and results of one at most.
  int max_ops = 200;
  // Whether a single elementwise op or reduction is a fusion of its own (where the fused kernels
  // beat the plain ones), or needs company.
  bool single_ops = true;
  int max_operands = 24;
  int max_results = 8;
  // A cheap value of at least so many bytes that several fusions read may be computed by each of
  // them instead of stored.
  int64_t min_recomputed_bytes = int64_t{1} << 16;
  // Slices of gathers of fewer elements (but more than one) are copied by the gather itself, where
  // the target walks long runs and would find out for each element where it lies.
  int64_t shortest_slice = 1;
  bool gathers = true;  // may be inside of fusions
  // Whether elements of this reduction may be walked again in one fusion, with its result; empty:
  // always.
  std::function<bool(const ir::Op& reduce)> may_reread;
  // Asked once per finished group, with the mps.fusion op, to which it may attach the kernel: an
  // error takes the group apart again. Empty: everything is accepted.
  std::function<Status(ir::Op&)> accept;
  // When set, receives one line per op: where it went, or why it stayed alone.
  std::string* dump = nullptr;
};

Status fuse(ir::Module& module, const FuseOptions& options = {});

}  // namespace jaxmps::passes
