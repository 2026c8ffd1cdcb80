// Ops that others define are replaced by these, so that the executor needs fewer. What a rule
// cannot replace stays and is refused by the executor, which reports everything at once.
#include "passes/decompose.h"

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

void barrier(Op* op) {
  // Nothing here reorders across it in a way that shows.
  replace(op, op->operands());
}

void broadcast(Op* op) {
  const Type& type = op->operand(0)->type;
  const int64_t added = static_cast<int64_t>(op->ints("broadcast_sizes").size());
  replace(op,
          Builder(op).broadcast(op->operand(0), op->result()->type.dims, iota(type.rank(), added)));
}

// Scalar bounds of clamp, and the scalar predicate of select, take the shape of the others.
void widen_scalars(Op* op) {
  const Dims& dims = op->result()->type.dims;
  for (int i = 0; i < op->operand_count(); ++i) {
    if (op->operand(i)->type.dims == dims) continue;
    op->set_operand(i, Builder(op).broadcast(op->operand(i), dims, {}));
  }
}

void part_of_real(Op* op) {
  if (ir::is_complex(op->operand(0)->type.dtype)) return;
  if (op->id == OpId::real) {
    replace(op, op->operand(0));
  } else if (op->result()->type.is_static()) {
    replace(op, Builder(op).splat(op->result()->type, 0));
  }
}

// `if` is a case over [false branch, true branch].
void if_to_case(Op* op) {
  op->set_operand(0, Builder(op).convert(op->operand(0), DType::s32));
  op->id = OpId::case_;
  std::swap(op->regions()[0], op->regions()[1]);
}

void tuple_element(Op* op) {
  const Op* tuple = op->operand(0)->op();
  if (!tuple || tuple->id != OpId::tuple) return;
  replace(op, tuple->operand(static_cast<int>(op->i64("index"))));
}

void dimension_size(Op* op) {
  const int64_t size = op->operand(0)->type.dims[op->i64("dimension")];
  if (size == ir::kDynamic) return;
  replace(op, Builder(op).splat(op->result()->type, static_cast<double>(size)));
}

// The scalar function of `map`, applied to whole tensors.
void map(Op* op) {
  const Type& type = op->result()->type;
  if (!type.is_static() || !is_liftable(op->region())) return;
  replace(op, lift(Builder(op), op->region(), op->operands(), type.dims)[0]);
}

void torch_index_select(Op* op) {
  const Type &from = op->operand(0)->type, &index = op->operand(1)->type;
  const int64_t dim = op->i64("dim"), batch = op->i64("batch_dims");
  if (!from.is_static() || !index.is_static()) return;
  Ints sizes = from.dims;
  for (int64_t i = 0; i < batch; ++i) sizes[i] = 1;
  sizes[dim] = 1;
  // The window's dimensions stand before and behind those of the index.
  Ints offsets = iota(dim - batch, batch);
  for (int64_t i = dim + 1; i < from.rank(); ++i) offsets.push_back(i + index.rank() - batch - 1);
  Value* result =
      Builder(op).value(OpId::gather, {op->operand(0), op->operand(1)}, op->result()->type,
                        attributes({{"offset_dims", Attr(offsets)},
                                    {"collapsed_slice_dims", Attr(Ints{dim})},
                                    {"operand_batching_dims", Attr(iota(batch))},
                                    {"start_indices_batching_dims", Attr(iota(batch))},
                                    {"start_index_map", Attr(Ints{dim})},
                                    {"index_vector_dim", Attr(index.rank())},
                                    {"slice_sizes", Attr(sizes)},
                                    {"indices_are_sorted", Attr(Attr::Value(false))}}));
  replace(op, result);
}

// Combiners work in the type of their arguments, which may be wider than the inputs': these become
// of that type.
void widen_inputs(Op* op, int first, int count, const ir::Region& combiner, int first_argument) {
  for (int i = 0; i < count; ++i) {
    Value* input = op->operand(first + i);
    if (input->type.quantization) continue;
    const DType dtype = combiner.arg(first_argument + i)->type.dtype;
    op->set_operand(first + i, Builder(op).convert(input, dtype));
  }
}
void widen_reduction(Op* op) { widen_inputs(op, 0, op->operand_count(), op->region(), 0); }
void widen_selected(Op* op) { widen_inputs(op, 1, 2, op->region(1), 0); }
void widen_scatter(Op* op) {
  const int count = op->result_count();
  widen_inputs(op, 0, count, op->region(), 0);
  widen_inputs(op, count + 1, count, op->region(), count);
}

// LAPACK has no halves: they are computed in float32 and rounded.
void widen_halves(Op* op) {
  const Type type = op->result()->type;
  if (!is_half(type.dtype)) return;
  const Builder build(op);
  std::vector<Value*> operands;
  for (Value* operand : op->operands()) operands.push_back(build.convert(operand, DType::f32));
  Value* wide = build.value(op->id, operands, type.with(DType::f32), op->attrs);
  replace(op, build.convert(wide, type.dtype));
}

// An assertion about shapes that are known by now.
void shape_assertion(Op* op) {
  if (op->text("call_target_name") != "shape_assertion" || op->result_count() != 0) return;
  if (op->operand_count() == 0 || !is_splat_of(op->operand(0), 1)) return;
  op->erase();
}

const DecomposeRules& table() {
  static const auto* rules = [] {
    auto* all = new DecomposeRules{
        {OpId::optimization_barrier, barrier},
        {OpId::broadcast, broadcast},
        {OpId::clamp, widen_scalars},
        {OpId::select, widen_scalars},
        {OpId::real, part_of_real},
        {OpId::imag, part_of_real},
        {OpId::if_, if_to_case},
        {OpId::get_tuple_element, tuple_element},
        {OpId::get_dimension_size, dimension_size},
        {OpId::map, map},
        {OpId::reduce, widen_reduction},
        {OpId::reduce_window, widen_reduction},
        {OpId::select_and_scatter, widen_selected},
        {OpId::scatter, widen_scatter},
        {OpId::torch_index_select, torch_index_select},
        {OpId::cholesky, widen_halves},
        {OpId::triangular_solve, widen_halves},
        {OpId::custom_call, shape_assertion},
    };
    all->merge(collective_decompositions());
    all->merge(dot_decompositions());
    all->merge(dynamic_decompositions());
    all->merge(norm_decompositions());
    return all;
  }();
  return *rules;
}

}  // namespace

Status decompose(ir::Module& module) {
  walk(module, [](Op* op) {
    auto rule = table().find(op->id);
    if (rule != table().end()) rule->second(op);
  });
  return {};
}

}  // namespace jaxmps::passes
