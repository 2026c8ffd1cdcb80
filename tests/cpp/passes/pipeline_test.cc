// Shardings, composites, calls, decompositions, scans, dead code, and the cost of long programs.
#include <chrono>

#include "ir/op_text.h"
#include "passes/support.h"

namespace jaxmps::testing {
namespace {

void finish(Program& p) { run(p, run_all); }

TEST(LowerSharding, ConstraintsAreIdentities) {
  Program p;
  Value* x = p.arg(f32(4));
  Value* y = p.op(OpId::sdy_sharding_constraint, {x}, f32(4));
  p.ops(OpId::sdy_sharding_group, {y}, {}, {{"group_id", Attr(int64_t(1))}});
  p.ret({p.op(OpId::custom_call, {y}, f32(4),
              {{"call_target_name", Attr(std::string("Sharding"))}})});
  run(p, passes::lower_sharding);
  EXPECT_EQ(p.returned(), x);
  EXPECT_EQ(p.op_count(), 1);
}

TEST(LowerSharding, ManualComputationOfOneDevice) {
  Program p;
  Value* x = p.arg(f32(4));
  Op* op = p.ops(OpId::sdy_manual_computation, {x}, {f32(4)});
  p.region(op, [](Body& b) { b.ret({b.unary(OpId::negate, b.arg(f32(4)))}); });
  p.ret({op->result()});
  run(p, passes::lower_sharding);
  EXPECT_EQ(p.returned_op()->id, OpId::negate);
}

TEST(LowerSharding, ManualComputationOfSeveralDevicesIsRefused) {
  Program p;
  Value* x = p.arg(f32(4));
  Op* op = p.ops(OpId::sdy_manual_computation, {x}, {f32(4)});
  p.region(op, [](Body& b) { b.ret({b.unary(OpId::negate, b.arg(f32(2)))}); });
  p.ret({op->result()});
  const Status status = passes::lower_sharding(p.module);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().text.find("sdy.manual_computation (f32[4]) -> f32[4] at model.py:1:1"),
            std::string::npos)
      << status.error().text;
}

TEST(Composites, KnownAndUnknown) {
  Program p;
  Value* x = p.arg(f32(9));
  ir::Function* f = p.function("impl");
  Body body = p.body(f);
  p.finish(f, {body.unary(OpId::negate, body.arg(f32(9)))});
  auto composite = [&](const char* name) {
    return p.op(OpId::composite, {x}, f32(9),
                {{"name", Attr(std::string(name))}, {"decomposition", Attr(ir::Symbol{"impl"})}});
  };
  ir::AttrDict k{{"k", Attr(int64_t(3))}};
  ir::Function* top = p.function("top");
  Body top_body = p.body(top);
  top_body.arg(f32(9));
  p.finish(top, {top_body.splat(f32(3), 0), top_body.splat(s32(3), 0)});
  Op* best = p.ops(OpId::composite, {x}, {f32(3), s32(3)},
                   {{"name", Attr(std::string("chlo.top_k"))},
                    {"composite_attributes", Attr(Attr::Value(k))},
                    {"decomposition", Attr(ir::Symbol{"top"})}});
  p.ret({composite("chlo.erf"), composite("my.own"), best->result(0), best->result(1)});
  finish(p);
  EXPECT_EQ(p.returned_op(0)->id, OpId::erf);
  EXPECT_EQ(p.returned_op(1)->id, OpId::negate);
  ASSERT_EQ(p.returned_op(2)->id, OpId::top_k);
  EXPECT_EQ(p.returned_op(2)->i64("k"), 3);
  EXPECT_EQ(p.module.functions.size(), 1u);
}

TEST(Composites, CustomCallsOfMhlo) {
  Program p;
  Value* x = p.arg(f32(2));
  p.ret(
      {p.op(OpId::custom_call, {x}, f32(2), {{"call_target_name", Attr(std::string("mhlo.asin"))}}),
       p.op(OpId::custom_call, {x}, f32(2), {{"call_target_name", Attr(std::string("other"))}})});
  run(p, passes::recognize_composites);
  EXPECT_EQ(p.returned_op(0)->id, OpId::asin);
  EXPECT_EQ(p.returned_op(1)->id, OpId::custom_call);
}

TEST(Inline, NestedCalls) {
  Program p;
  Value* x = p.arg(f32());
  ir::Function* g = p.function("g");
  Body gb = p.body(g);
  p.finish(g, {gb.unary(OpId::negate, gb.arg(f32()))});
  ir::Function* f = p.function("f");
  Body fb = p.body(f);
  Value* y = fb.arg(f32());
  Value* once = fb.op(OpId::call, {y}, f32(), {{"callee", Attr(ir::Symbol{"g"})}});
  p.finish(f, {fb.op(OpId::call, {once}, f32(), {{"callee", Attr(ir::Symbol{"g"})}}), y});
  Op* op = p.ops(OpId::call, {x}, {f32(), f32()}, {{"callee", Attr(ir::Symbol{"f"})}});
  p.ret({op->result(0), op->result(1)});
  run(p, passes::inline_calls);
  EXPECT_EQ(p.count(OpId::call), 0);
  EXPECT_EQ(p.count(OpId::negate), 2);
  EXPECT_EQ(p.returned(1), x);
  EXPECT_EQ(p.module.functions.size(), 1u);
}

TEST(LowerSharding, OneDeviceComputesAllByHand) {
  const auto said = [](int64_t devices) {
    Program p;
    OpText(
        "sdy.manual_computation f32[4] -> f32[4] in_shardings=(<mesh=@m>) manual_axes=(\"a\") "
        "out_shardings=() {f32[4] -> f32[4]}")
        .build(p);
    p.module.meshes = {{"m", {{"a", devices}}, {}}};
    const Status status = passes::lower_sharding(p.module);
    return status.ok() ? "" : status.error().text;
  };
  EXPECT_EQ(said(1), "");
  EXPECT_NE(said(2).find("manual computations over several devices are not supported"),
            std::string::npos);
}

// A chain of functions, each of which calls the next one in a branch.
TEST(Inline, RegionsOfAllFunctionsTogetherHaveADepth) {
  const auto inlined = [](int functions) {
    Program p;
    ir::Function* next = nullptr;
    for (int i = 0; i < functions; ++i) {
      ir::Function* f = p.function(str("f", i));
      Body body = p.body(f);
      Op* branch = body.ops(OpId::case_, {body.arg(s32())}, {s32()});
      Value* index = f->body.arg(0);
      p.region(branch, [&](Body& b) {
        b.ret({next ? b.op(OpId::call, {index}, s32(), {{"callee", Attr(ir::Symbol{next->name})}})
                    : index});
      });
      p.region(branch, [&](Body& b) { b.ret({b.unary(OpId::negate, index)}); });
      p.finish(f, {branch->result()});
      next = f;
    }
    p.ret({p.call(next, {p.arg(s32())}, s32())});
    expect_valid(p);
    const Status status = run_all(p.module);
    return status.ok() ? "" : status.error().text;
  };
  EXPECT_EQ(inlined(400), "");
  EXPECT_EQ(inlined(600), "control flow is nested too deeply");
}

TEST(Inline, ProgramsThatExplodeAreRefused) {
  Program p;
  Value* x = p.arg(f32());
  std::string callee;
  for (int i = 0; i < 60; ++i) {
    ir::Function* f = p.function("f" + std::to_string(i));
    Body b = p.body(f);
    Value* y = b.arg(f32());
    for (int k = 0; k < 2; ++k) {
      y = callee.empty() ? b.unary(OpId::sine, y)
                         : b.op(OpId::call, {y}, f32(), {{"callee", Attr(ir::Symbol{callee})}});
    }
    p.finish(f, {y});
    callee = f->name;
  }
  p.ret({p.op(OpId::call, {x}, f32(), {{"callee", Attr(ir::Symbol{callee})}})});
  expect_valid(p);
  const Status status = passes::inline_calls(p.module);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::resource_exhausted);
  EXPECT_NE(status.error().text.find("makes the program too large"), std::string::npos);
}

TEST(Decompose, IfIsACaseOverFalseAndTrue) {
  Program p;
  Value *c = p.arg(pred()), *x = p.arg(f32());
  Op* op = p.ops(OpId::if_, {c}, {f32()});
  p.region(op, [&](Body& b) { b.ret({b.unary(OpId::negate, x)}); });
  p.region(op, [&](Body& b) { b.ret({b.unary(OpId::exponential, x)}); });
  p.ret({op->result()});
  finish(p);
  const Op* chosen = p.returned_op();
  ASSERT_EQ(chosen->id, OpId::case_);
  EXPECT_EQ(chosen->operand(0)->op()->id, OpId::convert);
  EXPECT_EQ(chosen->region(0).first()->id, OpId::exponential);
  EXPECT_EQ(chosen->region(1).first()->id, OpId::negate);
}

TEST(Decompose, KnownIf) {
  Program p;
  Value* x = p.arg(f32());
  Op* op = p.ops(OpId::if_, {p.splat(pred(), 1)}, {f32()});
  p.region(op, [&](Body& b) { b.ret({b.unary(OpId::negate, x)}); });
  p.region(op, [&](Body& b) { b.ret({b.unary(OpId::exponential, x)}); });
  p.ret({op->result()});
  finish(p);
  EXPECT_EQ(p.returned_op()->id, OpId::negate);
}

TEST(Decompose, DynamicOpsWithConstantShapes) {
  Program p;
  Value* x = p.arg(f32(6));
  Value* sizes = p.ints(s32(2), {2, 3});
  Value* shape = p.binary(OpId::add, sizes, p.splat(s32(2), 0));
  p.ret({p.op(OpId::dynamic_reshape, {x, shape}, f32(2, 3)),
         p.op(OpId::dynamic_iota, {shape}, s32(2, 3), {{"iota_dimension", Attr(int64_t(1))}}),
         p.op(OpId::dynamic_pad,
              {x, p.splat(f32(), 0), p.ints(s32(1), {1}), p.ints(s32(1), {2}), p.ints(s32(1), {0})},
              f32(9)),
         p.op(OpId::real_dynamic_slice,
              {x, p.ints(s32(1), {1}), p.ints(s32(1), {5}), p.ints(s32(1), {2})}, f32(2))});
  finish(p);
  EXPECT_EQ(p.returned_op(0)->id, OpId::reshape);
  EXPECT_EQ(p.returned_op(1)->id, OpId::iota);
  EXPECT_EQ(p.returned_op(2)->id, OpId::pad);
  EXPECT_EQ(p.returned_op(3)->id, OpId::slice);
}

TEST(Decompose, ConstantsThatDoNotFitAreLeft) {
  Program p;
  Value* x = p.ints(s32(6), {1, 2, 3, 4, 5, 6});
  p.ret({p.op(OpId::real_dynamic_slice,
              {x, p.ints(s32(1), {100}), p.ints(s32(1), {102}), p.ints(s32(1), {1})}, s32(2)),
         p.op(OpId::dynamic_pad,
              {x, p.splat(s32(), 0), p.ints(s32(1), {1}), p.ints(s32(1), {2}), p.ints(s32(1), {0})},
              s32(7)),
         p.op(OpId::einsum, {x, p.arg(s32(5))}, s32(),
              {{"einsum_config", Attr(std::string("i,i->"))}})});
  finish(p);
  EXPECT_EQ(p.returned_op(0)->id, OpId::real_dynamic_slice);
  EXPECT_EQ(p.returned_op(1)->id, OpId::dynamic_pad);
  EXPECT_EQ(p.returned_op(2)->id, OpId::einsum);
}

TEST(Decompose, DotsAndEinsums) {
  Program p;
  Value *a = p.arg(f32(2, 3)), *b = p.arg(f32(3, 4)), *c = p.arg(f32(5, 2, 3));
  p.ret({p.op(OpId::dot, {a, b}, f32(2, 4)),
         p.op(OpId::einsum, {c, b}, f32(2, 4, 5),
              {{"einsum_config", Attr(std::string("bij,jk->ikb"))}}),
         p.op(OpId::unary_einsum, {c}, f32(3, 5),
              {{"einsum_config", Attr(std::string("bij->jb"))}})});
  finish(p);
  EXPECT_EQ(p.count(OpId::dot_general), 2);
  EXPECT_EQ(p.count(OpId::einsum) + p.count(OpId::unary_einsum) + p.count(OpId::dot), 0);
  EXPECT_EQ(p.count(OpId::reduce), 1);
}

TEST(Decompose, MapIsLifted) {
  Program p;
  Value* x = p.arg(f32(3));
  Op* op = p.ops(OpId::map, {x, x}, {f32(3)}, {{"dimensions", Attr(Ints{0})}});
  p.region(op, [](Body& b) {
    Value *s = b.arg(f32()), *t = b.arg(f32());
    b.ret({b.binary(OpId::multiply, b.binary(OpId::add, s, b.splat(f32(), 2)), t)});
  });
  p.ret({op->result()});
  finish(p);
  EXPECT_EQ(p.count(OpId::map), 0);
  EXPECT_EQ(p.returned_op()->id, OpId::multiply);
  EXPECT_EQ(p.returned_op()->result()->type, f32(3));
}

TEST(Decompose, BatchNorms) {
  Program p;
  const Type image = f32(2, 3, 4), vector = f32(3);
  Value *x = p.arg(image), *s = p.arg(vector), *o = p.arg(vector), *m = p.arg(vector),
        *v = p.arg(vector);
  const Attrs attrs{{"epsilon", Attr(Attr::Value(ir::TypedFloat{DType::f32, 1e-3}))},
                    {"feature_index", Attr(int64_t(1))}};
  Op* training = p.ops(OpId::batch_norm_training, {x, s, o}, {image, vector, vector}, attrs);
  Op* gradient = p.ops(OpId::batch_norm_grad, {x, s, m, v, x}, {image, vector, vector}, attrs);
  p.ret({p.op(OpId::batch_norm_inference, {x, s, o, m, v}, image, attrs), training->result(0),
         training->result(2), gradient->result(0), gradient->result(1)});
  finish(p);
  for (OpId id : {OpId::batch_norm_training, OpId::batch_norm_grad, OpId::batch_norm_inference}) {
    EXPECT_EQ(p.count(id), 0);
  }
}

TEST(Decompose, CollectivesOfOneDevice) {
  Program p;
  Value* x = p.arg(f32(4));
  ir::ReplicaGroups groups;
  groups.groups = {{0}};
  Op* op = p.ops(OpId::all_reduce, {x}, {f32(4)},
                 {{"channel_id", Attr(int64_t(0))},
                  {"replica_groups", Attr(Attr::Value(groups))},
                  {"use_global_device_ids", flag(false)}});
  p.combiner(op, OpId::add, f32());
  p.ret({op->result(), p.op(OpId::partition_id, {}, u32()),
         p.op(OpId::collective_permute, {x}, f32(4),
              {{"channel_id", Attr(int64_t(0))}, {"source_target_pairs", Attr(Ints{})}}),
         p.op(OpId::collective_broadcast, {x}, f32(4),
              {{"channel_id", Attr(int64_t(0))}, {"replica_groups", Attr(Attr::Value(groups))}})});
  finish(p);
  EXPECT_EQ(p.returned(0), x);
  EXPECT_EQ(p.returned(3), x);
  EXPECT_EQ(numbers(p.returned(1)), (std::vector<double>{0}));
  EXPECT_EQ(numbers(p.returned(2)), (std::vector<double>{0, 0, 0, 0}));
}

TEST(Decompose, WhatIsStartedIsDoneAtOnce) {
  Program p;
  Value* x = p.arg(f32(4));
  Type future;
  future.kind = Type::Kind::future;
  Op* start = p.ops(OpId::async_start, {x}, {future});
  Body body(&p.module, start->add_region());
  Value* inner = body.arg(f32(4));
  body.ret({body.op(OpId::negate, {inner}, f32(4))});
  p.ret({p.op(OpId::async_done, {start->result()}, f32(4))});
  finish(p);
  ASSERT_EQ(p.returned_op()->id, OpId::negate);
  EXPECT_EQ(p.returned_op()->operand(0), x);
}

TEST(Cumulative, WindowOverAWholeDimension) {
  for (bool reverse : {false, true}) {
    Program p;
    Value* x = p.arg(f32(2, 5));
    const Ints padding = reverse ? Ints{0, 0, 0, 4} : Ints{0, 0, 4, 0};
    Op* op = p.ops(OpId::reduce_window, {x, p.splat(f32(), 0)}, {f32(2, 5)},
                   {{"window_dimensions", Attr(Ints{1, 5})},
                    {"window_strides", Attr(Ints{1, 1})},
                    {"base_dilations", Attr(Ints{1, 1})},
                    {"window_dilations", Attr(Ints{1, 1})},
                    {"padding", Attr(padding)}});
    p.combiner(op, OpId::add, f32());
    p.ret({op->result()});
    finish(p);
    ASSERT_EQ(p.returned_op()->id, OpId::cumulative);
    EXPECT_EQ(p.returned_op()->i64("dimension"), 1);
    EXPECT_EQ(p.returned_op()->flag("reverse"), reverse);
    EXPECT_EQ(p.returned_op()->text("kind"), "add");
  }
}

TEST(Sink, ComparatorsAreClosed) {
  Program p;
  Value* x = p.arg(f32(5));
  Value* zero = p.splat(f32(), 0);
  Op* sort = p.ops(OpId::sort, {x}, {f32(5)},
                   {{"dimension", Attr(int64_t(0))}, {"is_stable", flag(true)}});
  p.region(sort, [&](Body& b) {
    Value *s = b.arg(f32()), *t = b.arg(f32());
    b.ret({b.compare(ir::CompareDirection::lt, b.binary(OpId::add, s, zero), t)});
  });
  p.ret({sort->result()});
  finish(p);
  for (const Op* op : p.returned_op()->region()) {
    for (const Value* operand : op->operands()) {
      EXPECT_TRUE(operand->is_argument() || operand->op()->parent() == &p.returned_op()->region());
    }
  }
}

TEST(Sink, LoopsHaveTheirOwnArraysOfOneValueAndNoUnreadCounter) {
  Program p;
  Value* x = p.arg(f32(4));
  Value *zero = p.splat(s32(), 0), *factor = p.splat(f32(4), 0.5);
  Op* loop = p.ops(OpId::while_, {zero, x}, {s32(), f32(4)});
  p.region(loop, [](Body& b) {
    Value* n = b.arg(s32());
    b.arg(f32(4));
    b.ret({b.compare(ir::CompareDirection::lt, n, b.splat(s32(), 10))});
  });
  p.region(loop, [&](Body& b) {
    Value *n = b.arg(s32()), *y = b.arg(f32(4));
    b.ret({b.binary(OpId::add, n, b.splat(s32(), 1)), b.binary(OpId::multiply, y, factor)});
  });
  p.ret({loop->result(1)});
  finish(p);
  const Op* counted = p.returned_op();
  ASSERT_EQ(counted->result_count(), 1);
  EXPECT_TRUE(ir::find(counted->discardable, "mps.trip_count"));
  const Op* product = counted->region(1).terminator()->operand(0)->op();
  ASSERT_EQ(product->id, OpId::multiply);
  EXPECT_EQ(product->operand(1)->op()->parent(), &counted->region(1));
}

TEST(DeadCode, UnusedCarriedValuesAndBranchResults) {
  Program p;
  Value *x = p.arg(f32()), *i = p.arg(s32());
  Op* loop = p.ops(OpId::while_, {i, x, x}, {s32(), f32(), f32()});
  p.region(loop, [](Body& b) {
    Value* n = b.arg(s32());
    b.arg(f32());
    b.arg(f32());
    b.ret({b.compare(ir::CompareDirection::lt, n, b.splat(s32(), 10))});
  });
  p.region(loop, [](Body& b) {
    Value *n = b.arg(s32()), *y = b.arg(f32()), *z = b.arg(f32());
    b.ret({b.binary(OpId::add, n, b.splat(s32(), 1)), b.unary(OpId::sine, y),
           b.unary(OpId::cosine, z)});
  });
  p.ret({loop->result(1)});
  finish(p);
  EXPECT_EQ(p.count(OpId::cosine), 0);
  EXPECT_EQ(p.returned_op()->result_count(), 2);
}

TEST(Cse, EqualOpsMerge) {
  Program p;
  Value* x = p.arg(f32(3));
  Value *a = p.unary(OpId::sine, x), *b = p.unary(OpId::sine, x);
  p.ret({p.binary(OpId::subtract, a, b)});
  finish(p);
  EXPECT_EQ(p.count(OpId::sine), 1);
}

double seconds_for_chain(int length) {
  Program p;
  Value* x = p.arg(f32(8));
  Value* y = x;
  for (int i = 0; i < length; ++i) {
    y = p.binary(OpId::add, y, p.broadcast(p.splat(f32(), i), {8}, {}));
  }
  p.ret({y});
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(ir::verify(p.module).ok());
  EXPECT_TRUE(passes::run_passes(p.module).ok());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(Pipeline, CostIsCloseToLinear) {
  const double small = seconds_for_chain(10'000), large = seconds_for_chain(100'000);
  RecordProperty("milliseconds_for_100k", static_cast<int>(large * 1000));
  // Ten times the ops; a quadratic pass would take a hundred times as long.
  EXPECT_LT(large, 40 * small + 1);
  EXPECT_LT(large, 30);
}

}  // namespace
}  // namespace jaxmps::testing
