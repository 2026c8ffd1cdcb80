// Views that only calls and kernels read are no steps: their readers see the memory behind them, a
// call with the layout that the views come to. JAX_MPS_REUSE=0 keeps the steps.
#pragma once

#include "exec/plan.h"

namespace jaxmps::exec {

// `parameters` are those of the plan. Before slots are freed; the constants of the plan are views
// of nothing.
void fold_views(Plan& plan, const std::vector<ir::Value*>& parameters);

}  // namespace jaxmps::exec
