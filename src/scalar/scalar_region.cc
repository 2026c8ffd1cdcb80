#include "scalar/scalar.h"

namespace jaxmps::scalar {

using ir::OpId;

namespace {

struct Reader {
  ScalarBuilder builder;
  std::unordered_map<const ir::Value*, ScalarValue> values;

  Result<ScalarValue> value(const ir::Value* v, const ir::Op& user) {
    if (auto found = values.find(v); found != values.end()) return found->second;
    // A constant outside of the region is as good as one inside.
    const ir::Op* op = v->op();
    if (op && op->id == OpId::constant && v->type.size() > 0) {
      const ir::Dense& dense = op->dense("value");
      if (dense.splat || v->type.size() == 1) return values[v] = builder.constant(dense, 0);
    }
    return ir::refuse(user, "a value from outside of the region");
  }

  Status read(const ir::Op& op) {
    for (int i = 0; i < op.result_count(); ++i) {
      if (!op.result(i)->type.is_scalar()) return ir::refuse(op, "not on scalars");
    }
    if (op.id == OpId::constant) {
      values[op.result()] = builder.constant(op.dense("value"), 0);
      return {};
    }
    std::vector<ScalarValue> operands;
    for (int i = 0; i < op.operand_count(); ++i) {
      TRY(ScalarValue v, value(op.operand(i), op));
      operands.push_back(v);
    }
    if (op.id == OpId::reshape || op.id == OpId::broadcast_in_dim) {
      values[op.result()] = operands[0];
      return {};
    }
    TRY(auto results, builder.apply(op, operands));
    for (size_t i = 0; i < results.size(); ++i) values[op.result(static_cast<int>(i))] = results[i];
    return {};
  }
};

Result<std::vector<ScalarValue>> results_of(const ir::Op& op, ScalarBuilder* builder) {
  std::vector<ScalarValue> operands;
  operands.reserve(op.operand_count());
  for (const ir::Value* operand : op.operands()) {
    operands.push_back(builder->input(operand->type.dtype));
  }
  return builder->apply(op, operands);
}

}  // namespace

Result<ScalarProgram> scalar_program(const ir::Op& op) {
  ScalarProgram program;
  ScalarBuilder builder(&program);
  TRY(const auto results, results_of(op, &builder));
  for (const ScalarValue& result : results) builder.output(result);
  return program;
}

bool has_scalar_program(const ir::Op& op) {
  ScalarBuilder builder = ScalarBuilder::without_program();
  return results_of(op, &builder).ok();
}

Result<ScalarProgram> scalar_program(const ir::Region& region) {
  ScalarProgram program;
  Reader reader{ScalarBuilder(&program), {}};
  for (int i = 0; i < region.arg_count(); ++i) {
    const ir::Type& type = region.arg(i)->type;
    if (!type.is_scalar()) return invalid(str("region argument ", i, " is not a scalar"));
    reader.values[region.arg(i)] = reader.builder.input(type.dtype);
  }
  for (const ir::Op* op : region) {
    if (op != region.terminator()) {
      CHECK_OK(reader.read(*op));
      continue;
    }
    for (int i = 0; i < op->operand_count(); ++i) {
      TRY(ScalarValue v, reader.value(op->operand(i), *op));
      reader.builder.output(v);
    }
  }
  return program;
}

std::string print(const ScalarProgram& program) {
  std::string text;
  for (size_t k = 0; k < program.instrs.size(); ++k) {
    const ScalarInstr& i = program.instrs[k];
    text += str("  %", k, " = ", name(i.op), " ", ir::name(i.type));
    for (int32_t v : {i.a, i.b, i.c, i.d}) {
      if (v >= 0) text += str(" %", v);
    }
    if (i.imm || i.op == Opcode::constant || i.op == Opcode::input || i.op == Opcode::load) {
      text += str(" #", i.imm);
    }
    text += '\n';
  }
  for (const ScalarValue& out : program.outputs) {
    text += str("  return %", out.re);
    if (out.im >= 0) text += str(", %", out.im);
    text += '\n';
  }
  return text;
}

}  // namespace jaxmps::scalar
