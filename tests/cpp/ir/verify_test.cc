// The verifier: what it accepts, and one wrong form of each rule family with its message.
#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/verify_rules.h"

namespace jaxmps::testing {
namespace {

std::string failure(Program& program) {
  const Status status = ir::verify(program.module);
  return status.ok() ? "" : status.error().text;
}

void expect_failure(Program& program, std::string_view part) {
  const std::string text = failure(program);
  EXPECT_NE(text.find(part), std::string::npos) << "expected: " << part << "\ngot: " << text;
}

// Verifies one op over arguments of the given types.
std::string failure_of(OpId id, const std::vector<Type>& operands, const std::vector<Type>& results,
                       Attrs attrs = {}) {
  Program p;
  Values args;
  for (const Type& type : operands) args.push_back(p.arg(type));
  Op* op = p.ops(id, args, results, std::move(attrs));
  Values values;
  for (int i = 0; i < op->result_count(); ++i) values.push_back(op->result(i));
  p.ret(values);
  return failure(p);
}

void expect_reason(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "expected: " << part << "\ngot: " << text;
}

TEST(Verify, EveryOpHasARule) {
  size_t count = 0;
#define OP(id, name, traits) ++count;
#include "ir/ops.def"
#undef OP
  for (size_t i = 0; i < count; ++i) {
    const auto op = Op::create(static_cast<OpId>(i), {}, {});
    EXPECT_NE(ir::rules::check_op(*op), "the op has no rule") << op->name();
  }
}

TEST(Verify, AcceptsArithmetic) {
  Program p;
  Value* x = p.arg(f32(2, 3));
  p.ret({p.binary(OpId::add, x, p.unary(OpId::exponential, x))});
  EXPECT_EQ(failure(p), "");
}

TEST(Verify, NamesOpTypesAndLocation) {
  Program p;
  Value* x = p.arg(f32(2, 3));
  Value* y = p.arg(f32(3, 2));
  p.ret({p.op(OpId::add, {x, y}, f32(2, 3))});
  expect_failure(p, "stablehlo.add (f32[2,3], f32[3,2]) -> f32[2,3] at model.py:1:1: operand 1 must");
}

TEST(Verify, ReportsAllFailuresAndCapsThem) {
  Program p;
  Value* x = p.arg(f32(2));
  Value* y = p.arg(s32(2));
  for (int i = 0; i < 25; ++i) p.op(OpId::add, {x, y}, f32(2));
  p.ret({x});
  expect_failure(p, "invalid in 25 places");
  expect_failure(p, "and 5 more");
}

TEST(Verify, UnknownSizesAgreeWithEverything) {
  EXPECT_EQ(failure_of(OpId::add, {f32(ir::kDynamic), f32(4)}, {f32(4)}), "");
}

TEST(Verify, Elementwise) {
  expect_reason(failure_of(OpId::floor, {s32(2)}, {s32(2)}), "does not take");
  expect_reason(failure_of(OpId::and_, {f32(2), f32(2)}, {f32(2)}), "does not take");
  expect_reason(failure_of(OpId::add, {f32(2)}, {f32(2)}), "needs 2 operands, has 1");
  expect_reason(failure_of(OpId::abs, {Type(DType::c64, {2})}, {Type(DType::c64, {2})}),
                "must be f32[2]");
  expect_reason(failure_of(OpId::select, {pred(3), f32(2), f32(2)}, {f32(2)}), "operand 0");
  EXPECT_EQ(failure_of(OpId::select, {pred(), f32(2), f32(2)}, {f32(2)}), "");
  expect_reason(failure_of(OpId::compare, {f32(2), f32(2)}, {pred(2)}),
                "attribute comparison_direction is missing");
  expect_reason(failure_of(OpId::compare, {f32(2), f32(2)}, {f32(2)},
                           {{"comparison_direction", choice(ir::CompareDirection::lt)}}),
                "must be pred[2]");
  expect_reason(failure_of(OpId::iota, {}, {s32(3)}, {{"iota_dimension", Attr(int64_t(1))}}),
                "iota_dimension is 1; the rank is 1");
}

TEST(Verify, Shapes) {
  expect_reason(failure_of(OpId::reshape, {f32(2, 3)}, {f32(5)}), "6 elements cannot become f32[5]");
  expect_reason(failure_of(OpId::transpose, {f32(2, 3)}, {f32(3, 2)},
                           {{"permutation", Attr(Ints{1, 1})}}),
                "names dimension 1 twice");
  expect_reason(failure_of(OpId::broadcast_in_dim, {f32(3)}, {f32(2, 4)},
                           {{"broadcast_dimensions", Attr(Ints{1})}}),
                "cannot become 4");
  expect_reason(failure_of(OpId::concatenate, {f32(2, 3), f32(2, 4)}, {f32(4, 3)},
                           {{"dimension", Attr(int64_t(0))}}),
                "operand 1 must have the shape [2,3]");
  expect_reason(failure_of(OpId::slice, {f32(4)}, {f32(3)},
                           {{"start_indices", Attr(Ints{2})},
                            {"limit_indices", Attr(Ints{5})},
                            {"strides", Attr(Ints{1})}}),
                "[2, 5) is no range of dimension 0");
  expect_reason(failure_of(OpId::pad, {f32(4), f32()}, {f32(7)},
                           {{"edge_padding_low", Attr(Ints{1})},
                            {"edge_padding_high", Attr(Ints{1})},
                            {"interior_padding", Attr(Ints{0})}}),
                "the result must have the shape [6]");
  expect_reason(failure_of(OpId::dynamic_slice, {f32(4), f32()}, {f32(2)},
                           {{"slice_sizes", Attr(Ints{2})}}),
                "operand 1 must be an integer scalar");
  expect_reason(failure_of(OpId::dynamic_update_slice, {f32(4), f32(5), s32()}, {f32(4)}),
                "the update is larger");
  expect_reason(failure_of(OpId::bitcast_convert, {f32(4)}, {Type(DType::u8, {4})}),
                "must have the shape [4,4]");
}

TEST(Verify, Reductions) {
  auto reduce = [](Type result, Type scalar, Ints dims) {
    Program p;
    Value* x = p.arg(f32(2, 3));
    Op* op = p.ops(OpId::reduce, {x, p.splat(f32(), 0)}, {result}, {{"dimensions", Attr(dims)}});
    p.combiner(op, OpId::add, scalar);
    p.ret({op->result()});
    return failure(p);
  };
  EXPECT_EQ(reduce(f32(2), f32(), {1}), "");
  expect_reason(reduce(f32(3), f32(), {1}), "result 0 must be f32[2]");
  expect_reason(reduce(f32(2), f32(1), {1}), "must be a scalar");
  expect_reason(reduce(f32(2), f32(), {2}), "dimensions is 2; the rank is 2");
}

TEST(Verify, Windows) {
  Program p;
  Value* x = p.arg(f32(8));
  Op* op = p.ops(OpId::reduce_window, {x, p.splat(f32(), 0)}, {f32(5)},
                 {{"window_dimensions", Attr(Ints{2})},
                  {"window_strides", Attr(Ints{2})},
                  {"base_dilations", Attr(Ints{1})},
                  {"window_dilations", Attr(Ints{1})},
                  {"padding", Attr(Ints{0, 0})}});
  p.combiner(op, OpId::add, f32());
  p.ret({op->result()});
  expect_failure(p, "result 0 must be f32[4]");
}

TEST(Verify, Dots) {
  auto dot = [](Ints lhs_contract, Ints rhs_contract, Type result) {
    return failure_of(OpId::dot_general, {f32(2, 3, 4), f32(2, 4, 5)}, {result},
                      {{"lhs_batching_dimensions", Attr(Ints{0})},
                       {"rhs_batching_dimensions", Attr(Ints{0})},
                       {"lhs_contracting_dimensions", Attr(lhs_contract)},
                       {"rhs_contracting_dimensions", Attr(rhs_contract)}});
  };
  EXPECT_EQ(dot({2}, {1}, f32(2, 3, 5)), "");
  expect_reason(dot({1}, {1}, f32(2, 4, 5)), "have sizes 3 and 4");
  expect_reason(dot({0}, {1}, f32(2, 3, 5)), "names dimension 0 twice");
  expect_reason(dot({2}, {1}, f32(2, 5, 3)), "must have the shape [2,3,5]");
}

Attrs conv_attrs(int64_t groups) {
  auto i = [](int64_t v) { return Attr(v); };
  return {{"batch_group_count", i(1)},
          {"feature_group_count", i(groups)},
          {"input_batch_dimension", i(0)},
          {"input_feature_dimension", i(1)},
          {"input_spatial_dimensions", Attr(Ints{2, 3})},
          {"kernel_input_feature_dimension", i(1)},
          {"kernel_output_feature_dimension", i(0)},
          {"kernel_spatial_dimensions", Attr(Ints{2, 3})},
          {"lhs_dilation", Attr(Ints{1, 1})},
          {"output_batch_dimension", i(0)},
          {"output_feature_dimension", i(1)},
          {"output_spatial_dimensions", Attr(Ints{2, 3})},
          {"padding", Attr(Ints{1, 1, 1, 1})},
          {"rhs_dilation", Attr(Ints{1, 1})},
          {"window_reversal", Attr(Ints{0, 0})},
          {"window_strides", Attr(Ints{2, 2})}};
}

TEST(Verify, Convolutions) {
  const Type in = f32(2, 6, 8, 8);
  EXPECT_EQ(failure_of(OpId::convolution, {in, f32(10, 6, 3, 3)}, {f32(2, 10, 4, 4)}, conv_attrs(1)),
            "");
  EXPECT_EQ(failure_of(OpId::convolution, {in, f32(9, 2, 3, 3)}, {f32(2, 9, 4, 4)}, conv_attrs(3)),
            "");
  expect_reason(
      failure_of(OpId::convolution, {in, f32(9, 6, 3, 3)}, {f32(2, 9, 4, 4)}, conv_attrs(3)),
      "do not fit a kernel");
  expect_reason(
      failure_of(OpId::convolution, {in, f32(10, 6, 3, 3)}, {f32(2, 10, 8, 8)}, conv_attrs(1)),
      "must have the shape [2,10,4,4]");
}

Attrs gather_attrs() {
  return {{"offset_dims", Attr(Ints{1})},
          {"collapsed_slice_dims", Attr(Ints{0})},
          {"operand_batching_dims", Attr(Ints{})},
          {"start_indices_batching_dims", Attr(Ints{})},
          {"start_index_map", Attr(Ints{0})},
          {"index_vector_dim", Attr(int64_t(1))},
          {"indices_are_sorted", flag(false)},
          {"slice_sizes", Attr(Ints{1, 4})}};
}

TEST(Verify, Gathers) {
  EXPECT_EQ(failure_of(OpId::gather, {f32(8, 4), s32(3, 1)}, {f32(3, 4)}, gather_attrs()), "");
  expect_reason(failure_of(OpId::gather, {f32(8, 4), s32(3, 2)}, {f32(3, 4)}, gather_attrs()),
                "the indices have 2 components for 1 dimensions");
  expect_reason(failure_of(OpId::gather, {f32(8, 4), s32(3, 1)}, {f32(3, 5)}, gather_attrs()),
                "must have the shape [3,4]");
  expect_reason(failure_of(OpId::gather, {f32(8, 3), s32(3, 1)}, {f32(3, 4)}, gather_attrs()),
                "slice size 4 of dimension 1");
  // A slice of nothing has no element to give.
  Attrs nothing = gather_attrs();
  for (auto& attr : nothing) {
    if (attr.name == "slice_sizes") attr.value = Ints{0, 4};
  }
  expect_reason(failure_of(OpId::gather, {f32(8, 4), s32(3, 1)}, {f32(3, 4)}, nothing),
                "slice size 0 of dimension 0, which is collapsed");
  EXPECT_EQ(failure_of(OpId::gather, {f32(8, 4), s32(0, 1)}, {f32(0, 4)}, nothing), "");
}

TEST(Verify, Scatters) {
  Program p;
  Op* op = p.ops(OpId::scatter, {p.arg(f32(8, 4)), p.arg(s32(3, 1)), p.arg(f32(3, 5))}, {f32(8, 4)},
                 {{"update_window_dims", Attr(Ints{1})},
                  {"inserted_window_dims", Attr(Ints{0})},
                  {"input_batching_dims", Attr(Ints{})},
                  {"scatter_indices_batching_dims", Attr(Ints{})},
                  {"scatter_dims_to_operand_dims", Attr(Ints{0})},
                  {"index_vector_dim", Attr(int64_t(1))},
                  {"indices_are_sorted", flag(false)},
                  {"unique_indices", flag(false)}});
  p.combiner(op, OpId::add, f32());
  p.ret({op->result()});
  expect_failure(p, "the update's window has size 5 along dimension 1");
}

TEST(Verify, LoopsMustKeepTheirTypes) {
  Program p;
  Value* x = p.arg(f32(2));
  Op* loop = p.ops(OpId::while_, {x}, {f32(2)});
  p.region(loop, [](Body& b) {
    b.arg(f32(2));
    b.ret({b.splat(pred(), 1)});
  });
  p.region(loop, [](Body& b) { b.ret({b.op(OpId::convert, {b.arg(f32(2))}, s32(2))}); });
  p.ret({loop->result()});
  expect_failure(p, "the body: result 0 must be f32[2], is s32[2]");
}

TEST(Verify, ValuesAreDefinedBeforeTheyAreUsed) {
  Program p;
  Value* x = p.arg(f32(2));
  Op* first = p.ops(OpId::negate, {x}, {f32(2)});
  Op* second = p.ops(OpId::negate, {x}, {f32(2)});
  first->set_operand(0, second->result());
  p.ret({first->result()});
  expect_failure(p, "operand 0 is not defined before the op");
}

TEST(Verify, InnerValuesDoNotEscape) {
  Program p;
  Value* index = p.arg(s32());
  Value* inner = nullptr;
  Op* op = p.ops(OpId::case_, {index}, {f32()});
  p.region(op, [&](Body& b) { b.ret({inner = b.splat(f32(), 1)}); });
  p.ret({p.unary(OpId::negate, inner)});
  expect_failure(p, "operand 0 is not defined before the op");
}

TEST(Verify, Calls) {
  Program p;
  Value* x = p.arg(f32(2));
  ir::Function* f = p.function("f");
  Body body = p.body(f);
  Value* y = body.arg(f32(3));
  p.finish(f, {y});
  p.ret({p.call(f, {x}, f32(2))});
  expect_failure(p, "operand 0 of @f must be f32[3], is f32[2]");
}

TEST(Verify, MissingCallee) {
  Program p;
  Value* x = p.arg(f32(2));
  p.ret({p.op(OpId::call, {x}, f32(2), {{"callee", Attr(ir::Symbol{"g"})}})});
  expect_failure(p, "calls @g, which does not exist");
}

TEST(Verify, Recursion) {
  Program p;
  Value* x = p.arg(f32());
  ir::Function* f = p.function("f");
  ir::Function* g = p.function("g");
  for (auto [caller, callee] : {std::pair{f, g}, std::pair{g, f}}) {
    Body body = p.body(caller);
    Value* y = body.arg(f32());
    p.finish(caller, {body.op(OpId::call, {y}, f32(), {{"callee", Attr(ir::Symbol{callee->name})}})});
  }
  p.ret({p.call(f, {x}, f32())});
  expect_failure(p, "calls itself");
}

TEST(Verify, MissingMainAndTerminator) {
  Program p;
  p.module.main()->type.results = {};
  expect_failure(p, "without a terminator");
  p.module.main()->name = "other";
  expect_failure(p, "no function @main");
}

TEST(Verify, Collectives) {
  ir::ReplicaGroups groups;
  groups.groups = {{0, 1}, {1}};
  Program p;
  Value* x = p.arg(f32(2));
  Op* op = p.ops(OpId::all_reduce, {x}, {f32(2)},
                 {{"channel_id", Attr(int64_t(1))},
                  {"replica_groups", Attr(Attr::Value(groups))},
                  {"use_global_device_ids", flag(false)}});
  p.combiner(op, OpId::add, f32());
  p.ret({op->result()});
  expect_failure(p, "names device 1 twice");
}

TEST(Verify, HugeShapesAreRefused) {
  const int64_t big = int64_t(1) << 40;
  expect_reason(failure_of(OpId::negate, {f32(big, big)}, {f32(big, big)}), "is too large");
}

}  // namespace
}  // namespace jaxmps::testing
