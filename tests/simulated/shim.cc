#include "simulated/shim.h"

namespace jaxmps::metal {

std::string_view shim_text() {  // NOLINT(readability-function-size): one text
  return R"(
typedef unsigned char uchar; typedef unsigned short ushort; typedef unsigned int uint;
typedef unsigned long ulong; typedef unsigned long size_t; typedef __fp16 half;
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t;
typedef unsigned long uint64_t; typedef signed char int8_t; typedef short int16_t;
typedef int int32_t; typedef long int64_t;
#ifdef METAL_SPACES
#define device __attribute__((address_space(1)))
#define constant __attribute__((address_space(2)))
#define threadgroup __attribute__((address_space(3)))
#define METAL_LOCAL(kernel_name) static threadgroup
#else
#define device
#define constant
#define threadgroup
#define METAL_LOCAL(kernel_name) static __attribute__((used, section("shared_" #kernel_name)))
#endif
#define thread
#define kernel
#define double double_does_not_exist_in_Metal
struct uint2 { uint x, y; };
struct uint3 { uint x, y, z; };
struct ushort3 { ushort x, y, z; };
struct metal_position {
  uint3 threadgroup_position_in_grid, thread_position_in_threadgroup, threads_per_threadgroup;
  uint3 threadgroups_per_grid, thread_position_in_grid, threads_per_grid;
  uint thread_index_in_threadgroup, thread_index_in_simdgroup, simdgroup_index_in_threadgroup;
  uint threads_per_simdgroup, simdgroups_per_threadgroup;
};
struct metal_functions {
  void (*barrier)(bool);
  void (*exchange)(const void*, void*, uint, uint);
  uint (*lane)();
  void (*access)(const void*, uint, bool);
};
extern "C" __attribute__((visibility("default"))) metal_functions metal_host;
template <typename T> struct metal_argument;
template <> struct metal_argument<uint> { static uint of(uint3 p) { return p.x; } static uint of(uint p) { return p; } };
template <> struct metal_argument<ushort> { static ushort of(uint3 p) { return p.x; } static ushort of(uint p) { return p; } };
template <> struct metal_argument<uint2> { static uint2 of(uint3 p) { return {p.x, p.y}; } };
template <> struct metal_argument<uint3> { static uint3 of(uint3 p) { return p; } };
template <> struct metal_argument<ushort3> { static ushort3 of(uint3 p) { return {(ushort)p.x, (ushort)p.y, (ushort)p.z}; } };
// A buffer as the kernel's parameter wants it.
struct metal_pointer {
  void* at;
#ifdef METAL_SPACES
  template <typename T> operator constant T*() const { return (constant T*)(size_t)at; }
#endif
  template <typename T> operator device T*() const { return (device T*)(size_t)at; }
};
struct metal_reference {
  void* at;
#ifdef METAL_SPACES
  template <typename T> operator constant T&() const { return *(constant T*)(size_t)at; }
#endif
  template <typename T> operator device T&() const { return *(device T*)(size_t)at; }
};
template <typename To, typename From> static inline To as_type(From x) { return __builtin_bit_cast(To, x); }
namespace metal {
enum class mem_flags { mem_none, mem_device, mem_threadgroup, mem_texture };
static inline void threadgroup_barrier(mem_flags) { metal_host.barrier(false); }
static inline void simdgroup_barrier(mem_flags) { metal_host.barrier(true); }
template <typename T> struct metal_wide { static_assert(sizeof(T) <= 4, "simd functions take at most 32 bits"); };
template <typename T> static inline T simd_shuffle(T x, ushort lane) {
  metal_wide<T> check; (void)check;
  T r; metal_host.exchange(&x, &r, sizeof(T), lane); return r;
}
template <typename T> static inline T simd_shuffle_xor(T x, ushort mask) { return simd_shuffle(x, metal_host.lane() ^ mask); }
template <typename T> static inline T simd_shuffle_down(T x, ushort by) { return simd_shuffle(x, metal_host.lane() + by); }
template <typename T> static inline T simd_shuffle_up(T x, ushort by) { return simd_shuffle(x, metal_host.lane() - by); }
template <typename T> static inline T simd_broadcast(T x, ushort lane) { return simd_shuffle(x, lane); }
template <typename T> static inline T simd_sum(T x) { for (ushort m = 16; m; m /= 2) x = x + simd_shuffle_xor(x, m); return x; }
template <typename T> static inline T simd_max(T x) { for (ushort m = 16; m; m /= 2) { T y = simd_shuffle_xor(x, m); x = x > y ? x : y; } return x; }
template <typename T> static inline T simd_min(T x) { for (ushort m = 16; m; m /= 2) { T y = simd_shuffle_xor(x, m); x = x < y ? x : y; } return x; }
static inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline float rint(float x) { return __builtin_rintf(x); }
static inline float round(float x) { return __builtin_roundf(x); }
static inline float ceil(float x) { return __builtin_ceilf(x); }
static inline float floor(float x) { return __builtin_floorf(x); }
static inline float trunc(float x) { return __builtin_truncf(x); }
static inline float fabs(float x) { return __builtin_fabsf(x); }
static inline float copysign(float x, float y) { return __builtin_copysignf(x, y); }
static inline bool isnan(float x) { return x != x; }
template <typename T> static inline T max(T a, T b) { return a > b ? a : b; }
template <typename T> static inline T min(T a, T b) { return a < b ? a : b; }
template <typename T> static inline T popcount(T x) { return (T)__builtin_popcountl((ulong)x & (~0ul >> (64 - 8 * sizeof(T)))); }
template <typename T> static inline T clz(T x) {
  const ulong u = (ulong)x & (~0ul >> (64 - 8 * sizeof(T)));
  return (T)(u ? __builtin_clzl(u) - (64 - 8 * (int)sizeof(T)) : 8 * (int)sizeof(T));
}
namespace precise {
static inline float sqrt(float x) { return __builtin_sqrtf(x); }
static inline float exp(float x) { return __builtin_expf(x); }
static inline float log(float x) { return __builtin_logf(x); }
}
using precise::sqrt; using precise::exp; using precise::log;
namespace fast = precise;
}
#ifdef METAL_CHECKS
#define METAL_QUIET __attribute__((no_sanitize("thread")))
#define METAL_ACCESS(n) \
  extern "C" METAL_QUIET void __tsan_read##n(void* p) { metal_host.access(p, n, false); } \
  extern "C" METAL_QUIET void __tsan_write##n(void* p) { metal_host.access(p, n, true); } \
  extern "C" METAL_QUIET void __tsan_unaligned_read##n(void* p) { metal_host.access(p, n, false); } \
  extern "C" METAL_QUIET void __tsan_unaligned_write##n(void* p) { metal_host.access(p, n, true); }
METAL_ACCESS(1) METAL_ACCESS(2) METAL_ACCESS(4) METAL_ACCESS(8) METAL_ACCESS(16)
extern "C" METAL_QUIET void __tsan_read_write4(void* p) { metal_host.access(p, 4, true); }
extern "C" METAL_QUIET void __tsan_read_write8(void* p) { metal_host.access(p, 8, true); }
extern "C" METAL_QUIET void __tsan_func_entry(void*) {}
extern "C" METAL_QUIET void __tsan_func_exit() {}
extern "C" METAL_QUIET void __tsan_init() {}
#endif
)";
}

}  // namespace jaxmps::metal
