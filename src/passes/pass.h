// The passes: each rewrites a verified module into an equivalent verified module.
// run_passes() leaves a module whose only function is `main`, all calls inlined, without
// composites, tuples, tokens of pure ops and ops that others define (see decompose.cc); what
// remains for the executor is the small set of ops that cannot be written with others. One thread
// per module.
#pragma once

#include <functional>
#include <string_view>

#include "ir/module.h"
#include "ir/target.h"

namespace jaxmps::passes {

// The words of every pass.
using ir::Attr;
using ir::AttrDict;
using ir::Dense;
using ir::Dims;
using ir::DType;
using ir::Ints;
using ir::Op;
using ir::OpId;
using ir::Region;
using ir::Type;
using ir::Value;

// Runs every pass, in the order of pipeline.cc. `after`, if given, sees the module after each pass,
// with the pass's name.
using Hook = std::function<void(std::string_view pass, const ir::Module& module)>;
Status run_passes(ir::Module& module, const Hook& after = {});

// The passes themselves, one file each.
Status lower_sharding(ir::Module& module);
Status recognize_composites(ir::Module& module);
Status recognize_lapack(ir::Module& module);
Status inline_calls(ir::Module& module);
Status decompose(ir::Module& module);
Status canonicalize(ir::Module& module);  // folds constants too
Status eliminate_common_subexpressions(ir::Module& module);
Status eliminate_dead_code(ir::Module& module);
Status hoist_loop_invariants(ir::Module& module);
Status recognize_cumulative(ir::Module& module);
Status recognize_threefry(ir::Module& module);
Status sink_constants(ir::Module& module);
Status share_loop_storage(ir::Module& module);

// Not part of run_passes. Convolutions of one channel and a few taps become sums of products of
// slices, for targets whose fusions are sooner done than a kernel's call.
void expand_filters(ir::Module& module);
// Nor is this. Reductions with combiners that fusions do not fold with, and windows for which the
// target has no kernel, become elementwise ops on slices, or a loop over the elements on the CPU,
// which keeps to their order; ops that are MLX's get types that it has.
using HasKernel = std::function<bool(const ir::Op& op, const ir::Target& target)>;
void expand_combiners(ir::Module& module, const ir::Target& target, const HasKernel& has_kernel);
// Whether a product sums so few terms that it is rather written out; then it is summed by halves.
bool is_small_product(const ir::Op& dot_general);
// All products that a dot_general sums, before it: in the order of its result, the contracted
// dimensions behind. The operands are of the result's type.
ir::Value* products_of(ir::Op* dot_general);
// Replaces such a product by broadcasts, a multiplication and a reduction.
void expand_small_product(ir::Op* dot_general);

// Whether an op does more than compute its results; control flow does what it runs.
bool has_side_effect(const ir::Op& op);

}  // namespace jaxmps::passes
