// Counter-based random bits: Threefry-2x32 and Philox-4x32-10, with the streams that XLA gives for
// stablehlo.rng_bit_generator. Everything is a pure function of key and counter; any thread; the
// work is spread over all cores.
#pragma once

#include <cstdint>

#include "ir/type.h"

namespace jaxmps::cpu {

// Fills `out`, an array of these dimensions of elements of 1, 2, 4 or 8 bytes; state is (key,
// counter) and gets the advanced counter.
void threefry_bits(const ir::Dims& dims, int element_bytes, const uint64_t* state,
                   uint64_t* new_state, void* out);
// State is (key, counter) or (key, counter, high half of the counter), `state_words` long.
void philox_bits(int64_t count, int element_bytes, int state_words, const uint64_t* state,
                 uint64_t* new_state, void* out);

// Random bits that no seed repeats: `words` of 64, from a generator seeded by the system.
void system_random(int64_t words, uint64_t* out);

}  // namespace jaxmps::cpu
