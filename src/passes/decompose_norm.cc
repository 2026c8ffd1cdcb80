// Batch normalisation, forward and backward, over every dimension but the features.
#include "passes/decompose.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

class Norm {
 public:
  explicit Norm(Op* op)
      : build_(op), type_(op->operand(0)->type), feature_(op->i64("feature_index")) {
    for (int64_t i = 0; i < type_.rank(); ++i) {
      if (i != feature_) others_.push_back(i);
    }
    const ir::Attr* epsilon = op->find("epsilon");
    if (const auto* value = epsilon->get_if<ir::TypedFloat>()) epsilon_ = value->value;
  }

  Value* wide(Value* vector) const { return build_.broadcast(vector, type_.dims, {feature_}); }
  Value* add(Value* a, Value* b) const { return build_.binary(OpId::add, a, b); }
  Value* sub(Value* a, Value* b) const { return build_.binary(OpId::subtract, a, b); }
  Value* mul(Value* a, Value* b) const { return build_.binary(OpId::multiply, a, b); }
  Value* div(Value* a, Value* b) const { return build_.binary(OpId::divide, a, b); }
  Value* sum(Value* v) const { return build_.reduce(OpId::add, v, 0, others_); }
  Value* like(Value* v, double number) const { return build_.splat(v->type, number); }
  double count() const {
    double product = 1;
    for (int64_t dim : others_) product *= static_cast<double>(type_.dims[dim]);
    return product;
  }
  Value* mean(Value* v) const {
    Value* total = sum(v);
    return div(total, like(total, count()));
  }
  Value* deviation(Value* variance) const {
    return build_.unary(OpId::sqrt, add(variance, like(variance, epsilon_)));
  }
  Value* normalized(Value* input, Value* scale, Value* offset, Value* mean, Value* variance) const {
    Value* centered = div(sub(input, wide(mean)), wide(deviation(variance)));
    return add(mul(centered, wide(scale)), wide(offset));
  }

 private:
  Builder build_;
  Type type_;
  int64_t feature_;
  Ints others_;
  double epsilon_ = 0;
};

void inference(Op* op) {
  if (!op->operand(0)->type.is_static()) return;
  const auto in = op->operands();
  replace(op, Norm(op).normalized(in[0], in[1], in[2], in[3], in[4]));
}

void training(Op* op) {
  if (!op->operand(0)->type.is_static()) return;
  const Norm norm(op);
  Value* input = op->operand(0);
  Value* mean = norm.mean(input);
  Value* centered = norm.sub(input, norm.wide(mean));
  Value* variance = norm.mean(norm.mul(centered, centered));
  replace(op,
          {norm.normalized(input, op->operand(1), op->operand(2), mean, variance), mean, variance});
}

void gradient(Op* op) {
  if (!op->operand(0)->type.is_static()) return;
  const Norm norm(op);
  Value *input = op->operand(0), *scale = op->operand(1), *mean = op->operand(2),
        *variance = op->operand(3), *grad = op->operand(4);
  Value* deviation = norm.deviation(variance);
  Value* centered = norm.sub(input, norm.wide(mean));
  Value* grad_offset = norm.sum(grad);
  Value* projection = norm.sum(norm.mul(grad, centered));
  Value* grad_scale = norm.div(projection, deviation);
  // n * grad - sum(grad) - centered * sum(grad * centered) / deviation^2
  Value* squared = norm.mul(deviation, deviation);
  Value* slope = norm.mul(centered, norm.wide(norm.div(projection, squared)));
  Value* scaled = norm.mul(grad, norm.like(grad, norm.count()));
  Value* difference = norm.sub(norm.sub(scaled, norm.wide(grad_offset)), slope);
  Value* factor = norm.div(norm.div(scale, deviation), norm.like(scale, norm.count()));
  replace(op, {norm.mul(norm.wide(factor), difference), grad_scale, grad_offset});
}

}  // namespace

DecomposeRules norm_decompositions() {
  return {{OpId::batch_norm_inference, inference},
          {OpId::batch_norm_training, training},
          {OpId::batch_norm_grad, gradient}};
}

}  // namespace jaxmps::passes
