// Calls of MLX as data: which of its operations, on operands of which layout and type, and what is
// done to the result on the way. So the executor's passes can look into them and move work into
// them: what only views an operand becomes its layout (layouts.h), a sum joins the product before
// it (epilogue.h). Plain values; a primitive belongs to the stream that it was made for.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ir/target.h"
#include "mlx/mlx.h"

namespace jaxmps::exec {

namespace mx = mlx::core;

// What a pass may ask of a call; more stands in the table of call.cc and in the primitive itself.
enum class Operation : uint8_t {
  product,
  convolution,
  transform,  // Fourier
  scan,
  sort,
  pick,    // gathers: reads as much as it writes
  update,  // scatters and updates of slices: may change an operand in place
  view,    // an operand's memory, seen another way
  copy,    // to a dense array
  other,   // elementwise ops
};

// How an operand is seen in the memory of a dense array.
struct Layout {
  mx::Shape shape;
  mx::Dtype dtype;
  mx::Strides strides;  // in elements
  mx::array::Flags flags;
  size_t data_size;    // elements of memory that it spans, from `offset` on
  int64_t offset = 0;  // bytes

  explicit Layout(const mx::array& view);
  // Of memory without gaps.
  Layout(mx::Shape shape, mx::Dtype dtype, mx::Strides strides, int64_t data_size);
  mx::array on(const mx::array& dense) const;
  // That are read.
  int64_t bytes() const;
};

// The strides along `shape` of what has `strides` along `dims`, which are as many elements; nothing
// if it has none.
std::optional<mx::Strides> regrouped(std::span<const int64_t> dims,
                                     std::span<const int64_t> strides, const mx::Shape& shape);

// What becomes of a product: alpha * product + beta * the call's last operand.
struct Epilogue {
  float alpha = 1, beta = 1;
};

struct Call {
  Operation operation = Operation::other;
  std::shared_ptr<mx::Primitive> primitive;    // does it, and has the operation's attributes
  std::vector<std::optional<Layout>> layouts;  // of the operands; none: they lie as they come
  std::optional<Epilogue> epilogue;
  double nanoseconds = 0;  // estimated

  explicit Call(std::shared_ptr<mx::Primitive> does);
  Call() = default;
  std::string_view name() const;
  // Whether its results are dense row-major where its operands are.
  bool is_dense() const;
};

// The call of another primitive that adds `beta` times one more operand, of the product's shape.
Call with_epilogue(Call product, const Epilogue& epilogue, Layout added);

// A call with its attributes, for dumps.
std::string print(const Call& call);

// What computes arrays of a graph, in an order in which it can be called. Arrays are told apart by
// their id(). Inputs are outputs of earlier calls, or leaves: arrays that have no primitive, or a
// value already.
struct TracedCall {
  Call call;
  std::vector<mx::array> inputs, outputs;
};
std::vector<TracedCall> trace(const std::vector<mx::array>& results, const ir::Pace& pace);

}  // namespace jaxmps::exec
