#include "kernels/cpu/vec_impl.h"
#include "kernels/cpu/vec_tables.h"

namespace jaxmps::cpu {
const VecTable* vec_table_base() {
  static constexpr VecTable kTable = {"base",        find_loop,   find_multiply_add, find_spread,
                                      threefry_loop, gather_loop, fill_loop,         find_element};
  return &kTable;
}
}  // namespace jaxmps::cpu
