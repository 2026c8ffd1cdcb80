// What tests of the CPU's kernels share.
#pragma once

#include <random>
#include <vector>

#include "kernels/cpu/tile.h"
#include "support/graph.h"

namespace jaxmps::test {

// A number of [low, high].
inline int pick(std::mt19937& rng, int low, int high) {
  return low + static_cast<int>(rng() % static_cast<uint32_t>(high - low + 1));
}

// What the fusion's kernel makes of its inputs.
inline std::vector<Buffer> run(const cpu::TileKernel& kernel, const fusion::Fusion& f,
                               const std::vector<Buffer>& inputs) {
  std::vector<const void*> in;
  std::vector<void*> out;
  std::vector<Buffer> results;
  for (const Buffer& b : inputs) in.push_back(b.data());
  for (const auto& o : f.outputs)
    results.emplace_back(static_cast<size_t>(o.type.byte_count()), 0xee);
  for (Buffer& b : results) out.push_back(b.data());
  kernel.run(in.data(), out.data());
  return results;
}

}  // namespace jaxmps::test
