#include "ops/region.h"

#include <algorithm>
#include <unordered_map>

namespace jaxmps::ops {
namespace {

using ir::OpId;

// One op of the region: what it does, and which values (numbered arguments first) it reads.
struct Instr {
  Graph graph;  // null: the op passes its operand through
  std::vector<int> operands;
  int results = 1;
};

bool keeps_scalars(OpId id) {
  return id == OpId::reshape || id == OpId::broadcast_in_dim || id == OpId::transpose ||
         id == OpId::optimization_barrier;
}

class Compiler {
 public:
  Compiler(const ir::Region& region, const Target& target) : region_(region), target_(target) {}

  Status run() {
    for (int i = 0; i < region_.arg_count(); ++i) number(region_.arg(i));
    for (ir::Op* op : region_) {
      if (op == region_.terminator()) break;
      CHECK_OK(add(*op));
    }
    for (ir::Value* value : region_.terminator()->operands()) {
      TRY(int at, find(*region_.terminator(), value));
      results.push_back(at);
    }
    return {};
  }

  std::vector<Instr> instrs;
  std::vector<int> results;

 private:
  void number(const ir::Value* value) {
    const int next = static_cast<int>(numbers_.size());
    numbers_[value] = next;
  }

  Status add(ir::Op& op) {
    Instr instr;
    for (ir::Value* operand : op.operands()) {
      TRY(int at, find(op, operand));
      instr.operands.push_back(at);
    }
    instr.results = op.result_count();
    for (int i = 0; i < op.result_count(); ++i) {
      if (!op.result(i)->type.is_scalar()) return ir::refuse(op, "it is not scalar");
    }
    if (!keeps_scalars(op.id)) {
      const bool scalar_op = op.is(ir::traits::elementwise) || op.id == OpId::select ||
                             op.id == OpId::clamp || op.id == OpId::constant ||
                             op.id == OpId::bitcast_convert || op.id == OpId::iota;
      if (!scalar_op) return ir::refuse(op, "it is not supported in a scalar region");
      TRY(instr.graph, graph_of(op));
    }
    instrs.push_back(std::move(instr));
    for (int i = 0; i < op.result_count(); ++i) number(op.result(i));
    return {};
  }

  Result<Graph> graph_of(const ir::Op& op) {
    TRY(Lowering lowering, lower(op, target_));
    if (!lowering.graph) return ir::refuse(op, "it is not supported in a scalar region");
    return std::move(lowering.graph);
  }

  // The number of a value; constants from outside become instructions of their own.
  Result<int> find(const ir::Op& user, const ir::Value* value) {
    if (auto it = numbers_.find(value); it != numbers_.end()) return it->second;
    if (!value->op() || value->op()->id != OpId::constant || !value->type.is_scalar()) {
      return ir::refuse(user, "it reads a value from outside its region");
    }
    TRY(Graph graph, graph_of(*value->op()));
    instrs.push_back({std::move(graph), {}, 1});
    number(value);
    return numbers_[value];
  }

  const ir::Region& region_;
  const Target& target_;
  std::unordered_map<const ir::Value*, int> numbers_;
};

}  // namespace

Result<RegionFunction> region_function(const ir::Region& region, const Target& target) {
  Compiler compiler(region, target);
  CHECK_OK(compiler.run());
  return RegionFunction([instrs = std::move(compiler.instrs),
                         results = std::move(compiler.results)](const Arrays& arguments) {
    Arrays values = arguments;
    for (const Instr& instr : instrs) {
      std::vector<const mx::array*> operands;
      for (int operand : instr.operands) operands.push_back(&values[operand]);
      Arrays produced;
      if (instr.graph) {
        produced = instr.graph(Inputs(operands));
      } else {
        for (const mx::array* operand : operands) produced.push_back(*operand);
      }
      for (auto& array : produced) values.push_back(std::move(array));
    }
    Arrays out;
    for (int result : results) out.push_back(values[result]);
    return out;
  });
}

mx::array reduced_last(const mx::array& a, std::vector<int> axes) {
  std::sort(axes.begin(), axes.end());
  std::vector<int> order;
  mx::Shape shape;
  for (int d = 0; d < static_cast<int>(a.ndim()); ++d) {
    if (std::binary_search(axes.begin(), axes.end(), d)) continue;
    order.push_back(d);
    shape.push_back(a.shape(d));
  }
  int size = 1;
  for (int axis : axes) {
    order.push_back(axis);
    size *= a.shape(axis);
  }
  shape.push_back(size);
  return mx::reshape(mx::transpose(a, order), shape);
}

Arrays fold(const Arrays& arrays, const std::vector<int>& axes, const RegionFunction& combiner) {
  Arrays values;
  for (const auto& a : arrays) values.push_back(reduced_last(a, axes));
  const mx::Shape flat = values[0].shape(), kept(flat.begin(), flat.end() - 1);
  int size = flat.back();
  auto part = [&](const mx::array& a, int from, int to, int step) {
    mx::Shape start(flat.size(), 0), stop = a.shape(), strides(flat.size(), 1);
    start.back() = from;
    stop.back() = to;
    strides.back() = step;
    return mx::slice(a, start, stop, strides);
  };
  while (size > 1) {
    const int half = size / 2;
    Arrays arguments;
    for (const auto& a : values) arguments.push_back(part(a, 0, 2 * half, 2));
    for (const auto& a : values) arguments.push_back(part(a, 1, 2 * half, 2));
    Arrays combined = combiner(arguments);
    auto shape = kept;
    shape.push_back(half);
    for (size_t i = 0; i < values.size(); ++i) {
      // A combiner may ignore its arguments and return a scalar.
      combined[i] = mx::broadcast_to(combined[i], shape);
      if (size % 2) {
        combined[i] = mx::concatenate({combined[i], part(values[i], size - 1, size, 1)}, -1);
      }
    }
    values = std::move(combined);
    size = half + size % 2;
  }
  for (auto& a : values) a = mx::reshape(a, kept);
  return values;
}

}  // namespace jaxmps::ops
