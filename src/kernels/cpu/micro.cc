#include "kernels/cpu/micro.h"

namespace jaxmps::cpu {
namespace {

#if defined(__x86_64__)
const MicroSet* choose() {
  __builtin_cpu_init();
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (wide && micro_set_avx512() != nullptr) return micro_set_avx512();
  const bool medium = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (medium && micro_set_avx2() != nullptr) return micro_set_avx2();
  return micro_set_generic();
}

// cpuid leaf 7, subleaf 1, eax bit 5: not every compiler knows a name for it.
bool has_bf16() {
  if (choose() != micro_set_avx512()) return false;
  unsigned a = 7, b = 0, c = 1, d = 0;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  return ((a >> 5) & 1u) != 0;
}
#else
const MicroSet* choose() { return micro_set_generic(); }
bool has_bf16() { return false; }
#endif

const MicroSet& chosen() {
  static const MicroSet* const set = choose();
  return *set;
}

}  // namespace

const Micro<float, float>& micro_f32() { return chosen().f32; }
const Micro<double, double>& micro_f64() { return chosen().f64; }
const Micro<uint32_t, int32_t>* micro_i16() { return chosen().i16; }

const Micro<uint32_t, float>* micro_bf16() {
  static const Micro<uint32_t, float>* const found = has_bf16() ? micro_bf16_avx512() : nullptr;
  return found;
}

bool micro_is_fast() { return &chosen() == micro_set_avx512(); }

}  // namespace jaxmps::cpu
