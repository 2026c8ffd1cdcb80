// Fusions as LLVM text: nests of loops whose innermost one LLVM makes vector code of. Short axes
// and reduced ones are written out, axes on which accesses have bounds are cut where a bound begins
// or ends, and what does not change in a loop is computed before it.
#pragma once

#include "fusion/fusion.h"
#include "kernels/llvm/text.h"

namespace jaxmps::kernels {

// Whether the fusion has a text: not one that is too long written out, or has a function without
// text, a reduction of many values or one with a complex result. Reductions are combined as a tile
// kernel does that holds them in one tile (cpu/tile.h).
bool can_print(const Fusion& fusion);

// Appends the fusion to a block that goes on behind it. `inputs`, `outputs`: names of the buffers'
// addresses. An output may be the memory of an input whose elements it overwrites one by one.
void print_fusion(LlvmText* text, std::string* to, const Fusion& fusion,
                  const std::vector<std::string>& inputs, const std::vector<std::string>& outputs);

// A fusion as a function of its own: void (inputs, outputs, begin, end), which does the work of
// some of its `parts`, those in [begin, end), on any thread.
struct LlvmKernel {
  using Function = void (*)(const void* const* in, void* const* out, int64_t begin, int64_t end);
  static constexpr const char* kName = "jaxmps_fusion";

  LlvmModule module;
  int64_t parts;
};

// Of what can be printed. `kept`: the inputs whose memory is none of the outputs'.
LlvmKernel print_kernel(const Fusion& fusion, const std::vector<bool>& kept);

}  // namespace jaxmps::kernels
