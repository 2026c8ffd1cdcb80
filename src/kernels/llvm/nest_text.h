// One nest of loops over a fusion's axes; internal to the printing of fusions. Reduced axes are
// written out.
#pragma once

#include "fusion/fusion.h"
#include "kernels/llvm/text.h"

namespace jaxmps::kernels {

// A fusion of no more points is written out: no loop at all.
inline constexpr int64_t kFewPoints = 16;

// As can_print and print_fusion. The first axes are walked by whoever gives their indices.
bool can_print_nest(const Fusion& fusion, size_t given);
// Of axis `cut`, if not -1, only the part in [%begin, %end) is walked.
void print_nest(LlvmText* text, std::string* to, const Fusion& fusion,
                const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                const std::vector<std::string>& given, int cut = -1);
// The best axis to cut so, or -1; of some axes, outermost first.
int axis_to_cut(const Fusion& fusion);
int longest_axis(const Fusion& fusion, const std::vector<int>& axes);

}  // namespace jaxmps::kernels
