// One nest of loops over a fusion's axes; internal to the printing of fusions. Reduced axes are
// written out.
#pragma once

#include "fusion/fusion.h"
#include "kernels/llvm/text.h"

namespace jaxmps::kernels {

// As can_print and print_fusion. The first axes are walked by whoever gives their indices.
Status can_print_nest(const Fusion& fusion, size_t given);
void print_nest(LlvmText* text, std::string* to, const Fusion& fusion,
                const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                const std::vector<std::string>& given);

}  // namespace jaxmps::kernels
