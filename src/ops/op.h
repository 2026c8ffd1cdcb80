// How an op runs: one OP block per op states everything about it, in the file of its family.
//
//   OP(slice) {
//     const auto start = ctx.shape("start_indices"), stop = ctx.shape("limit_indices"), ...;
//     return graph([=](Inputs in) { return one(mx::slice(in[0], start, stop, step)); });
//   }
//
// The block runs once, when the program is compiled; what it returns is what an execution does:
//   graph   builds MLX arrays, on every device: it runs once, on stand-ins for the operands, and
//           what it built is called at every execution, primitive by primitive;
//   launch  kernels of ours on a GPU;
//   native  a CPU kernel on dense row-major memory, preferred on the CPU where the block gives one;
//   alias   the result is the first operand's memory under another shape;
//   view    beside native: the result is a part of the first operand's memory.
// The verifier has accepted the op: a block checks only what it does not support, and answers
// `ctx.fail("why")`, which refuses the program when it is compiled. MLX exceptions may pass through
// a block and its lambdas; exec/ turns them into errors. Blocks are called from many threads.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/target.h"
#include "kernels/gpu.h"
#include "mlx/mlx.h"

namespace jaxmps::ops {

namespace mx = mlx::core;
using ir::DType;
using ir::Target;

// The operands in a graph, without values.
class Inputs {
 public:
  explicit Inputs(std::span<const mx::array* const> arrays) : arrays_(arrays) {}
  const mx::array& operator[](size_t i) const { return *arrays_[i]; }
  size_t size() const { return arrays_.size(); }

 private:
  std::span<const mx::array* const> arrays_;
};

using Arrays = std::vector<mx::array>;
using Graph = std::function<Arrays(Inputs)>;
// Operands and results are dense row-major in the types of the op, results uninitialised (or the
// memory of the operand they reuse). May throw std::bad_alloc and Failure; may use every core.
using Native = std::function<void(const void* const* in, void* const* out)>;

// A kernel of ours on a GPU, as data: what is launched, on what.
struct Launch {
  std::string name;
  std::shared_ptr<const void> function;  // the target's
  int64_t blocks = 1;
  int threads = 1;  // of a block
  // Its parameters, in this order: operands, scratch memory that the launch before it has written,
  // results, scratch memory that it writes, the encoder's counters.
  std::vector<int> inputs, outputs;
  std::vector<kernels::GpuUpdate> updates;
  bool reads_scratch = false;
  int64_t scratch_bytes = 0;
  bool has_counters = false;
  std::vector<int64_t> reads;  // bytes of each of `inputs`
  // Estimated. What takes long is launched in pieces, each of which is told its first block.
  double nanoseconds = 0;
  int64_t pieces = 1;
};

struct Lowering {
  Graph graph;
  Native native;
  // On a GPU, before `graph`: what computes the results, one after the other.
  std::vector<Launch> launches = {};
  bool alias = false;
  // On the CPU: where in the memory of the first operand the result lies as it is, in elements of
  // their type, given the operands. The executor takes it instead of `native` where nothing is
  // overwritten or kept alive by that.
  std::function<int64_t(const void* const* in)> view = nullptr;
  // The native kernel takes whatever comes: a fused kernel of the op is preferred.
  bool is_general = false;
  // Without a graph, the native kernel serves the other devices too, which wait for its operands.
  bool on_host = false;
  // For native: reuse[i] = k lets result i take the memory of operand k when nothing else holds it;
  // -1: never. Empty: never for all.
  std::vector<int> reuse;
  // Instead of `reuse`, where there is a choice: the operands whose memory result i may take.
  std::vector<std::vector<int>> choices = {};
  // Estimated time of one execution on one core; decides what runs on the caller's thread.
  double nanoseconds = 0;
};

class OpContext {
 public:
  OpContext(const ir::Op& op, const Target& target) : op(op), target(target) {}

  const ir::Op& op;
  const Target& target;

  const ir::Type& in(int i) const { return op.operand(i)->type; }
  const ir::Type& out(int i = 0) const { return op.result(i)->type; }
  mx::Shape in_shape(int i) const;
  mx::Shape out_shape(int i = 0) const;
  mx::Dtype out_dtype(int i = 0) const;
  // An integer-list attribute as an MLX shape, or as ints (axes).
  mx::Shape shape(std::string_view attr) const;
  std::vector<int> axes(std::string_view attr) const;
  Error fail(std::string_view reason) const { return ir::refuse(op, reason); }
};

// MLX counts the elements along one dimension with 32 bits.
constexpr int64_t kLargestDim = (int64_t(1) << 31) - 1;
bool fits_dimensions(const ir::Type& type);
// How a value of this type is stored in an MLX array. Sub-byte integers and 4-, 6- and 8-bit floats
// are one byte (int8 for signed integers, uint8 for the rest). complex128 is float64 with a
// trailing dimension of 2. A token is an empty bool array.
mx::Dtype storage_dtype(DType dtype);
mx::Shape storage_shape(const ir::Type& type);
mx::Shape to_shape(const ir::Dims& dims);
std::vector<int> to_axes(const ir::Ints& values);
// Whether MLX computes with the type itself (so that storage and meaning agree).
bool is_mlx_native(DType dtype);
// A constant as an array that is available; a splat as one value, a scalar of the type.
mx::array constant_array(const ir::Dense& dense);
// Of a dense row-major array, in bytes.
ir::Dims byte_strides(const ir::Type& type);
// Whether a window of these sizes at any place is one run of the dense array's elements.
bool is_one_run(const ir::Dims& sizes, const ir::Dims& array);

inline Arrays one(mx::array a) {
  Arrays out;
  out.push_back(std::move(a));
  return out;
}
inline Lowering graph(Graph g) { return {.graph = std::move(g), .native = {}, .reuse = {}}; }
inline Lowering native(Native n, double nanoseconds, std::vector<int> reuse = {}) {
  return {
      .graph = {}, .native = std::move(n), .reuse = std::move(reuse), .nanoseconds = nanoseconds};
}

// By a native kernel alone, on every device (Lowering::on_host): for ops that have no kernel on a
// GPU, and for calls that leave the program.
Lowering everywhere(const OpContext& ctx, Native native, double nanoseconds,
                    std::vector<int> reuse = {});

using Lower = Result<Lowering> (*)(const OpContext&);

// Constants of MLX; a scalar of the array's type.
inline mx::array u32(uint32_t value) { return mx::array(value, mx::uint32); }
template <typename T>
mx::array scalar(T value, const mx::array& like) {
  return mx::array(value, like.dtype());
}
// Turned round along axes, in memory of its own: several of MLX's kernels for Metal have been wrong
// for operands whose elements lie backwards (docs/apple.md).
inline mx::array flipped(const mx::array& a, const std::vector<int>& axes) {
  return axes.empty() ? a : mx::contiguous(mx::flip(a, axes));
}
// The unsigned type of the same width.
mx::Dtype unsigned_dtype(mx::Dtype dtype);

// How an op runs on the target, or why it does not: unknown op, or a type that its block does not
// accept. (That the target has the types at all has been checked: ir::refuse_missing_types.)
Result<Lowering> lower(const ir::Op& op, const Target& target);

// The dtypes that a block accepts: those that MLX computes with; those whose elements are one
// stored element each, whose bits are moved without a look; any, complex128 with its dimension of 2
// among them, because the block itself decides. Shapes are known, and nothing is quantised.
enum class Accepts { computed, moved, any };
struct Registration {
  Registration(ir::OpId id, Accepts accepts, Lower lower);
};

#define OP(id) OP_ACCEPTING(id, computed)
#define MOVEMENT_OP(id) OP_ACCEPTING(id, moved)
#define ANY_DTYPE_OP(id) OP_ACCEPTING(id, any)
#define OP_ACCEPTING(id, dtypes)                                           \
  static ::jaxmps::Result<::jaxmps::ops::Lowering> lower_##id(             \
      const ::jaxmps::ops::OpContext& ctx);                                \
  static const ::jaxmps::ops::Registration registration_##id(              \
      ::jaxmps::ir::OpId::id, ::jaxmps::ops::Accepts::dtypes, lower_##id); \
  static ::jaxmps::Result<::jaxmps::ops::Lowering> lower_##id(             \
      [[maybe_unused]] const ::jaxmps::ops::OpContext& ctx)

}  // namespace jaxmps::ops
