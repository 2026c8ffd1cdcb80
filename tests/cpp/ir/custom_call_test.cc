// The rules of custom calls: a right form of each family is accepted, wrong ones are named.
#include "ir/custom_call.h"

#include <gtest/gtest.h>

#include "ir/builder.h"

namespace jaxmps::testing {
namespace {

struct Call {
  std::string target;
  std::vector<Type> operands, results;
  Attrs attrs = {};
  std::string config = {};
};

// What the verifier says of a program with the call.
std::string failure(const Call& call, const std::function<void(Program&, Op*)>& change = {}) {
  Program p;
  Values operands;
  for (const Type& type : call.operands) operands.push_back(p.arg(type));
  Attrs attrs = call.attrs;
  attrs.push_back({"call_target_name", Attr(call.target)});
  if (!call.config.empty()) attrs.push_back({"backend_config", Attr(call.config)});
  Op* op = p.ops(OpId::custom_call, operands, call.results, std::move(attrs));
  if (change) change(p, op);
  Values results;
  for (int i = 0; i < op->result_count(); ++i) results.push_back(op->result(i));
  p.ret(results);
  const Status status = ir::verify(p.module);
  return status.ok() ? "" : status.error().text;
}

void expect_accepted(const Call& call) { EXPECT_EQ(failure(call), "") << call.target; }
void expect_refused(const Call& call, std::string_view why) {
  const std::string text = failure(call);
  EXPECT_NE(text.find(why), std::string::npos) << "expected: " << why << "\ngot: " << text;
  EXPECT_NE(text.find("@" + call.target), std::string::npos) << text;
  EXPECT_NE(text.find("model.py:"), std::string::npos) << text;
}

Type c64(int64_t m, int64_t n) { return Type(DType::c64, {m, n}); }

TEST(CustomCall, LinearAlgebra) {
  const Type a = f32(2, 4, 3), s = f32(2, 3, 3);
  expect_accepted({"Qr", {a}, {a, f32(2, 3)}});
  expect_refused({"Qr", {a}, {a, f32(2, 4)}}, "result 1 must be f32[2,3], is f32[2,4]");
  expect_refused({"Qr", {a}, {a}}, "needs 2 results, has 1");
  expect_refused({"Qr", {f32(3)}, {f32(3), f32()}}, "must be a matrix");
  expect_refused({"Qr", {s32(3, 3)}, {s32(3, 3), s32(3)}}, "must be a matrix of floats");
  expect_accepted({"ProductOfElementaryHouseholderReflectors", {a, f32(2, 2)}, {a}});
  expect_refused({"ProductOfElementaryHouseholderReflectors", {a, f32(2, 4)}, {a}},
                 "there are 4 reflectors");
  expect_refused({"ProductOfElementaryHouseholderReflectors", {a, f32()}, {a}}, "operand 1 must");
  expect_accepted({"mps.lu", {a}, {a, s32(2, 3), s32(2, 4)}});
  expect_refused({"mps.lu", {a}, {a, f32(2, 3), s32(2, 4)}}, "result 1 must be s32[2,3]");
  expect_accepted({"mps.geqp3", {a, s32(2, 3)}, {a, s32(2, 3), f32(2, 3)}});
  expect_refused({"mps.geqp3", {a, s32(3)}, {a, s32(2, 3), f32(2, 3)}}, "operand 1 must be");
  expect_accepted({"mps.ormqr", {a, f32(2, 3), f32(2, 4, 7)}, {f32(2, 4, 7)}, {}, "left=1"});
  expect_refused({"mps.ormqr", {a, f32(2, 3), f32(2, 4, 7)}, {f32(2, 4, 7)}, {}, "left=0"},
                 "does not fit");
  expect_accepted({"mps.eigh", {c64(3, 3)}, {c64(3, 3), f32(3)}, {}, "lower=1"});
  expect_refused({"mps.eigh", {c64(3, 3)}, {c64(3, 3), Type(DType::f64, {3})}}, "result 1 must");
  expect_refused({"mps.eigh", {a}, {a, f32(2, 3)}}, "must be square");
  expect_accepted({"mps.svd", {a}, {f32(2, 3)}});
  expect_accepted({"mps.svd", {a}, {f32(2, 3), a, s}, {}, "vectors=1 full=0"});
  expect_refused({"mps.svd", {a}, {f32(2, 3), a, s}, {}, "vectors=1 full=1"}, "result 1 must be");
  expect_refused({"mps.svd", {f32(0, 3)}, {f32(0)}}, "is empty");
  expect_accepted({"mps.eig", {f32(3, 3)}, {Type(DType::c64, {3}), c64(3, 3)}, {}, "right=1"});
  expect_refused({"mps.eig", {f32(3, 3)}, {f32(3)}}, "result 0 must be c64[3]");
  expect_accepted({"mps.schur", {s}, {s, s}, {}, "vectors=1"});
  expect_refused({"mps.schur", {s}, {s, s}}, "needs 1 results, has 2");
  expect_accepted({"mps.hessenberg", {s}, {s, f32(2, 2)}});
  expect_refused({"mps.hessenberg", {f32(0, 0)}, {f32(0, 0), f32(0)}}, "is empty");
  expect_accepted(
      {"mps.tridiagonal", {c64(3, 3)}, {c64(3, 3), f32(3), f32(2), Type(DType::c64, {2})}});
  expect_refused({"mps.tridiagonal", {c64(3, 3)}, {c64(3, 3), f32(3), f32(2), f32(2)}},
                 "result 3 must");
}

// The kernels of JAX's CPU backend, by their names.
TEST(CustomCall, Lapack) {
  const auto options = [](ir::AttrDict given) {
    return Attrs{{"backend_config", Attr(Attr::Value(std::move(given)))}};
  };
  const auto letter = [](char value) { return Attr(int64_t{value}); };
  const Type a = f32(2, 4, 3), info = s32(2);
  expect_accepted({"lapack_sgetrf_ffi", {a}, {a, s32(2, 3), info}, options({})});
  expect_refused({"lapack_dgetrf_ffi", {a}, {a, s32(2, 3), info}}, "is not one for f32");
  expect_refused({"lapack_sgetrf_ffi", {a}, {a, s32(2, 3), s32()}}, "result 2 must be s32[2]");
  const auto svd = [&](char mode, const Type& u) {
    return Call{"lapack_sgesdd_ffi",
                {a},
                {a, f32(2, 3), u, f32(2, 3, 3), info},
                options({{"mode", letter(mode)}})};
  };
  expect_accepted(svd('A', f32(2, 4, 4)));
  expect_accepted(svd('S', a));
  expect_accepted(svd('N', a));
  expect_accepted(svd('N', f32(2, 4, 4)));
  expect_refused(svd('A', a), "result 2 must be f32[2,4,4]");
  expect_refused(svd('B', a), "option mode is");
  const Type s = f32(3, 3);
  const auto reduced = [&](int64_t high) {
    return Call{"lapack_sgehrd_ffi",
                {s},
                {s, f32(2), s32()},
                options({{"high", Attr(high)}, {"low", Attr(int64_t{1})}})};
  };
  expect_accepted(reduced(3));
  expect_refused(reduced(2), "only the whole matrix");
}

TEST(CustomCall, Options) {
  const Type a = f32(3, 3);
  auto eigh = [&](std::string config) { return Call{"mps.eigh", {a}, {a, f32(3)}, {}, config}; };
  expect_refused(eigh("upper=1"), "there is no option upper");
  expect_refused(eigh("lower=2"), "option lower must be 0 or 1, is 2");
  expect_refused(eigh("lower=1 lower=1"), "comes twice");
  expect_refused(eigh("lower"), "must be words");
  expect_refused(eigh("lower=1x"), "must be words");
  expect_refused(eigh("=1"), "must be words");
  expect_refused({"mps.python_callback", {a}, {a}}, "option id is missing");
  expect_accepted({"mps.python_callback", {a}, {a}, {}, "id=-7"});
}

TEST(CustomCall, Layouts) {
  const Type a = f32(3, 3);
  auto with = [&](std::string name, ir::AttrList layouts) {
    return Call{"Qr", {a}, {a, f32(3)}, {{std::move(name), Attr(Attr::Value(std::move(layouts)))}}};
  };
  expect_accepted(with("operand_layouts", {Ints{1, 0}}));
  expect_refused(with("operand_layouts", {Ints{0, 1}}), "another layout");
  expect_refused(with("operand_layouts", {Ints{0}}), "1 dimensions");
  expect_refused(with("operand_layouts", {Ints{1, 0}, Ints{1, 0}}), "2 entries for 1 values");
  expect_refused(with("output_operand_aliases", {Attr(Attr::Value(ir::OutputOperandAlias{}))}),
                 "share memory");
}

TEST(CustomCall, FunctionsOfFloats) {
  expect_accepted({"mhlo.erf", {f32(3)}, {f32(3)}});
  expect_refused({"mhlo.erf", {f32(3)}, {f32(2)}}, "the result must be f32[3]");
  expect_refused({"mhlo.tan", {s32(3)}, {s32(3)}}, "must hold floats");
  const Call call{"mhlo.topk", {f32(4, 9)}, {f32(4, 2), s32(4, 2)}};
  auto with = [&](ir::AttrDict parameters) {
    return failure(call, [&](Program&, Op* op) {
      op->discardable = {{"mhlo.attributes", Attr(Attr::Value(std::move(parameters)))}};
    });
  };
  EXPECT_EQ(with({{"k", Attr(int64_t{2})}, {"largest", flag(true)}}), "");
  EXPECT_NE(with({{"k", Attr(int64_t{3})}}).find("result 0 must be f32[4,3]"), std::string::npos);
  EXPECT_NE(with({{"k", Attr(int64_t{-2})}}).find("k is -2"), std::string::npos);
  EXPECT_NE(with({{"k", Attr(int64_t{2})}, {"largest", flag(false)}}).find("largest"),
            std::string::npos);
  EXPECT_NE(with({}).find("option k"), std::string::npos);
}

// A comparator of values and indices of these types.
void add_comparator(Program& p, Op* op, const Type& value, const Type& index, const Type& result) {
  ir::Function* f = p.module.add_function("larger");
  Body body(&p.module, &f->body);
  Values arguments;
  for (const Type& type : {value, value, index, index}) arguments.push_back(body.arg(type));
  Value* larger = body.compare(ir::CompareDirection::gt, arguments[0], arguments[1]);
  body.ret({result.dtype == DType::pred ? larger : arguments[0]});
  f->type.kind = Type::Kind::function;
  f->type.elements = {value, value, index, index};
  f->type.results = {result};
  op->set_attr("called_computations", Attr(Attr::Value(ir::AttrList{Attr(ir::Symbol{"larger"})})));
}

std::string approx_top_k(const std::vector<Type>& operands, const std::vector<Type>& results,
                         int64_t dimension, int64_t k, const Type& compared = f32(),
                         const Type& result = pred()) {
  return failure({"ApproxTopK", operands, results}, [&](Program& p, Op* op) {
    ir::AttrDict options{{"aggregate_to_topk", flag(true)},
                         {"recall_target", Attr(0.9)},
                         {"reduction_dim", Attr(dimension)},
                         {"top_k", Attr(k)}};
    op->discardable = {{"mhlo.backend_config", Attr(Attr::Value(std::move(options)))}};
    add_comparator(p, op, compared, s32(), result);
  });
}

TEST(CustomCall, ApproximateTopK) {
  const std::vector<Type> operands{f32(4, 9), s32(4, 9), f32(), s32()};
  const std::vector<Type> results{f32(4, 2), s32(4, 2)};
  EXPECT_EQ(approx_top_k(operands, results, 1, 2), "");
  auto expect = [](const std::string& text, std::string_view why) {
    EXPECT_NE(text.find(why), std::string::npos) << "expected: " << why << "\ngot: " << text;
    EXPECT_NE(text.find("@ApproxTopK"), std::string::npos) << text;
  };
  const Type narrow(DType::s8, {4, 2});
  expect(approx_top_k(operands, {narrow, results[1]}, 1, 2), "result 0 must be f32[4,2]");
  expect(approx_top_k(operands, {results[0], narrow}, 1, 2), "result 1 must be s32[4,2]");
  expect(approx_top_k({f32(4, 9), s32(4, 9), f32(0), s32()}, results, 1, 2), "operand 2 must be");
  expect(approx_top_k({f32(4, 9), s32(4, 8), f32(), s32()}, results, 1, 2), "operand 1 must have");
  expect(approx_top_k(operands, results, 2, 2), "reduction_dim is 2");
  expect(approx_top_k(operands, results, 1, 3), "cannot hold the 3 values");
  expect(approx_top_k(operands, {f32(4, 10), s32(4, 10)}, 1, 10), "top_k is 10");
  expect(approx_top_k(operands, results, 1, 2, s32()), "argument 0 of @larger must be f32[]");
  expect(approx_top_k(operands, results, 1, 2, f32(), f32()), "result 0 of @larger");
  expect(failure({"ApproxTopK", operands, results}), "needs 1 called computations, has 0");
}

TEST(CustomCall, Hints) {
  expect_accepted({"Sharding", {f32(3)}, {f32(3)}, {}, "unspecified_dims=[0]"});
  expect_refused({"Sharding", {f32(3)}, {f32(3), f32(3)}}, "has 1 operands and 2 results");
  expect_refused({"annotate_device_placement", {f32(3)}, {f32(4)}}, "the result must be f32[3]");
  expect_accepted({"xla.sdy.GlobalToLocalShape", {f32(4)}, {f32(4)}});
  expect_refused({"dce_sink", {f32(3)}, {f32(3)}}, "needs 0 results, has 1");
  expect_refused({"shape_assertion", {f32(3)}, {}}, "operand 0 must be pred[]");
  expect_accepted({"nobody.knows", {f32(3)}, {f32(4)}});  // refused by name when it is compiled
}

}  // namespace
}  // namespace jaxmps::testing
