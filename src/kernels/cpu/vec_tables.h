// The tables that the build provides, one per instruction set; null where it was not compiled in.
// Internal to the tile machine. Stateless.
#pragma once

#include "kernels/cpu/vec.h"

namespace jaxmps::cpu {

const VecTable* vec_table_base();
const VecTable* vec_table_avx2();
const VecTable* vec_table_avx512();

}  // namespace jaxmps::cpu
