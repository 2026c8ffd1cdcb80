// Tokens only order side effects, which run in the order of the program anyway: empty values.
#include "ops/op.h"

namespace jaxmps::ops {
namespace {

Result<Lowering> token(const OpContext& ctx) {
  const mx::Dtype dtype = ctx.out_dtype();
  Lowering lowering = native([](const void* const*, void* const*) {}, 5);
  lowering.graph = [dtype](Inputs) { return one(mx::zeros({0}, dtype)); };
  return lowering;
}

}  // namespace

ANY_DTYPE_OP(create_token) { return token(ctx); }
ANY_DTYPE_OP(after_all) { return token(ctx); }

}  // namespace jaxmps::ops
