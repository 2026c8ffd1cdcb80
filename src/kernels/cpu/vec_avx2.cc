#include "kernels/cpu/vec_tables.h"

// Compiled with this instruction set switched on by the build; elsewhere there is no such table.
#ifdef __AVX2__
#include "kernels/cpu/vec_impl.h"

namespace jaxmps::cpu {
const VecTable* vec_table_avx2() {
  static constexpr VecTable kTable = {"avx2",        find_loop,   find_multiply_add, find_spread,
                                      threefry_loop, gather_loop, fill_loop,         find_element};
  return &kTable;
}
}  // namespace jaxmps::cpu
#else
namespace jaxmps::cpu {
const VecTable* vec_table_avx2() { return nullptr; }
}  // namespace jaxmps::cpu
#endif
