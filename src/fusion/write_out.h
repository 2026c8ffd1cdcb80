// Loops over a short innermost axis as loops over the other axes, whose points do the work of all
// its positions: columns, pairs and stacks of a few numbers become vectors, and bounds on that axis
// are known. Pure; any thread.
#pragma once

#include <optional>

#include "fusion/fusion.h"

namespace jaxmps::fusion {

// Nothing if the fusion has no such axis, innermost or with bounds, or would become too long. Of n
// outputs, those numbered k, k + n, k + 2 n, … are parts of output k. Every value is computed as
// before.
std::optional<Fusion> write_out_short_axes(const Fusion& fusion);

}  // namespace jaxmps::fusion
