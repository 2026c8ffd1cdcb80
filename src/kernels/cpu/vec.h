// The vectorised loops of the tile machine: one per opcode and type, compiled for several
// instruction sets from one source (vec_impl.h); the best the processor has is chosen once.
// Stateless functions, callable from any thread.
#pragma once

#include <cstdint>

#include "scalar/opcode.h"

namespace jaxmps::cpu {

using kernels::DType;
using kernels::Opcode;

// dst may be exactly one of a, b, c when the element sizes agree. n >= 0; reductions need n >= 1,
// take a and write one element.
using VecFn = void (*)(void* dst, const void* a, const void* b, const void* c, int64_t n,
                       uint64_t imm);

// Which operands are single values: bit 0 for a, bit 1 for b, bit 2 for c.
enum : int { kAllVectors = 0, kScalarA = 1, kScalarB = 2, kScalarC = 4 };

// A function of single elements, T(T) or T(T, T), and its forms for vectors of 4, 8 and 16 of them
// in a register each; null where there is none. What the loops compute, bit by bit.
struct ElementFn {
  const void* single = nullptr;
  const void* vectors[3] = {};
};

struct VecTable {
  const char* name;
  // Null where there is no loop of that form: broadcast the single values then; null for
  // kAllVectors: not supported at all. `from` is the type of operand a (of b for select).
  VecFn (*find)(Opcode op, DType type, DType from, int form);
  // dst = a * b + c of floats, both rounded, where b and c may be single values; null where there
  // is no such loop.
  VecFn (*find_multiply_add)(DType type, int form);
  // dst = n times the one element of a.
  VecFn (*find_spread)(int size);
  // words[0..3] in (keys and counts), dst0 and dst1 out.
  void (*threefry)(uint32_t* dst0, uint32_t* dst1, const uint32_t* const* words, const bool* single,
                   int64_t n);
  // Copies n elements of `size` bytes from a strided source (stride in elements of `unit` bytes).
  void (*gather)(void* dst, const void* src, int64_t stride, int64_t n, int size);
  void (*fill)(void* dst, uint64_t value, int64_t n, int size);
  // For functions of operands of machine type `type`, which is the result's too.
  ElementFn (*find_element)(Opcode op, DType type);
};

// The best table for this processor.
const VecTable& vec_table();
// The table "base", "avx2" or "avx512", or null if the processor or the build lacks it.
const VecTable* vec_table(const char* name);

}  // namespace jaxmps::cpu
