// Fusions: scalar arithmetic over index maps, with any number of outputs and reductions.
//
// A Fusion is what every printer (the tile machine, LLVM's text, GPUs) works from. The iteration
// space `dims` is walked in row-major order. Axes [reduced_begin, reduced_end) are reduced: none
// for a loop, the innermost for rows (softmax, layer norm: several reductions over the same row,
// each may use the result of those before), outer ones with kept axes inside them for columns.
// Beside the reductions of rows there may be totals: sums over all rows, one for each position in
// them, which nothing inside of the rows depends on.
// Values: plain data built once from an `mps.fusion` op, immutable afterwards, shared by threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/module.h"
#include "scalar/scalar.h"

namespace jaxmps::fusion {

using namespace scalar;

// offset + sum(strides[a] * i[a]) at the point i of an iteration space.
struct Affine {
  int64_t offset = 0;
  std::vector<int64_t> strides;  // one per axis
  bool operator==(const Affine&) const = default;
  Affine& operator*=(int64_t factor) {
    offset *= factor;
    for (int64_t& stride : strides) stride *= factor;
    return *this;
  }
};

// Where an index must lie for an access to touch memory: lo <= i[axis] < hi.
struct Bound {
  int axis;
  int64_t lo, hi;
  bool operator==(const Bound&) const = default;
};

// A source of one machine value per point i of the iteration space:
//   memory    the element with this number of `inputs[input]`, read as `type`
//             (complex inputs count in parts); 0 where a bound fails. A load with an operand reads
//             that many elements further on; the program has clamped it into the array.
//   index     the number itself, as `type` (s32 or s64)
//   inside    pred: all bounds hold
struct Access : Affine {
  enum class Kind : uint8_t { memory, index, inside };
  Kind kind = Kind::memory;
  DType type = DType::f32;
  int input = -1;
  std::vector<Bound> bounds;
  bool operator==(const Access&) const = default;
};

// Where point i goes, in elements of the output, with no stride along reduced axes for a value per
// row or column.
struct FusionOutput : Affine {
  ir::Type type;
  ScalarValue value;  // storage form
  // Of an update in place: the instruction that says how many elements further on each point goes
  // (-1: none), and the input in whose memory, which nothing of the fusion reads.
  int32_t shift = -1;
  int updates = -1;
};

inline constexpr size_t kMaxAxes = 60;

struct Fusion {
  enum class Kind : uint8_t { loop, row, column };
  Kind kind = Kind::loop;
  ir::Dims dims;  // kMaxAxes at most
  int reduced_begin = 0, reduced_end = 0;
  std::vector<ir::Type> inputs;
  std::vector<Access> accesses;
  // `load`, `reduce_*` and `total` instead of `input`; `outputs` unused.
  ScalarProgram program;
  std::vector<FusionOutput> outputs;

  int64_t size() const { return ir::element_count(dims); }
  // How many elements of the output are written.
  int64_t written(const FusionOutput& out) const {
    int64_t count = 1;
    for (size_t a = 0; a < dims.size(); ++a) count *= out.strides[a] != 0 ? dims[a] : 1;
    return count;
  }
};

// Describes an `mps.fusion` op, or says why no single kernel can do it (then run the ops of its
// region one by one). Accepts every elementwise op, broadcast_in_dim, transpose, reshape, slice,
// reverse, pad without interior padding, concatenate, iota, gather and dynamic_slice (the operand
// being an input, or one of elementwise ops of one array), splat constants, results that are
// dynamic_update_slice of an input (for GPUs), and reduce of one operand with a simple
// combiner; all reductions of a fusion have one operand shape and dimensions, but beside those of
// rows there may be sums of float32 (or narrower) over exactly the other dimensions, from 0; and an
// operand may lack kept dimensions, such as the vector of a product, which each row or column then
// reduces for itself.
// With `turn_short_rows`, many rows of up to 32 elements become columns: the rows are then
// innermost, which suits vectors but not threads.
Result<Fusion> build_fusion(const ir::Op& fusion_op, bool turn_short_rows = true);
// The same for a region whose arguments are the inputs and whose terminator names the outputs.
Result<Fusion> build_fusion(const ir::Region& region, bool turn_short_rows = true);

std::string print(const Fusion& fusion);

}  // namespace jaxmps::fusion

// Kernels are made from them.
namespace jaxmps::kernels {
using namespace fusion;
}
