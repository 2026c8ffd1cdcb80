// Values that depend on no operand.
#include "ops/op.h"

namespace jaxmps::ops {

OP(iota) {
  const mx::Shape shape = ctx.out_shape();
  const int axis = static_cast<int>(ctx.op.i64("iota_dimension"));
  return graph([=, dtype = ctx.out_dtype()](Inputs) {
    mx::Shape line(shape.size(), 1);
    line[axis] = shape[axis];
    const auto numbers = mx::astype(mx::arange(0, shape[axis], 1), dtype);
    return one(mx::broadcast_to(mx::reshape(numbers, line), shape));
  });
}

ANY_DTYPE_OP(constant) {
  // A splat is spread when it runs: on the thread, and so on the stream, of the device that runs
  // it.
  return graph([value = constant_array(ctx.op.dense("value")), shape = ctx.out_shape()](Inputs) {
    return one(mx::broadcast_to(value, shape));
  });
}

}  // namespace jaxmps::ops
