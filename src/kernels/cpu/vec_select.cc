#include <string_view>

#include "kernels/cpu/vec_tables.h"

namespace jaxmps::cpu {
namespace {

bool has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool has_avx512() {
#if defined(__x86_64__)
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

}  // namespace

const VecTable* vec_table(const char* name) {
  const std::string_view wanted = name;
  if (wanted == "avx512") return has_avx512() ? vec_table_avx512() : nullptr;
  if (wanted == "avx2") return has_avx2() ? vec_table_avx2() : nullptr;
  return wanted == "base" ? vec_table_base() : nullptr;
}

const VecTable& vec_table() {
  static const VecTable* const table = [] {
    if (const VecTable* best = vec_table("avx512")) return best;
    if (const VecTable* good = vec_table("avx2")) return good;
    return vec_table_base();
  }();
  return *table;
}

}  // namespace jaxmps::cpu
