// Stable sorting of rows on the CPU. Keys of all types become unsigned integers of the same order;
// rows are then radix-sorted as (key, position) pairs on all cores, or, for comparators that are no
// order of keys, merge-sorted by a callback.
// Plans are built when a program is compiled and are immutable. Thread-safe. Working memory is
// allocated per call: std::bad_alloc is thrown when there is none.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "ir/type.h"

namespace jaxmps::cpu {

struct SortKey {
  enum class Part : uint8_t { whole, real, imag };
  int operand = 0;
  ir::DType dtype = ir::DType::f32;  // of the operand
  Part part = Part::whole;
  bool equal_zeros = false;  // -0 and +0 are one key; else -0 is smaller
  bool equal_nans =
      false;  // all NaN are one key above all; else by their bits, negative ones first
  bool descending = false;

  // The type of the compared value.
  ir::DType key_dtype() const;
  bool operator==(const SortKey&) const = default;
};
// Whether there is an encoding for this key's type.
bool can_encode(const SortKey& key);

struct SortPlan {
  int64_t outer = 1, n = 0, inner = 1;  // rows are [outer][n][inner] along the middle dimension
  std::vector<SortKey> keys;            // most significant first
  std::vector<int> element_bytes;       // per operand
};

void sort(const SortPlan& plan, const void* const* in, void* const* out);

// Whether element a of the operands (row-major offsets) goes before element b.
using Before = std::function<bool(int64_t a, int64_t b)>;
// `make_before` is called once per thread of work, with the operands.
void sort_by(const SortPlan& plan, const std::function<Before(const void* const*)>& make_before,
             const void* const* in, void* const* out);

// The k largest of each row of n, with their s32 positions; ties by lower position. Floats in total
// order: NaN above all, negative NaN below all, +0 above -0.
void top_k(ir::DType dtype, int64_t rows, int64_t n, int64_t k, const void* in, void* values,
           int32_t* indices);

}  // namespace jaxmps::cpu
