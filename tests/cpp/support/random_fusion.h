// Test support: random fusions, and buffers to compare what they give.
#pragma once

#include <random>
#include <string>

#include "support/graph.h"

namespace jaxmps::test {

double as_double(DType dtype, const uint8_t* at);
// Integers, predicates: bits. Floats: within a tolerance, as sums are ordered freely.
void expect_equal(const Type& type, const Buffer& want, const Buffer& have, double tolerance,
                  const std::string& what);
Buffer random_buffer(const Type& type, std::mt19937& rng);
// Index maps and elementwise ops of the type returned.
DType random_loop(Graph* g, uint32_t seed, bool with_float64 = true);
// Reductions along the same axes of one shape, with what follows from them.
void random_reduction(Graph* g, uint32_t seed);

}  // namespace jaxmps::test
