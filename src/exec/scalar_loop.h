// Loops over scalars: a `while` whose carried values are scalars and whose condition and body are
// elementwise runs inside one step, as an interpreter over two scalar programs, with no array made
// per iteration.
#pragma once

#include "ops/op.h"

namespace jaxmps::exec {

// The loop as one native kernel; its operands are the carried values, then `captures`. An error
// says why the loop is not of this form.
Result<ops::Lowering> lower_scalar_loop(const ir::Op& loop,
                                        const std::vector<ir::Value*>& captures);

}  // namespace jaxmps::exec
