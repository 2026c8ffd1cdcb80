// Identities, compositions and known branches.
#include <cmath>

#include "passes/support.h"

namespace jaxmps::testing {
namespace {

void canonicalize(Program& p) { run(p, passes::canonicalize); }

// What `make` computes from one argument becomes the argument itself.
void expect_identity(const Type& type, const std::function<Value*(Program&, Value*)>& make) {
  Program p;
  Value* x = p.arg(type);
  p.ret({make(p, x)});
  canonicalize(p);
  EXPECT_EQ(p.returned(), x) << ir::print(p.module);
}

void expect_no_change(const Type& type, const std::function<Value*(Program&, Value*)>& make) {
  Program p;
  Value* x = p.arg(type);
  Value* y = make(p, x);
  p.ret({y});
  canonicalize(p);
  EXPECT_EQ(p.returned(), y) << ir::print(p.module);
}

TEST(Canonicalize, Arithmetic) {
  const Type ints = s32(3), floats = f32(3);
  expect_identity(ints,
                  [&](Program& p, Value* x) { return p.binary(OpId::add, p.splat(ints, 0), x); });
  expect_identity(
      floats, [&](Program& p, Value* x) { return p.binary(OpId::add, x, p.splat(floats, -0.0)); });
  // -0 + 0 is 0, and 0 * NaN is NaN.
  expect_no_change(
      floats, [&](Program& p, Value* x) { return p.binary(OpId::add, x, p.splat(floats, 0)); });
  expect_no_change(floats, [&](Program& p, Value* x) {
    return p.binary(OpId::multiply, x, p.splat(floats, 0));
  });
  expect_identity(floats, [&](Program& p, Value* x) {
    return p.binary(OpId::multiply, p.splat(floats, 1), x);
  });
  expect_identity(floats, [&](Program& p, Value* x) {
    return p.unary(OpId::negate, p.unary(OpId::negate, x));
  });
  expect_identity(
      pred(2), [&](Program& p, Value* x) { return p.binary(OpId::and_, x, p.splat(pred(2), 1)); });
  expect_identity(u32(2), [&](Program& p, Value* x) {
    return p.binary(OpId::and_, x, p.splat(u32(2), 4294967295.0));
  });
}

TEST(Canonicalize, IntegerTimesZero) {
  Program p;
  Value* x = p.arg(s32(3));
  p.ret({p.binary(OpId::multiply, x, p.splat(s32(3), 0))});
  canonicalize(p);
  EXPECT_EQ(numbers(p.returned()), (std::vector<double>{0, 0, 0}));
}

TEST(Canonicalize, Converts) {
  expect_identity(s32(2), [](Program& p, Value* x) {
    return p.op(OpId::convert, {p.op(OpId::convert, {x}, Type(DType::f64, {2}))}, s32(2));
  });
  // Through a narrower type values are lost.
  expect_no_change(f32(2), [](Program& p, Value* x) {
    return p.op(OpId::convert, {p.op(OpId::convert, {x}, Type(DType::bf16, {2}))}, f32(2));
  });
  // s16 to s8 wraps, f32 to s8 saturates.
  expect_no_change(Type(DType::s16, {2}), [](Program& p, Value* x) {
    return p.op(OpId::convert, {p.op(OpId::convert, {x}, f32(2))}, Type(DType::s8, {2}));
  });
}

TEST(Canonicalize, Select) {
  Program p;
  Value *c = p.arg(pred(2)), *x = p.arg(f32(2)), *y = p.arg(f32(2));
  p.ret({p.op(OpId::select, {p.splat(pred(2), 0), x, y}, f32(2)),
         p.op(OpId::select, {c, x, x}, f32(2)),
         p.op(OpId::select, {p.unary(OpId::not_, c), x, y}, f32(2))});
  canonicalize(p);
  EXPECT_EQ(p.returned(0), y);
  EXPECT_EQ(p.returned(1), x);
  EXPECT_EQ(p.returned_op(2)->operands(), (Values{c, y, x}));
}

TEST(Canonicalize, Reshapes) {
  expect_identity(f32(2, 3), [](Program& p, Value* x) {
    return p.op(OpId::reshape, {p.op(OpId::reshape, {x}, f32(6))}, f32(2, 3));
  });
  expect_identity(f32(2, 3), [](Program& p, Value* x) {
    Value* turned = p.op(OpId::transpose, {x}, f32(3, 2), {{"permutation", Attr(Ints{1, 0})}});
    return p.op(OpId::transpose, {turned}, f32(2, 3), {{"permutation", Attr(Ints{1, 0})}});
  });
  expect_identity(f32(4), [](Program& p, Value* x) { return p.broadcast(x, {4}, {0}); });
  expect_identity(f32(4), [](Program& p, Value* x) { return p.slice(x, {0}, {4}, {1}); });
}

TEST(Canonicalize, MovingOnesIsAReshape) {
  Program p;
  Value* x = p.arg(f32(2, 1, 3));
  Value* turned = p.op(OpId::transpose, {x}, f32(1, 2, 3), {{"permutation", Attr(Ints{1, 0, 2})}});
  p.ret({turned, p.broadcast(p.arg(f32(4)), {1, 4, 1}, {1})});
  canonicalize(p);
  EXPECT_EQ(p.returned_op(0)->id, OpId::reshape);
  EXPECT_EQ(p.returned_op(1)->id, OpId::reshape);
}

TEST(Canonicalize, SlicesCompose) {
  Program p;
  Value* x = p.arg(f32(20));
  p.ret({p.slice(p.slice(x, {2}, {20}, {3}), {1}, {5}, {2})});
  canonicalize(p);
  const Op* slice = p.returned_op();
  EXPECT_EQ(slice->operand(0), x);
  EXPECT_EQ(slice->ints("start_indices"), (Ints{5}));
  EXPECT_EQ(slice->ints("strides"), (Ints{6}));
  EXPECT_EQ(slice->ints("limit_indices"), (Ints{12}));
}

TEST(Canonicalize, SliceOfConcatenation) {
  Program p;
  Value *x = p.arg(f32(3)), *y = p.arg(f32(4));
  Value* both = p.op(OpId::concatenate, {x, y}, f32(7), {{"dimension", Attr(int64_t(0))}});
  p.ret({p.slice(both, {3}, {7}, {1})});
  canonicalize(p);
  EXPECT_EQ(p.returned(), y);
}

TEST(Canonicalize, DynamicSliceWithKnownStart) {
  Program p;
  Value* x = p.arg(f32(8));
  p.ret(
      {p.op(OpId::dynamic_slice, {x, p.splat(s32(), 7)}, f32(3), {{"slice_sizes", Attr(Ints{3})}}),
       p.op(OpId::dynamic_slice, {x, p.splat(s32(), -2)}, f32(3),
            {{"slice_sizes", Attr(Ints{3})}})});
  canonicalize(p);
  ASSERT_EQ(p.returned_op(0)->id, OpId::slice);
  EXPECT_EQ(p.returned_op(0)->ints("start_indices"), (Ints{5}));
  EXPECT_EQ(p.returned_op(1)->ints("start_indices"), (Ints{0}));
}

TEST(Canonicalize, GatherOfOneSlice) {
  Program p;
  Value* x = p.arg(f32(8, 4));
  Value* index = p.arg(s32(1));
  p.ret({p.op(OpId::gather, {x, index}, f32(4),
              {{"offset_dims", Attr(Ints{0})},
               {"collapsed_slice_dims", Attr(Ints{0})},
               {"operand_batching_dims", Attr(Ints{})},
               {"start_indices_batching_dims", Attr(Ints{})},
               {"start_index_map", Attr(Ints{0})},
               {"index_vector_dim", Attr(int64_t(0))},
               {"indices_are_sorted", flag(false)},
               {"slice_sizes", Attr(Ints{1, 4})}})});
  canonicalize(p);
  EXPECT_EQ(p.count(OpId::gather), 0);
  EXPECT_EQ(p.count(OpId::dynamic_slice), 1);
}

// Overwrites row `row` of an 8x4 matrix.
int updates_after_scatter(int64_t row) {
  Program p;
  Value* x = p.arg(f32(8, 4));
  Op* op = p.ops(OpId::scatter, {x, p.ints(s32(1), {row}), p.arg(f32(4))}, {f32(8, 4)},
                 {{"update_window_dims", Attr(Ints{0})},
                  {"inserted_window_dims", Attr(Ints{0})},
                  {"input_batching_dims", Attr(Ints{})},
                  {"scatter_indices_batching_dims", Attr(Ints{})},
                  {"scatter_dims_to_operand_dims", Attr(Ints{0})},
                  {"index_vector_dim", Attr(int64_t(0))},
                  {"indices_are_sorted", flag(false)},
                  {"unique_indices", flag(false)}});
  p.region(op, [](Body& b) {
    b.arg(f32());
    b.ret({b.arg(f32())});
  });
  p.ret({op->result()});
  canonicalize(p);
  return p.count(OpId::dynamic_update_slice);
}

TEST(Canonicalize, ScatterOfOneSlice) {
  EXPECT_EQ(updates_after_scatter(7), 1);
  // Out of range: scatter writes nothing, an update would move.
  EXPECT_EQ(updates_after_scatter(8), 0);
}

TEST(Canonicalize, KnownBranch) {
  for (int64_t index : {0, 1, 7, -1}) {
    Program p;
    Value* x = p.arg(f32());
    Op* op = p.ops(OpId::case_, {p.splat(s32(), double(index))}, {f32()});
    p.region(op, [&](Body& b) { b.ret({b.unary(OpId::negate, x)}); });
    p.region(op, [&](Body& b) { b.ret({b.unary(OpId::exponential, x)}); });
    p.ret({op->result()});
    canonicalize(p);
    // Out of range is the last branch.
    EXPECT_EQ(p.returned_op()->id, index == 0 ? OpId::negate : OpId::exponential);
    EXPECT_EQ(p.count(OpId::case_), 0);
  }
}

TEST(Canonicalize, LoopThatNeverRuns) {
  Program p;
  Value* x = p.arg(f32());
  Op* loop = p.ops(OpId::while_, {x}, {f32()});
  p.region(loop, [](Body& b) {
    b.arg(f32());
    b.ret({b.splat(pred(), 0)});
  });
  p.region(loop, [](Body& b) { b.ret({b.unary(OpId::negate, b.arg(f32()))}); });
  p.ret({loop->result()});
  canonicalize(p);
  EXPECT_EQ(p.returned(), x);
}

TEST(Canonicalize, ReductionOfSizeOne) {
  Program p;
  Value* x = p.arg(f32(3, 1));
  Op* op = p.ops(OpId::reduce, {x, p.splat(f32(), -INFINITY)}, {f32(3)},
                 {{"dimensions", Attr(Ints{1})}});
  p.combiner(op, OpId::maximum, f32());
  p.ret({op->result()});
  canonicalize(p);
  EXPECT_EQ(p.returned_op()->id, OpId::reshape);
  EXPECT_EQ(p.returned_op()->operand(0), x);
}

Op* product(Program& p, Value* a, Value* b, Ints lhs_batch, Ints lhs, Ints rhs_batch, Ints rhs,
            Type type) {
  return p.ops(OpId::dot_general, {a, b}, {type},
               {{"lhs_batching_dimensions", Attr(std::move(lhs_batch))},
                {"lhs_contracting_dimensions", Attr(std::move(lhs))},
                {"rhs_batching_dimensions", Attr(std::move(rhs_batch))},
                {"rhs_contracting_dimensions", Attr(std::move(rhs))}});
}
Value* turned(Program& p, Value* x, Ints permutation) {
  Type type = x->type;
  for (size_t d = 0; d < permutation.size(); ++d) type.dims[d] = x->type.dims[permutation[d]];
  return p.op(OpId::transpose, {x}, type, {{"permutation", Attr(std::move(permutation))}});
}

TEST(Canonicalize, NeighboursOfARowThatAreJoined) {
  for (const bool in_order : {true, false}) {
    Program p;
    Value* row = p.arg(f32(1, 12));
    const auto part = [&](int64_t first) {
      Value* slice = p.op(OpId::slice, {row}, f32(1, 4),
                          {{"start_indices", Attr(Ints{0, first})},
                           {"limit_indices", Attr(Ints{1, first + 4})},
                           {"strides", Attr(Ints{1, 1})}});
      return p.op(OpId::reshape, {slice}, f32(1, 2, 2));
    };
    Value* joined = p.op(OpId::concatenate, {part(in_order ? 4 : 8), part(in_order ? 8 : 4)},
                         f32(1, 4, 2), {{"dimension", Attr(int64_t{1})}});
    p.ret({joined});
    canonicalize(p);
    ASSERT_EQ(p.returned_op()->id, in_order ? OpId::reshape : OpId::concatenate);
    if (!in_order) continue;
    const Op* slice = p.returned_op()->operand(0)->op();
    ASSERT_EQ(slice->id, OpId::slice) << ir::print(p.module);
    EXPECT_EQ(slice->ints("start_indices"), (Ints{4}));
    EXPECT_EQ(slice->ints("limit_indices"), (Ints{12}));
    EXPECT_TRUE(ir::verify(p.module).ok()) << ir::print(p.module);
  }
}

TEST(Canonicalize, ConvolutionsWithReversedKernels) {
  for (const bool is_spatial : {true, false}) {
    Program p;
    Value *x = p.arg(f32(2, 5, 6)), *kernel = p.arg(f32(3, 6, 4));
    Value* reversed = p.op(OpId::reverse, {kernel}, kernel->type,
                           {{"dimensions", Attr(Ints{is_spatial ? 0 : 1})}});
    Op* conv = p.ops(OpId::convolution, {x, reversed}, {f32(2, 3, 4)},
                     {{"input_batch_dimension", Attr(int64_t{0})},
                      {"input_feature_dimension", Attr(int64_t{2})},
                      {"input_spatial_dimensions", Attr(Ints{1})},
                      {"kernel_input_feature_dimension", Attr(int64_t{1})},
                      {"kernel_output_feature_dimension", Attr(int64_t{2})},
                      {"kernel_spatial_dimensions", Attr(Ints{0})},
                      {"output_batch_dimension", Attr(int64_t{0})},
                      {"output_feature_dimension", Attr(int64_t{2})},
                      {"output_spatial_dimensions", Attr(Ints{1})},
                      {"feature_group_count", Attr(int64_t{1})},
                      {"batch_group_count", Attr(int64_t{1})},
                      {"window_strides", Attr(Ints{1})},
                      {"padding", Attr(Ints{0, 0})},
                      {"lhs_dilation", Attr(Ints{1})},
                      {"rhs_dilation", Attr(Ints{1})},
                      {"window_reversal", Attr(Ints{0})}});
    p.ret({conv->result()});
    canonicalize(p);
    EXPECT_EQ(conv->operand(1), is_spatial ? kernel : reversed);
    EXPECT_EQ(conv->ints("window_reversal"), (Ints{is_spatial}));
    EXPECT_TRUE(ir::verify(p.module).ok()) << ir::print(p.module);
  }
}

TEST(Canonicalize, ProductsOfTransposedOperands) {
  Program p;
  Value *a = p.arg(f32(5, 2, 3)), *b = p.arg(f32(4, 2, 5));
  Op* dot = product(p, turned(p, a, {1, 2, 0}), turned(p, b, {1, 2, 0}), {0}, {2}, {0}, {1},
                    f32(2, 3, 4));
  p.ret({dot->result()});
  canonicalize(p);
  EXPECT_EQ(dot->operand(0), a);
  EXPECT_EQ(dot->operand(1), b);
  EXPECT_EQ(dot->ints("lhs_batching_dimensions"), (Ints{1}));
  EXPECT_EQ(dot->ints("lhs_contracting_dimensions"), (Ints{0}));
  EXPECT_EQ(dot->ints("rhs_batching_dimensions"), (Ints{1}));
  EXPECT_EQ(dot->ints("rhs_contracting_dimensions"), (Ints{2}));
  EXPECT_TRUE(ir::verify(p.module).ok());
}

TEST(Canonicalize, ATransposeThatOrdersTheResultStays) {
  Program p;
  Value *a = p.arg(f32(2, 3, 5)), *b = p.arg(f32(5, 4));
  Value* t = turned(p, a, {1, 0, 2});
  Op* dot = product(p, t, b, {}, {2}, {}, {0}, f32(3, 2, 4));
  p.ret({dot->result()});
  canonicalize(p);
  EXPECT_EQ(dot->operand(0), t);
}

TEST(Canonicalize, ProductsThatSumNothingAreOfArrays) {
  Program p;
  Value *a = p.arg(f32(4, 2, 3)), *b = p.arg(f32(4, 1, 5)), *c = p.arg(f32(1, 6));
  Op* outer = product(p, a, b, {0}, {}, {0}, {}, f32(4, 2, 3, 1, 5));
  Op* one = product(p, b, c, {}, {1}, {}, {0}, f32(4, 5, 6));
  p.ret({outer->result(), one->result()});
  canonicalize(p);
  EXPECT_EQ(p.returned_op(0)->id, OpId::multiply);
  EXPECT_EQ(p.returned(0)->type, f32(4, 2, 3, 1, 5));
  EXPECT_EQ(p.returned_op(1)->id, OpId::reshape);
  EXPECT_EQ(p.returned_op(1)->operand(0)->op()->id, OpId::multiply);
  EXPECT_TRUE(ir::verify(p.module).ok());
}

TEST(Canonicalize, ArraysWithoutElementsAreConstants) {
  Program p;
  Value* x = p.arg(f32(3, 0));
  Op* sort = p.ops(OpId::sort, {x}, {f32(3, 0)},
                   {{"dimension", Attr(int64_t(0))}, {"is_stable", Attr(Attr::Value(true))}});
  p.region(sort, [&](Body& b) {
    Value *l = b.arg(f32()), *r = b.arg(f32());
    b.ret({b.compare(ir::CompareDirection::lt, l, r)});
  });
  Value* count = p.op(OpId::iota, {}, s32(0), {{"iota_dimension", Attr(int64_t(0))}});
  p.ret({sort->result(), count, p.unary(OpId::exponential, x)});
  canonicalize(p);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(p.returned_op(i)->id, OpId::constant);
}

TEST(Canonicalize, ProductsAndReductionsOfNothing) {
  Program p;
  Value *x = p.arg(f32(3, 0)), *y = p.arg(f32(0, 2)), *init = p.arg(f32());
  Op* dot = product(p, x, y, {}, {1}, {}, {0}, f32(3, 2));
  Op* reduce = p.ops(OpId::reduce, {x, init}, {f32(3)}, {{"dimensions", Attr(Ints{1})}});
  p.region(reduce, [&](Body& b) {
    Value *l = b.arg(f32()), *r = b.arg(f32());
    b.ret({b.binary(OpId::add, l, r)});
  });
  p.ret({dot->result(), reduce->result()});
  canonicalize(p);
  EXPECT_EQ(numbers(p.returned(0)), (std::vector<double>(6, 0)));
  EXPECT_EQ(p.returned_op(1)->id, OpId::broadcast_in_dim);
  EXPECT_EQ(p.returned_op(1)->operand(0), init);
}

}  // namespace
}  // namespace jaxmps::testing
