// Rules of the ops that take a combiner, a comparator or a window.
#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

// Inputs are operands [0, n), initial values [n, 2n); the scalars are the accumulators' types.
Reason inputs_and_inits(const Op& op, std::vector<Type>* scalars) {
  NEED(op.operand_count() > 0 && op.operand_count() % 2 == 0,
       "needs as many initial values as inputs, has ", op.operand_count(), " operands");
  const int count = op.operand_count() / 2;
  NEED(op.result_count() == count, "needs ", count, " results, has ", op.result_count());
  NEED_OK(check_combiner(op, 0, "the reducer", count, scalars));
  for (int i = 0; i < count; ++i) {
    NEED_OK(match_dims(str("operand ", i), operand_type(op).dims, operand_type(op, i).dims));
    NEED(operand_type(op, count + i).is_scalar(), "the initial value must be a scalar, is ",
         brief(operand_type(op, count + i)));
    NEED_OK(widens(str("operand ", i), operand_type(op, i), (*scalars)[i]));
    NEED_OK(widens("the initial value", operand_type(op, count + i), (*scalars)[i]));
  }
  return {};
}

// Every result has these dimensions and the type of its accumulator.
Reason results_of(const Op& op, std::vector<Type> accumulators, const Dims& dims) {
  for (Type& type : accumulators) type = type.with(dims);
  return match_all("result", accumulators, result_types(op));
}

Reason reduce(const Op& op) {
  std::vector<Type> scalars;
  NEED_OK(inputs_and_inits(op, &scalars));
  const Ints& dims = op.ints("dimensions");
  const Type& input = operand_type(op);
  NEED_OK(check_axes("dimensions", dims, input.rank()));
  Dims expected;
  for (int64_t i = 0; i < input.rank(); ++i) {
    if (!contains(dims, i)) expected.push_back(input.dims[i]);
  }
  return results_of(op, scalars, expected);
}

struct WindowLists {
  Ints sizes, strides, base_dilations, window_dilations, padding;
};

Reason check_window(const WindowLists& w, int64_t rank) {
  NEED_OK(check_length("window_dimensions", w.sizes, rank));
  NEED_OK(check_length("window_strides", w.strides, rank));
  NEED_OK(check_length("base_dilations", w.base_dilations, rank));
  NEED_OK(check_length("window_dilations", w.window_dilations, rank));
  NEED_OK(check_length("padding", w.padding, 2 * rank));
  NEED_OK(all_at_least("window_dimensions", w.sizes, 1));
  NEED_OK(all_at_least("window_strides", w.strides, 1));
  NEED_OK(all_at_least("base_dilations", w.base_dilations, 1));
  return all_at_least("window_dilations", w.window_dilations, 1);
}

Dims window_shape(const WindowLists& w, const Dims& base) {
  Dims out(base.size());
  for (size_t i = 0; i < base.size(); ++i) {
    out[i] =
        window_output(base[i], {w.sizes[i], w.strides[i], w.padding[2 * i], w.padding[2 * i + 1],
                                w.window_dilations[i], w.base_dilations[i]});
  }
  return out;
}

Reason reduce_window(const Op& op) {
  std::vector<Type> scalars;
  NEED_OK(inputs_and_inits(op, &scalars));
  const WindowLists w{op.ints("window_dimensions"), op.ints("window_strides"),
                      op.ints("base_dilations"), op.ints("window_dilations"), op.ints("padding")};
  NEED_OK(check_window(w, operand_type(op).rank()));
  return results_of(op, scalars, window_shape(w, operand_type(op).dims));
}

Reason select_and_scatter(const Op& op) {
  const Type &input = operand_type(op), &source = operand_type(op, 1);
  NEED(operand_type(op, 2).is_scalar(), "the initial value must be a scalar, is ",
       brief(operand_type(op, 2)));
  const Ints ones(input.rank(), 1);
  const WindowLists w{op.ints("window_dimensions"), op.ints("window_strides"), ones, ones,
                      op.ints("padding")};
  NEED_OK(check_window(w, input.rank()));
  NEED_OK(match_dims("the source", window_shape(w, input.dims), source.dims));
  NEED(same_element(input, source), "the source must have the element type of ", brief(input),
       ", is ", brief(source));
  NEED_OK(match_dims("the result", input.dims, result_type(op).dims));
  const Type scalar = input.with(Dims{});
  NEED_OK(check_region(op, 0, "the selector", {scalar, scalar}, {Type(DType::pred, {})}));
  std::vector<Type> accumulators;
  NEED_OK(check_combiner(op, 1, "the reducer", 1, &accumulators));
  NEED_OK(widens("the source", source, accumulators[0]));
  NEED_OK(widens("the initial value", operand_type(op, 2), accumulators[0]));
  return match_type("the result", accumulators[0].with(input.dims), result_type(op));
}

Reason sort(const Op& op) {
  NEED(op.operand_count() > 0, "needs an operand");
  const int64_t rank = operand_type(op).rank();
  const int64_t dim = op.i64("dimension");
  NEED(dim >= -rank && dim < rank, "dimension is ", dim, "; the rank is ", rank);
  std::vector<Type> arguments;
  for (int i = 0; i < op.operand_count(); ++i) {
    const Type& type = operand_type(op, i);
    NEED_OK(match_dims(str("operand ", i), operand_type(op).dims, type.dims));
    arguments.insert(arguments.end(), 2, type.with(Dims{}));
  }
  NEED_OK(passes_through(op));
  return check_region(op, 0, "the comparator", arguments, {Type(DType::pred, {})});
}

Reason map(const Op& op) {
  NEED(op.operand_count() > 0, "needs an operand");
  const Type& first = operand_type(op);
  const Ints& dims = op.ints("dimensions");
  NEED_OK(check_length("dimensions", dims, first.rank()));
  std::vector<Type> arguments;
  for (size_t i = 0; i < dims.size(); ++i) {
    NEED(dims[i] == static_cast<int64_t>(i), "dimensions must be 0, 1, 2 ..., is ", dims);
  }
  for (int i = 0; i < op.operand_count(); ++i) {
    NEED_OK(match_dims(str("operand ", i), first.dims, operand_type(op, i).dims));
    arguments.push_back(operand_type(op, i).with(Dims{}));
  }
  NEED_OK(match_dims("the result", first.dims, result_type(op).dims));
  return check_region(op, 0, "the function", arguments, {result_type(op).with(Dims{})});
}

Reason top_k(const Op& op) {
  const Type& from = operand_type(op);
  const int64_t k = op.i64("k");
  NEED(from.rank() > 0, "needs at least one dimension");
  NEED(k >= 0 && (!is_known(from.dims.back()) || k <= from.dims.back()), "k is ", k,
       "; the last dimension has size ", from.dims.back());
  Dims expected = from.dims;
  expected.back() = k;
  return match_all("result", {from.with(expected), Type(DType::s32, expected)}, result_types(op));
}

Reason cumulative(const Op& op) {
  NEED_OK(check_axis("dimension", op.i64("dimension"), operand_type(op).rank()));
  const std::string& kind = op.text("kind");
  NEED(kind == "add" || kind == "multiply" || kind == "maximum" || kind == "minimum",
       "unknown kind ", kind);
  return match_type("the result", operand_type(op), result_type(op));
}

}  // namespace

Rules reduce_rules() {
  return {
      {OpId::reduce, kAny, kAny, 1, reduce},
      {OpId::reduce_window, kAny, kAny, 1, reduce_window},
      {OpId::select_and_scatter, 3, 1, 2, select_and_scatter},
      {OpId::sort, kAny, kAny, 1, sort},
      {OpId::map, kAny, 1, 1, map},
      {OpId::top_k, 1, 2, 0, top_k},
      {OpId::cumulative, 1, 1, 0, cumulative},
  };
}

}  // namespace jaxmps::ir::rules
