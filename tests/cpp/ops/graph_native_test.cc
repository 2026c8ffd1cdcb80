// The graph that a block builds for other devices and its native CPU kernel must give the same
// arrays. The graphs are evaluated on MLX's CPU device: they are the same on every device.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "ir/module.h"
#include "mlx/primitives.h"
#include "ops/op.h"

namespace jaxmps::ops {
namespace {

using ir::Attr;
using ir::AttrDict;
using ir::Dims;
using ir::Enum;
using ir::Ints;
using ir::Op;
using ir::OpId;
using ir::Type;
using ir::Value;

AttrDict sorted(AttrDict attrs) {
  std::sort(attrs.begin(), attrs.end(), [](auto& a, auto& b) { return a.name < b.name; });
  return attrs;
}

// A function with one op on its parameters.
struct OneOp {
  ir::Module module;
  ir::Region* body;
  Op* op;

  OneOp(OpId id, const std::vector<Type>& in, const std::vector<Type>& out, AttrDict attrs) {
    body = &module.add_function("main")->body;
    std::vector<Value*> operands;
    for (const Type& type : in) operands.push_back(body->add_arg(type));
    op = body->append(Op::create(id, operands, out, sorted(std::move(attrs))));
  }

  // A region of scalars; `build` gives what it returns.
  template <typename F>
  void region(const std::vector<Type>& args, F build) {
    ir::Region* region = op->add_region();
    for (const Type& type : args) region->add_arg(type);
    const std::vector<Value*> results = build(region);
    region->append(Op::create(OpId::return_, results, {}));
  }
};

Value* append(ir::Region* region, OpId id, std::vector<Value*> operands, Type type,
              AttrDict attrs = {}) {
  const Type types[] = {type};
  return region->append(Op::create(id, operands, types, sorted(std::move(attrs))))->result();
}

Value* compare(ir::Region* region, Value* a, Value* b, ir::CompareDirection direction,
               ir::CompareType type) {
  return append(region, OpId::compare, {a, b}, Type(DType::pred, {}),
                {{"comparison_direction",
                  Enum{Enum::Kind::compare_direction, static_cast<uint8_t>(direction)}},
                 {"compare_type", Enum{Enum::Kind::compare_type, static_cast<uint8_t>(type)}}});
}

// Random bytes that are small numbers in the type, of both signs where it has any.
std::vector<char> random_data(const Type& type, std::mt19937& random, int64_t low, int64_t high) {
  std::vector<char> data(std::max<int64_t>(1, type.byte_count()));
  for (int64_t i = 0; i < type.size(); ++i) {
    const int64_t value = std::uniform_int_distribution<int64_t>(low, high)(random);
    char* to = data.data() + i * ir::byte_size(type.dtype);
    switch (type.dtype) {
      case DType::f32: {
        const float x = static_cast<float>(value) / 2;
        std::memcpy(to, &x, 4);
        break;
      }
      case DType::c64: {
        const float x[2] = {static_cast<float>(value), static_cast<float>(value % 3)};
        std::memcpy(to, x, 8);
        break;
      }
      case DType::bf16: {
        const float x = static_cast<float>(value);
        std::memcpy(to, reinterpret_cast<const char*>(&x) + 2, 2);
        break;
      }
      case DType::pred:
        *to = value % 2 != 0;
        break;
      default:
        std::memcpy(to, &value, ir::byte_size(type.dtype));  // little-endian
    }
  }
  return data;
}

mx::array as_array(const Type& type, const std::vector<char>& data) {
  mx::array a(mx::allocator::malloc(data.size()), storage_shape(type), storage_dtype(type.dtype));
  std::memcpy(a.data<char>(), data.data(), data.size());
  return a;
}

// One that ends whatever takes longer than the smallest part of an op.
constexpr Target hasty_metal() {
  Target target = ir::kMetal;
  target.pace = {.longest_call = 50, .bytes = 1, .flops = 1};
  return target;
}
constexpr Target kHasty = hasty_metal();

// Runs the op's graph and compares every byte of what it computes with the results.
void expect_results(const Op& op, const Target& target, Inputs inputs,
                    const std::vector<std::vector<char>>& results) {
  auto gpu = lower(op, target);
  ASSERT_TRUE(gpu.ok()) << gpu.error().text;
  if (gpu->on_host && !gpu->graph) return;  // the same kernel
  ASSERT_TRUE(gpu->graph);
  Arrays built = gpu->graph(inputs);
  ASSERT_EQ(built.size(), results.size());
  for (mx::array& a : built) a = mx::contiguous(a);
  mx::eval(built);
  for (size_t i = 0; i < built.size(); ++i) {
    const Type& type = op.result(static_cast<int>(i))->type;
    EXPECT_EQ(built[i].shape(), storage_shape(type)) << ir::brief(op);
    EXPECT_EQ(built[i].dtype(), storage_dtype(type.dtype)) << ir::brief(op);
    ASSERT_EQ(static_cast<int64_t>(built[i].nbytes()), type.byte_count());
    EXPECT_EQ(std::memcmp(built[i].data<char>(), results[i].data(), type.byte_count()), 0)
        << "result " << i << " of " << ir::brief(op) << (&target == &kHasty ? " in pieces" : "");
  }
}

// Runs the op in all ways on the same operands.
void expect_equal(const OneOp& program, std::vector<std::vector<char>> operands) {
  const Op& op = *program.op;
  auto cpu = lower(op, ir::kCpu);
  ASSERT_TRUE(cpu.ok()) << cpu.error().text;
  ASSERT_TRUE(cpu->native);
  Arrays arrays;
  std::vector<const mx::array*> pointers;
  std::vector<const void*> in;
  for (int i = 0; i < op.operand_count(); ++i) {
    arrays.push_back(as_array(op.operand(i)->type, operands[i]));
    in.push_back(operands[i].data());
  }
  for (const mx::array& a : arrays) pointers.push_back(&a);
  std::vector<std::vector<char>> results;
  std::vector<void*> out;
  for (int i = 0; i < op.result_count(); ++i) {
    results.emplace_back(std::max<int64_t>(1, op.result(i)->type.byte_count()));
  }
  for (auto& result : results) out.push_back(result.data());
  cpu->native(in.data(), out.data());
  for (const Target* target : {&ir::kCuda, &kHasty}) {
    expect_results(op, *target, Inputs(pointers), results);
  }
}

void run(const OneOp& program, int64_t low = -9, int64_t high = 9, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::vector<std::vector<char>> operands;
  for (Value* value : program.op->operands()) {
    const bool is_unsigned = ir::is_unsigned_int(value->type.dtype);
    operands.push_back(random_data(value->type, random, is_unsigned ? 0 : low, high));
  }
  expect_equal(program, std::move(operands));
}

AttrDict gather_attrs(Ints offset, Ints collapsed, Ints map, int64_t vector_dim, Ints sizes,
                      Ints operand_batching = {}, Ints indices_batching = {}) {
  return {{"offset_dims", offset},
          {"collapsed_slice_dims", collapsed},
          {"start_index_map", map},
          {"index_vector_dim", vector_dim},
          {"slice_sizes", sizes},
          {"operand_batching_dims", operand_batching},
          {"start_indices_batching_dims", indices_batching},
          {"indices_are_sorted", Attr(Attr::Value(false))}};
}

TEST(GraphNative, Gather) {
  for (DType d : {DType::f32, DType::s8, DType::c64, DType::bf16, DType::pred, DType::f8e5m2}) {
    for (DType i : {DType::s32, DType::s64, DType::u32, DType::s8, DType::u64}) {
      run(OneOp(OpId::gather, {Type(d, {5, 4, 3}), Type(i, {7, 2})}, {Type(d, {7, 4, 2})},
                gather_attrs({1, 2}, {0}, {0, 2}, 1, {1, 4, 2})));
      run(OneOp(OpId::gather, {Type(d, {5, 4, 3}), Type(i, {2, 7})}, {Type(d, {4, 7, 2})},
                gather_attrs({0, 2}, {0}, {2, 0}, 0, {1, 4, 2})));
    }
    run(OneOp(OpId::gather, {Type(d, {9}), Type(DType::s32, {4, 3})}, {Type(d, {4, 3})},
              gather_attrs({}, {0}, {0}, 2, {1})));
    run(OneOp(OpId::gather, {Type(d, {5, 4, 3}), Type(DType::s32, {5, 2, 1})}, {Type(d, {5, 2, 3})},
              gather_attrs({2}, {1}, {1}, 2, {1, 1, 3}, {0}, {0})));
    run(OneOp(OpId::gather, {Type(d, {5, 4, 3}), Type(DType::s32, {3, 5, 1})}, {Type(d, {3, 5})},
              gather_attrs({}, {1}, {1}, 2, {1, 1, 1}, {0, 2}, {1, 0})));
    run(OneOp(OpId::gather, {Type(d, {5, 3}), Type(DType::s32, {0})}, {Type(d, {2, 3})},
              gather_attrs({0, 1}, {}, {}, 0, {2, 3})));
    run(OneOp(OpId::gather, {Type(d, {5, 3}), Type(DType::s32, {0, 1})}, {Type(d, {0, 3})},
              gather_attrs({1}, {0}, {0}, 1, {1, 3})));
  }
}

AttrDict scatter_attrs(Ints window, Ints inserted, Ints map, int64_t vector_dim, Ints batching = {},
                       Ints indices_batching = {}) {
  return {{"update_window_dims", window},
          {"inserted_window_dims", inserted},
          {"scatter_dims_to_operand_dims", map},
          {"index_vector_dim", vector_dim},
          {"input_batching_dims", batching},
          {"scatter_indices_batching_dims", indices_batching},
          {"indices_are_sorted", Attr(Attr::Value(false))},
          {"unique_indices", Attr(Attr::Value(false))}};
}

OneOp scatter(DType d, Dims operand, Type indices, Dims updates, AttrDict attrs,
              std::optional<OpId> combine) {
  OneOp program(OpId::scatter, {Type(d, operand), indices, Type(d, updates)}, {Type(d, operand)},
                std::move(attrs));
  const Type scalar(d, {});
  program.region({scalar, scalar}, [&](ir::Region* r) -> std::vector<Value*> {
    if (!combine) return {r->arg(1)};
    return {append(r, *combine, {r->arg(0), r->arg(1)}, scalar)};
  });
  return program;
}

TEST(GraphNative, ScatterCombining) {
  for (DType d : {DType::f32, DType::s32, DType::u8, DType::s64, DType::bf16}) {
    for (OpId id : {OpId::add, OpId::subtract, OpId::multiply, OpId::minimum, OpId::maximum}) {
      // Small whole numbers: sums and products are exact in every order.
      const int64_t bound = id == OpId::multiply ? 2 : 6;
      run(scatter(d, {5, 4}, Type(DType::s32, {6, 1}), {6, 4}, scatter_attrs({1}, {0}, {0}, 1), id),
          -bound, bound);
      run(scatter(d, {5, 4, 3}, Type(DType::s32, {6, 2}), {4, 6, 2},
                  scatter_attrs({0, 2}, {0}, {0, 2}, 1), id),
          -bound, bound);
      run(scatter(d, {5, 4, 3}, Type(DType::s32, {5, 2, 1}), {5, 2, 3},
                  scatter_attrs({2}, {1}, {1}, 2, {0}, {0}), id),
          -bound, bound);
    }
  }
  for (OpId id : {OpId::and_, OpId::or_, OpId::xor_}) {
    run(scatter(DType::s32, {5, 4}, Type(DType::s32, {6, 1}), {6, 4},
                scatter_attrs({1}, {0}, {0}, 1), id));
  }
}

int64_t count_calls(const mx::array& result, std::string_view name) {
  if (!result.has_primitive()) return 0;
  int64_t calls = result.primitive().name() == name ? 1 : 0;
  for (const mx::array& input : result.inputs()) calls += count_calls(input, name);
  return calls;
}

TEST(GraphNative, ScattersThatTakeTurnsAreCut) {
  const OneOp program = scatter(DType::f32, {5, 4}, Type(DType::s32, {6, 1}), {6, 4},
                                scatter_attrs({1}, {0}, {0}, 1), OpId::add);
  const mx::array a = mx::zeros({5, 4}), indices = mx::zeros({6, 1}, mx::int32);
  const mx::array u = mx::ones({6, 4});
  const mx::array* pointers[] = {&a, &indices, &u};
  const auto calls = [&](double longest) {
    Target target = ir::kMetal;
    target.pace.longest_call = longest;
    return count_calls(lower(*program.op, target)->graph(Inputs(pointers))[0], "Scatter Sum");
  };
  EXPECT_EQ(calls(ir::kMetal.pace.longest_call), 1);
  EXPECT_EQ(calls(2000), 2);
  EXPECT_EQ(calls(1), 6);
}

TEST(GraphNative, ScatterOverwriting) {
  for (DType d : {DType::f32, DType::s8, DType::bf16, DType::pred, DType::c64}) {
    const OneOp program = scatter(d, {8, 4}, Type(DType::s32, {5, 1}), {5, 4},
                                  scatter_attrs({1}, {0}, {0}, 1), std::nullopt);
    std::mt19937 random(1);
    std::vector<std::vector<char>> operands;
    for (Value* v : program.op->operands()) operands.push_back(random_data(v->type, random, 0, 9));
    const int32_t indices[5] = {4, -1, 7, 8, 0};  // none twice
    std::memcpy(operands[1].data(), indices, sizeof indices);
    expect_equal(program, std::move(operands));
  }
}

struct SortSpec {
  std::vector<DType> types;
  int keys;
  bool descending;
};

OneOp sort(const SortSpec& spec, Dims dims, int64_t dimension) {
  std::vector<Type> types, scalars;
  for (DType d : spec.types) {
    types.emplace_back(d, dims);
    scalars.insert(scalars.end(), 2, Type(d, {}));
  }
  OneOp program(OpId::sort, types, types,
                {{"dimension", dimension}, {"is_stable", Attr(Attr::Value(true))}});
  program.region(scalars, [&](ir::Region* r) -> std::vector<Value*> {
    const auto direction = spec.descending ? ir::CompareDirection::gt : ir::CompareDirection::lt;
    Value* result = nullptr;
    for (int k = spec.keys - 1; k >= 0; --k) {
      const auto type =
          ir::is_float(spec.types[k]) ? ir::CompareType::total_order : ir::CompareType::signed_int;
      Value *a = r->arg(2 * k), *b = r->arg(2 * k + 1);
      Value* before = compare(r, a, b, direction, type);
      if (!result) {
        result = before;
        continue;
      }
      Value* equal = compare(r, a, b, ir::CompareDirection::eq, type);
      Value* rest = append(r, OpId::and_, {equal, result}, Type(DType::pred, {}));
      result = append(r, OpId::or_, {before, rest}, Type(DType::pred, {}));
    }
    return {result};
  });
  return program;
}

TEST(GraphNative, Sort) {
  const std::vector<DType> keys = {DType::f32,  DType::s32, DType::u8,  DType::s64,
                                   DType::bf16, DType::u64, DType::pred};
  for (bool descending : {false, true}) {
    for (DType d : keys) {
      run(sort({{d}, 1, descending}, {40}, 0));
      run(sort({{d, DType::s32}, 1, descending}, {3, 40}, 1));
      run(sort({{d, DType::f32}, 1, descending}, {40, 3}, 0));
      run(sort({{DType::s8, d, DType::s32}, 2, descending}, {50}, 0), -2, 2);
      run(sort({{d, DType::f32, DType::s64}, 3, descending}, {2, 50}, 1), -2, 2);
    }
  }
  run(sort({{DType::f32, DType::s32}, 1, false}, {0}, 0));
}

TEST(GraphNative, SortOfNumbersThatAreNone) {
  const Type type(DType::f32, {7, 41});
  OneOp program(OpId::sort, {type}, {type},
                {{"dimension", int64_t{1}}, {"is_stable", Attr(Attr::Value(true))}});
  program.region({2, Type(DType::f32, {})}, [&](ir::Region* r) -> std::vector<Value*> {
    return {compare(r, r->arg(0), r->arg(1), ir::CompareDirection::lt, ir::CompareType::floating)};
  });
  std::mt19937 random(1);
  std::vector<char> numbers = random_data(type, random, -4, 4);
  const float special[] = {NAN, -0.0f, INFINITY, -INFINITY};
  for (int i = 0; i < type.size(); i += 5) {
    std::memcpy(numbers.data() + 4 * i, &special[i % 4], 4);
  }
  expect_equal(program, {numbers});
}

TEST(GraphNative, TopK) {
  for (DType d : {DType::f32, DType::s32, DType::u8, DType::bf16, DType::s64}) {
    run(OneOp(OpId::top_k, {Type(d, {3, 40})}, {Type(d, {3, 7}), Type(DType::s32, {3, 7})},
              {{"k", int64_t{7}}}));
  }
}

TEST(GraphNative, Cumulative) {
  for (const char* kind : {"add", "multiply", "maximum", "minimum"}) {
    for (bool reverse : {false, true}) {
      for (DType d : {DType::s32, DType::u8, DType::f32}) {
        const int64_t bound = std::string(kind) == "multiply" && d == DType::f32 ? 2 : 9;
        for (const Dims& dims : {Dims{3, 12, 2}, Dims{2, 700}}) {
          run(OneOp(OpId::cumulative, {Type(d, dims)}, {Type(d, dims)},
                    {{"kind", std::string(kind)},
                     {"dimension", int64_t{1}},
                     {"reverse", Attr(Attr::Value(reverse))}}),
              dims[1] > 12 && d == DType::f32 && bound == 2 ? 2 : -bound, bound);
        }
      }
    }
  }
}

TEST(GraphNative, TransformsInPieces) {
  const auto expect_same = [](ir::FftType type, DType from, DType to, Dims in, Dims out,
                              Ints length) {
    const OneOp program(OpId::fft, {Type(from, in)}, {Type(to, out)},
                        {{"fft_length", length},
                         {"fft_type", Enum{Enum::Kind::fft_type, static_cast<uint8_t>(type)}}});
    std::mt19937 random(1);
    const Type type_in(from, in);
    const mx::array x = as_array(type_in, random_data(type_in, random, -9, 9));
    const mx::array* pointers[] = {&x};
    const auto whole = lower(*program.op, ir::kCuda)->graph(Inputs(pointers))[0];
    const auto pieces = lower(*program.op, kHasty)->graph(Inputs(pointers))[0];
    EXPECT_EQ(whole.shape(), pieces.shape());
    EXPECT_TRUE(mx::allclose(whole, pieces, 1e-5, 1e-4).item<bool>()) << ir::brief(*program.op);
  };
  using enum ir::FftType;
  for (const ir::FftType type : {fft, ifft}) {
    expect_same(type, DType::c64, DType::c64, {6, 8, 5}, {6, 8, 5}, {6, 8, 5});
    expect_same(type, DType::c64, DType::c64, {7, 12}, {7, 12}, {12});
    expect_same(type, DType::c64, DType::c64, {31}, {31}, {31});
  }
  expect_same(rfft, DType::f32, DType::c64, {4, 6, 9}, {4, 6, 5}, {6, 9});
  expect_same(irfft, DType::c64, DType::f32, {4, 6, 5}, {4, 6, 9}, {6, 9});
}

TEST(GraphNative, Random) {
  const Type words(DType::u32, {3, 50});
  for (auto algorithm : {ir::RngAlgorithm::three_fry, ir::RngAlgorithm::philox}) {
    const Type state(DType::u64, {2});
    run(OneOp(
        OpId::rng_bit_generator, {state}, {state, words},
        {{"rng_algorithm", Enum{Enum::Kind::rng_algorithm, static_cast<uint8_t>(algorithm)}}}));
  }
}

struct Conv {
  Dims lhs, rhs, out;  // as the layouts say
  Ints strides, padding, lhs_dilation, rhs_dilation, reversal;
  int64_t feature_groups = 1, batch_groups = 1;
};

// Kernel gradients have batch and feature dimensions exchanged.
AttrDict conv_attrs(const Conv& c, bool gradient) {
  return sorted({{"batch_group_count", Attr(c.batch_groups)},
                 {"feature_group_count", Attr(c.feature_groups)},
                 {"input_batch_dimension", Attr(int64_t{gradient ? 3 : 0})},
                 {"input_feature_dimension", Attr(int64_t{gradient ? 0 : 3})},
                 {"input_spatial_dimensions", Ints{1, 2}},
                 {"kernel_input_feature_dimension", Attr(int64_t{gradient ? 0 : 2})},
                 {"kernel_output_feature_dimension", Attr(int64_t{3})},
                 {"kernel_spatial_dimensions", gradient ? Ints{1, 2} : Ints{0, 1}},
                 {"output_batch_dimension", Attr(int64_t{gradient ? 2 : 0})},
                 {"output_feature_dimension", Attr(int64_t{3})},
                 {"output_spatial_dimensions", gradient ? Ints{0, 1} : Ints{1, 2}},
                 {"window_strides", c.strides},
                 {"padding", c.padding},
                 {"lhs_dilation", c.lhs_dilation},
                 {"rhs_dilation", c.rhs_dilation},
                 {"window_reversal", c.reversal}});
}

TEST(GraphNative, Convolutions) {
  const std::vector<Conv> forward = {
      {{2, 7, 8, 4}, {3, 2, 4, 6}, {2, 7, 8, 6}, {1, 1}, {1, 1, 0, 1}, {1, 1}, {1, 1}, {0, 0}},
      {{2, 7, 8, 4}, {3, 2, 4, 6}, {2, 3, 7, 6}, {2, 1}, {0, 0, -1, 1}, {1, 1}, {1, 1}, {1, 0}},
      {{2, 7, 8, 4}, {3, 2, 2, 6}, {2, 5, 7, 6}, {1, 1}, {0, 0, 0, 0}, {1, 1}, {1, 1}, {0, 0}, 2},
      {{2, 4, 5, 4}, {3, 3, 4, 5}, {2, 7, 9, 5}, {1, 1}, {1, 1, 1, 1}, {2, 2}, {1, 1}, {0, 1}},
      // Of most groups, rows, columns.
      {{1, 4, 4, 18},
       {2, 2, 2, 18},
       {1, 3, 3, 18},
       {1, 1},
       {0, 0, 0, 0},
       {1, 1},
       {1, 1},
       {0, 0},
       9},
      {{1, 19, 5, 2}, {3, 2, 2, 3}, {1, 9, 5, 3}, {2, 1}, {0, 1, 1, 0}, {1, 1}, {1, 1}, {0, 0}},
      {{1, 4, 9, 2}, {2, 3, 1, 2}, {1, 3, 19, 2}, {1, 1}, {0, 0, 3, 3}, {1, 2}, {1, 2}, {0, 0}, 2},
  };
  const std::vector<Conv> gradients = {
      {{3, 7, 8, 4}, {3, 7, 8, 5}, {3, 3, 4, 5}, {1, 1}, {1, 1, 1, 1}, {1, 1}, {1, 1}, {0, 0}},
      {{3, 8, 8, 4}, {3, 4, 4, 5}, {3, 3, 4, 5}, {1, 1}, {0, 1, 0, 1}, {1, 1}, {2, 2}, {0, 0}},
      {{3, 8, 8, 4}, {3, 4, 4, 5}, {1, 1, 4, 5}, {1, 1}, {0, -1, 0, -1}, {1, 1}, {2, 2}, {1, 1}},
      {{3, 5, 5, 4}, {3, 8, 7, 5}, {2, 2, 4, 5}, {1, 2}, {0, 0, 0, 0}, {2, 2}, {1, 1}, {0, 0}},
  };
  for (DType d : {DType::f32, DType::s32}) {
    for (const Conv& c : forward) {
      run(OneOp(OpId::convolution, {Type(d, c.lhs), Type(d, c.rhs)}, {Type(d, c.out)},
                conv_attrs(c, false)));
    }
    for (const Conv& c : gradients) {
      run(OneOp(OpId::convolution, {Type(d, c.lhs), Type(d, c.rhs)}, {Type(d, c.out)},
                conv_attrs(c, true)));
    }
  }
}

TEST(GraphNative, SlicesAndPads) {
  for (DType d : {DType::f32, DType::s8, DType::c64, DType::bf16}) {
    run(OneOp(
        OpId::slice, {Type(d, {5, 6})}, {Type(d, {2, 3})},
        {{"limit_indices", Ints{4, 6}}, {"start_indices", Ints{1, 0}}, {"strides", Ints{2, 2}}}));
    for (const Ints& low : {Ints{1, 2}, Ints{-1, 0}, Ints{-3, 1}}) {
      const Ints high{2, -2}, interior{1, 2};
      Dims dims;
      for (size_t k = 0; k < 2; ++k) dims.push_back(low[k] + high[k] + 3 + 2 * interior[k]);
      run(OneOp(OpId::pad, {Type(d, {3, 3}), Type(d, {})}, {Type(d, dims)},
                {{"edge_padding_high", high},
                 {"edge_padding_low", low},
                 {"interior_padding", interior}}));
    }
  }
}

}  // namespace
}  // namespace jaxmps::ops
