// Test support: fusions as Metal, compiled together and run on the CPU, against the tile machine.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/gpu.h"
#include "simulated/metal.h"
#include "support/graph.h"
#include "support/random_fusion.h"

namespace jaxmps::test {

using kernels::Fusion;
using kernels::GpuFusion;
using kernels::GpuKernel;

struct PrintedFusion {
  Fusion fusion;
  GpuFusion kernels;
  double tolerance = 0;
  std::string what;
};

// Fusions that are compiled together.
struct MetalProgram {
  std::vector<PrintedFusion> fusions;

  // False if there is no fusion or no kernel of it. Results of functions differ by their ulps, a
  // float32's or a bfloat16's.
  bool add(const Graph& g, double tolerance, const std::string& what);
  bool add(Fusion fusion, double tolerance, const std::string& what);
  std::string text() const;
};

std::vector<Buffer> run_metal(metal::Library& library, const PrintedFusion& p,
                              std::vector<Buffer>& inputs);

// Compares as the fusions say, on random inputs or on those given.
void check(const MetalProgram& program, bool checks_accesses,
           const std::function<Buffer(const Type&, std::mt19937&)>& input = random_buffer);

}  // namespace jaxmps::test
