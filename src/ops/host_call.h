// CPU kernels inside programs of another device: a native kernel as a node of the MLX graph that
// runs on the CPU of the same machine. MLX orders it against the device and moves the memory where
// that is needed. For ops that have no kernel on the GPU: slower, but never refused.
// Graphs made here hold the kernel. They are run on the thread of a device, and its own CPU stream.
#pragma once

#include "ops/op.h"

namespace jaxmps::ops {

// The native kernel of `op` as a graph.
Graph host_graph(const ir::Op& op, Native native);

// A lowering by a native kernel alone: as it is on the CPU, through host_graph elsewhere.
Lowering everywhere(const OpContext& ctx, Native native, double nanoseconds,
                    std::vector<int> reuse = {});

// Why a block of kind ANY_DTYPE_OP whose native kernel takes every type cannot run on the target:
// an unknown shape, or float64 on a GPU. Empty if it can.
std::string not_runnable(const OpContext& ctx);

}  // namespace jaxmps::ops
