#include "kernels/cpu/vec_tables.h"

// Compiled with this instruction set switched on by the build; elsewhere there is no such table.
#ifdef __AVX512DQ__
#include "kernels/cpu/vec_impl.h"

namespace jaxmps::cpu {
const VecTable* vec_table_avx512() {
  static constexpr VecTable kTable = {"avx512",      find_loop,   find_multiply_add, find_spread,
                                      threefry_loop, gather_loop, fill_loop,         find_element};
  return &kTable;
}
}  // namespace jaxmps::cpu
#else
namespace jaxmps::cpu {
const VecTable* vec_table_avx512() { return nullptr; }
}  // namespace jaxmps::cpu
#endif
