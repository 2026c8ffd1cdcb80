#include "kernels/gpu_dialect.h"

#include <string>

#include "base/result.h"
#include "scalar/scalar.h"

namespace jaxmps::kernels {
namespace {

// m_* are functions of the library that round correctly; *_of are those of scalar programs.
constexpr std::string_view kCuda =
    R"(typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64;
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64; typedef float f32;
#define FN static __device__ __forceinline__
#define KERNEL(name, ...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__) name
#define IN(T, name, number) const T* __restrict__ name
#define OUT(T, name, number) T* __restrict__ name
#define POSITION
#define ENTER u32 block_id = blockIdx.x; const u32 thread_id = threadIdx.x;
#define SHARED(T, name, count) __shared__ T name[count]
#define SCRATCH(T, offset) ((T*)(scratch + offset))
#define BARRIER() __syncthreads()
FN f32 from_bits(u32 x) { return __uint_as_float(x); }
FN u32 bits_of(f32 x) { return __float_as_uint(x); }
FN u32 m_popcount(u64 x) { return (u32)__popcll(x); }
FN u32 m_clz(u64 x) { return (u32)__clzll(x); }
FN f32 m_fma(f32 a, f32 b, f32 c) { return fmaf(a, b, c); }
FN f32 m_sqrt(f32 x) { return sqrtf(x); }
FN f32 m_rint(f32 x) { return rintf(x); }
FN f32 m_from_f16(u16 h) { f32 r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(h)); return r; }
FN u16 m_to_f16(f32 x) { u16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x)); return r; }
#if __CUDA_ARCH__ >= 800
#define encode_bf16 own_encode_bf16
#endif
template <typename T> FN T shuffle(T v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
FN u8 shuffle(u8 v, int mask) { return (u8)__shfl_xor_sync(0xffffffffu, (u32)v, mask); }
FN s8 shuffle(s8 v, int mask) { return (s8)__shfl_xor_sync(0xffffffffu, (int)v, mask); }
FN u16 shuffle(u16 v, int mask) { return (u16)__shfl_xor_sync(0xffffffffu, (u32)v, mask); }
FN s16 shuffle(s16 v, int mask) { return (s16)__shfl_xor_sync(0xffffffffu, (int)v, mask); }
// Whether the block is the last of `count` to come here: it sees what the others wrote before.
FN bool is_last(u32* counter, u32 count) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(counter, 1u) + 1 == count;
    if (last) *counter = 0;
    __threadfence();
  }
  __syncthreads();
  return last;
}
template <typename T> FN T of_others(const T* p) { return __ldcg(p); }
FN float4 operator+(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
)";

// Where there is an instruction for it.
constexpr std::string_view kCudaEncode = R"(#ifdef encode_bf16
#undef encode_bf16
FN u16 encode_bf16(f32 x) {
  u16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return x != x ? own_encode_bf16(x) : r;
}
#endif
)";

constexpr std::string_view kMetal = R"(#include <metal_stdlib>
using namespace metal;
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
typedef char s8; typedef short s16; typedef int s32; typedef long s64;
typedef uchar u8; typedef ushort u16; typedef uint u32; typedef ulong u64; typedef float f32;
#define FN static inline __attribute__((always_inline))
#define KERNEL(name, threads) [[kernel, max_total_threads_per_threadgroup(threads)]] void name
#define IN(T, name, number) const device T* name [[buffer(number)]]
#define OUT(T, name, number) device T* name [[buffer(number)]]
#define FIRST_BLOCK(number) , constant u32& first_block [[buffer(number)]]
#define POSITION , uint block_id [[threadgroup_position_in_grid]], uint thread_id [[thread_position_in_threadgroup]]
#define ENTER
#define SHARED(T, name, count) threadgroup T name[count]
#define SCRATCH(T, offset) ((device T*)(scratch + offset))
#define BARRIER() metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup)
FN f32 from_bits(u32 x) { return as_type<float>(x); }
FN u32 bits_of(f32 x) { return as_type<uint>(x); }
FN u32 m_popcount(u64 x) { return (u32)metal::popcount(x); }
FN u32 m_clz(u64 x) { return (u32)metal::clz(x); }
FN f32 m_fma(f32 a, f32 b, f32 c) { return metal::fma(a, b, c); }
FN f32 m_sqrt(f32 x) { return metal::precise::sqrt(x); }
FN f32 m_rint(f32 x) { return metal::rint(x); }
FN f32 m_from_f16(u16 h) { return (f32)as_type<half>(h); }
FN u16 m_to_f16(f32 x) { return as_type<ushort>((half)x); }
FN f32 shuffle(f32 v, ushort mask) { return metal::simd_shuffle_xor(v, mask); }
FN u32 shuffle(u32 v, ushort mask) { return metal::simd_shuffle_xor(v, mask); }
FN s32 shuffle(s32 v, ushort mask) { return metal::simd_shuffle_xor(v, mask); }
FN u8 shuffle(u8 v, ushort mask) { return (u8)shuffle((u32)v, mask); }
FN s8 shuffle(s8 v, ushort mask) { return (s8)shuffle((s32)v, mask); }
FN u16 shuffle(u16 v, ushort mask) { return (u16)shuffle((u32)v, mask); }
FN s16 shuffle(s16 v, ushort mask) { return (s16)shuffle((s32)v, mask); }
FN u64 shuffle(u64 v, ushort mask) { return (u64)shuffle((u32)(v >> 32), mask) << 32 | shuffle((u32)v, mask); }
FN s64 shuffle(s64 v, ushort mask) { return (s64)shuffle((u64)v, mask); }
FN f32 ceil_of(f32 x) { return metal::ceil(x); }
FN f32 floor_of(f32 x) { return metal::floor(x); }
FN f32 round_afz_of(f32 x) { return metal::round(x); }
FN f32 round_even_of(f32 x) { return metal::rint(x); }
)";

// The name in CUDA's library, of the function of float64.
std::string_view cuda_function(Opcode op) {
  switch (op) {
    case Opcode::round_afz:
      return "round";
    case Opcode::round_even:
      return "rint";
    case Opcode::erf_inv:
      return "erfinv";
    case Opcode::rem:
      return "fmod";
    default:
      return name(op);
  }
}

// Whether CUDA's function may be further off than the table says (CUDA C++ programming guide,
// "Mathematical functions").
bool is_inexact_in_cuda(Opcode op) {
  switch (op) {
    case Opcode::acosh:
    case Opcode::asinh:
    case Opcode::atan2:
    case Opcode::atanh:
    case Opcode::erfc:
    case Opcode::hypot:
    case Opcode::pow:
    case Opcode::sinh:
    case Opcode::tan:
      return true;
    default:
      return false;
  }
}

// Our functions, among which those of the library take the place of theirs.
std::string cuda_functions() {
  std::string ours, theirs =
                        "#define F1(name, f) FN f32 name##_of(f32 a) { return f(a); }\n"
                        "#define F2(name, f) FN f32 name##_of(f32 a, f32 b) { return f(a, b); }\n";
  for (int code = 0; code < kOpcodeCount; ++code) {
    const Opcode op = static_cast<Opcode>(code);
    const OpClass c = class_of(op);
    const bool is_unary = c == OpClass::real_unary || c == OpClass::trig_unary;
    const bool is_binary = c == OpClass::real_binary || op == Opcode::rem;
    if (is_inexact_in_cuda(op) || (!is_unary && !is_binary)) continue;
    ours += str("#define ", name(op), "_of own_", name(op), "\n");
    theirs += str("#undef ", name(op), "_of\n");
    if (op == Opcode::logistic) continue;
    theirs += str(is_unary ? "F1(" : "F2(", name(op), ", ", cuda_function(op), "f)\n");
  }
  return str(ours, gpu_math_text(), gpu_float32_text(), gpu_trigonometric_text(), theirs,
             "FN f32 logistic_of(f32 x) { const f32 e = expf(-absolute(x)); "
             "return (x < 0 ? e : 1.0f) / (1.0f + e); }\n");
}

}  // namespace

const Dialect& cuda_dialect() {
  static const std::string prelude = str(kCuda, gpu_text(), kCudaEncode, cuda_functions());
  static const Dialect dialect = {ir::kCuda, prelude};
  return dialect;
}

const Dialect& metal_dialect() {
  static const std::string prelude =
      str(kMetal, gpu_text(), gpu_math_text(), gpu_float32_text(), gpu_trigonometric_text());
  static const Dialect dialect = {ir::kMetal, prelude};
  return dialect;
}

}  // namespace jaxmps::kernels
