// Threaded code against the interpreter: random scalar programs of all types run once, and as the
// bodies of loops, nested loops and branches.
#include "kernels/loop_code.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>

#include "kernels/cpu/vec.h"
#include "support/opcodes.h"

namespace jaxmps::kernels {
namespace {

constexpr DType kMachine[] = {DType::pred, DType::s8,  DType::s16, DType::s32,
                              DType::s64,  DType::u8,  DType::u16, DType::u32,
                              DType::u64,  DType::f32, DType::f64};
constexpr DType kNarrow[] = {DType::bf16, DType::f16, DType::f8e4m3fn, DType::f8e5m2};

uint64_t mask_of(DType type) {
  return type == DType::pred ? 1 : ~0ull >> (64 - 8 * ir::byte_size(type));
}

// Grows a program whose values cover every opcode and type.
class Grower {
 public:
  Grower(ScalarProgram* program, ScalarBuilder* builder, uint32_t seed)
      : program_(*program), builder_(*builder), rng_(seed) {}

  int pick(size_t n) { return static_cast<int>(rng_() % n); }
  bool is_float(DType t) { return t == DType::f32 || t == DType::f64; }

  uint64_t bits(DType type) {
    if (type == DType::f32 && pick(4)) {
      const float v = static_cast<float>(static_cast<int>(rng_() % 4000) - 2000) / 512.0f;
      uint32_t u;
      std::memcpy(&u, &v, 4);
      return u;
    }
    if (type == DType::f64 && pick(4)) {
      const double v = static_cast<double>(static_cast<int>(rng_() % 4000) - 2000) / 512.0;
      uint64_t u;
      std::memcpy(&u, &v, 8);
      return u;
    }
    return (rng_() << 32 ^ rng_()) & mask_of(type);
  }

  // A value of the type among those that exist, or a constant.
  int32_t value(DType type) {
    std::vector<int32_t> found;
    for (int32_t v : values) {
      if (program_.instrs[static_cast<size_t>(v)].type == type) found.push_back(v);
    }
    if (found.empty() || pick(8) == 0) {
      return builder_.emit(Opcode::constant, type, -1, -1, -1, bits(type));
    }
    return found[static_cast<size_t>(pick(found.size()))];
  }

  void grow() {
    const DType type = kMachine[pick(std::size(kMachine))];
    auto emit = [&](Opcode op, DType result, int32_t a, int32_t b = -1, int32_t c = -1,
                    uint64_t imm = 0, int32_t d = -1) {
      // The vector loops' functions differ from the interpreter's in their last bits.
      if (called_function({op, result}, program_.instrs[static_cast<size_t>(a)].type)) return;
      values.push_back(builder_.emit(op, result, a, b, c, imm, d));
    };
    auto any_of = [&](std::initializer_list<OpClass> classes) {
      for (;;) {
        const auto op = static_cast<Opcode>(pick(kOpcodeCount));
        if (std::count(classes.begin(), classes.end(), class_of(op))) return op;
      }
    };
    switch (pick(9)) {
      case 0:
        return emit(Opcode::convert, type, value(kMachine[pick(std::size(kMachine))]));
      case 1: {
        const auto narrow = static_cast<uint64_t>(kNarrow[pick(std::size(kNarrow))]);
        const DType bits_type = storage_machine_type(static_cast<DType>(narrow));
        if (pick(2)) return emit(Opcode::round_to, DType::f32, value(DType::f32), -1, -1, narrow);
        emit(Opcode::encode, bits_type, value(DType::f32), -1, -1, narrow);
        return emit(Opcode::decode, DType::f32, values.back(), -1, -1, narrow);
      }
      case 2:
        return emit(any_of({OpClass::equality, OpClass::order}), DType::pred, value(type),
                    value(type));
      case 3:
        return emit(Opcode::select, type, value(DType::pred), value(type), value(type));
      case 4: {
        emit(Opcode::threefry, DType::u32, value(DType::u32), value(DType::u32), value(DType::u32),
             0, value(DType::u32));
        return emit(Opcode::threefry_second, DType::u32, values.back());
      }
      case 5:
        if (is_float(type)) {
          const Opcode op = any_of({OpClass::real_unary, OpClass::trig_unary, OpClass::real_test});
          return emit(op, op == Opcode::is_finite ? DType::pred : type, value(type));
        }
        if (type == DType::pred) return;
        if (type == DType::s8 || type == DType::u8) {
          emit(Opcode::wrap, type, value(type), -1, -1, pick(2) ? 2 : 4);
        }
        return emit(any_of({OpClass::bits_unary}), type, value(type));
      case 6:
        if (is_float(type)) {
          if (pick(4) == 0) {
            return emit(Opcode::reduce_precision, type, value(type), -1, -1, 5 << 8 | 10);
          }
          return emit(any_of({OpClass::real_binary}), type, value(type), value(type));
        }
        if (type == DType::pred) {
          constexpr Opcode kLogical[] = {Opcode::bit_and, Opcode::bit_or, Opcode::bit_xor};
          return emit(kLogical[pick(3)], type, value(type), value(type));
        }
        return emit(any_of({OpClass::bits_binary, OpClass::int_binary}), type, value(type),
                    value(type));
      case 7:
        if (type == DType::pred) return;
        return emit(any_of({OpClass::number_unary}), type, value(type));
      default:
        if (type == DType::pred) return;
        return emit(any_of({OpClass::wrapping_binary, OpClass::number_binary}), type, value(type),
                    value(type));
    }
  }

  std::vector<int32_t> values;

 private:
  ScalarProgram& program_;
  ScalarBuilder& builder_;
  std::mt19937_64 rng_;
};

struct Body {
  ScalarProgram program;    // to which tests add
  ScalarProgram reference;  // as it was made
  std::vector<DType> types;
  std::vector<int32_t> inputs;
  std::vector<uint64_t> start;
};

// A program of inputs of all types that returns a value of each input's type.
Body random_body(uint32_t seed, int length) {
  Body body;
  ScalarBuilder builder(&body.program);
  Grower grower(&body.program, &builder, seed);
  for (int copy = 0; copy < 2; ++copy) {
    for (DType type : kMachine) {
      body.inputs.push_back(builder.input(type).re);
      body.types.push_back(type);
      body.start.push_back(grower.bits(type));
      grower.values.push_back(body.inputs.back());
    }
  }
  for (int n = 0; n < length; ++n) grower.grow();
  for (DType type : body.types) builder.output({type, grower.value(type), -1});
  body.reference = body.program;
  return body;
}

CodeBlock block_of(const ScalarProgram& program, size_t begin = 0) {
  CodeBlock block;
  for (size_t v = begin; v < program.instrs.size(); ++v) {
    const Opcode op = program.instrs[v].op;
    if (op == Opcode::input || op == Opcode::constant) continue;
    CodeItem item;
    item.value = static_cast<int32_t>(v);
    block.push_back(std::move(item));
  }
  return block;
}

std::vector<uint64_t> interpret(const Body& body, std::vector<uint64_t> state, int trips) {
  for (int trip = 0; trip < trips; ++trip) {
    std::vector<uint64_t> next(state.size(), 0);
    std::vector<const void*> in;
    std::vector<void*> out;
    for (size_t k = 0; k < state.size(); ++k) {
      in.push_back(&state[k]);
      out.push_back(&next[k]);
    }
    evaluate(body.reference, in.data(), out.data());
    state = std::move(next);
  }
  return state;
}

bool is_nan(DType type, uint64_t bits) {
  if (type == DType::f32) return (bits & 0x7fffffff) > 0x7f800000;
  return type == DType::f64 && (bits & ~(1ull << 63)) > 0x7ffull << 52;
}

void expect_same(const Body& body, const std::vector<uint64_t>& want, const RegisterCode& code,
                 const std::vector<int32_t>& results, const std::vector<uint64_t>& r,
                 uint32_t seed) {
  for (size_t k = 0; k < want.size(); ++k) {
    const uint64_t have = r[static_cast<size_t>(code.home[static_cast<size_t>(results[k])])];
    const uint64_t mask = mask_of(body.types[k]);
    if (is_nan(body.types[k], want[k]) && is_nan(body.types[k], have & mask)) continue;
    ASSERT_EQ(want[k], have & mask)
        << "seed " << seed << " result " << k << " of " << ir::name(body.types[k]) << "\n"
        << print(body.reference);
  }
}

TEST(LoopCode, StraightCodeIsWhatTheInterpreterDoes) {
  for (uint32_t seed = 0; seed < 20000; ++seed) {
    const Body body = random_body(seed, 40);
    std::vector<int32_t> results;
    for (const ScalarValue& out : body.program.outputs) results.push_back(out.re);
    const RegisterCode code = emit_code(body.program, block_of(body.program), results);
    std::vector<uint64_t> r = code.registers;
    for (size_t k = 0; k < body.inputs.size(); ++k) {
      r[static_cast<size_t>(body.inputs[k])] = body.start[k];
    }
    code.run(r.data());
    expect_same(body, interpret(body, body.start, 1), code, results, r, seed);
    if (HasFatalFailure()) return;
  }
}

// The body's inputs are carried; `starts` hold what they begin with.
struct Loop {
  std::unique_ptr<CodeLoop> loop = std::make_unique<CodeLoop>();
  std::vector<int32_t> starts;
};

Loop loop_of(Body* body) {
  Loop made;
  ScalarBuilder builder(&body->program);
  const size_t end = body->program.instrs.size();
  for (size_t k = 0; k < body->inputs.size(); ++k) {
    made.starts.push_back(
        builder.emit(Opcode::input, body->types[k], -1, -1, -1, 1000 + static_cast<uint64_t>(k)));
    made.loop->phis.push_back({body->inputs[k], made.starts[k], body->program.outputs[k].re});
  }
  for (size_t v = 0; v < end; ++v) {
    const Opcode op = body->program.instrs[v].op;
    if (op == Opcode::input || op == Opcode::constant) continue;
    made.loop->body.emplace_back().value = static_cast<int32_t>(v);
  }
  return made;
}

void run_loop(Body* body, Loop made, int trips, uint32_t seed) {
  CodeBlock top;
  CodeItem& item = top.emplace_back();
  item.kind = CodeItem::Kind::loop;
  item.loop = std::move(made.loop);
  const RegisterCode code = emit_code(body->program, std::move(top), body->inputs);
  std::vector<uint64_t> r = code.registers;
  for (size_t k = 0; k < made.starts.size(); ++k) {
    r[static_cast<size_t>(made.starts[k])] = body->start[k];
  }
  code.run(r.data());
  expect_same(*body, interpret(*body, body->start, trips), code, body->inputs, r, seed);
}

TEST(LoopCode, CountedLoops) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    Body body = random_body(seed, 1 + static_cast<int>(seed % 40));
    Loop made = loop_of(&body);
    const int trips = static_cast<int>(seed % 6);
    made.loop->trips = trips;
    run_loop(&body, std::move(made), trips, seed);
    if (HasFatalFailure()) return;
  }
}

// A counter of its own beside the body's values decides when to stop.
TEST(LoopCode, LoopsWithConditions) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    Body body = random_body(seed, 1 + static_cast<int>(seed % 40));
    Loop made = loop_of(&body);
    const int trips = static_cast<int>(seed % 6);
    ScalarBuilder builder(&body.program);
    const int32_t zero = builder.int_constant(DType::s64, 0).re;
    const int32_t one = builder.int_constant(DType::s64, 1).re;
    const int32_t limit = builder.int_constant(DType::s64, trips).re;
    const int32_t counter = builder.emit(Opcode::input, DType::s64, -1, -1, -1, 5000);
    const int32_t next = builder.emit(Opcode::add, DType::s64, counter, one);
    made.loop->verdict = builder.emit(Opcode::lt, DType::pred, counter, limit);
    made.loop->condition.emplace_back().value = made.loop->verdict;
    if (seed % 3 == 0) {
      // Not a comparison at the end, and more than is repeated.
      for (int n = 0; n < 12; ++n) {
        made.loop->verdict = builder.emit(n % 2 ? Opcode::bit_or : Opcode::bit_and, DType::pred,
                                          made.loop->verdict, made.loop->condition[0].value);
        made.loop->condition.emplace_back().value = made.loop->verdict;
      }
    }
    made.loop->body.emplace_back().value = next;
    made.loop->phis.push_back({counter, zero, next});
    run_loop(&body, std::move(made), trips, seed);
    if (HasFatalFailure()) return;
  }
}

// Each of an outer loop's trips runs the body twice in an inner one, in one of three branches.
TEST(LoopCode, LoopsInBranchesInLoops) {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    Body body = random_body(seed, 1 + static_cast<int>(seed % 40));
    Loop made = loop_of(&body);
    made.loop->trips = 2;
    ScalarBuilder builder(&body.program);
    auto outer = std::make_unique<CodeLoop>();
    auto branch = std::make_unique<CodeBranch>();
    const int32_t index = builder.emit(Opcode::input, DType::s32, -1, -1, -1, 6000);
    const int32_t step = builder.int_constant(DType::s32, 2).re;
    const int32_t start = builder.int_constant(DType::s32, -2).re;
    const int32_t next = builder.emit(Opcode::add, DType::s32, index, step);
    branch->index = index;  // -2: the last one; 0; 2; 4: the last one
    for (size_t k = 0; k < made.starts.size(); ++k) {
      const auto number = static_cast<uint64_t>(k);
      const int32_t begin = builder.emit(Opcode::input, body.types[k], -1, -1, -1, 2000 + number);
      branch->values.push_back(
          builder.emit(Opcode::input, body.types[k], -1, -1, -1, 3000 + number));
      outer->phis.push_back({made.starts[k], begin, branch->values.back()});
    }
    const std::vector<int32_t> unchanged = made.starts;
    branch->blocks.resize(3);
    branch->results = {unchanged, unchanged, body.inputs};
    CodeItem& inner = branch->blocks[2].emplace_back();
    inner.kind = CodeItem::Kind::loop;
    inner.loop = std::move(made.loop);
    CodeItem& chosen = outer->body.emplace_back();
    chosen.kind = CodeItem::Kind::branch;
    chosen.branch = std::move(branch);
    outer->body.emplace_back().value = next;
    outer->phis.push_back({index, start, next});
    outer->trips = 4;
    std::vector<int32_t> begins;
    for (size_t k = 0; k < body.inputs.size(); ++k) begins.push_back(outer->phis[k].init);
    CodeBlock top;
    CodeItem& item = top.emplace_back();
    item.kind = CodeItem::Kind::loop;
    item.loop = std::move(outer);
    const RegisterCode code = emit_code(body.program, std::move(top), unchanged);
    std::vector<uint64_t> r = code.registers;
    for (size_t k = 0; k < begins.size(); ++k) r[static_cast<size_t>(begins[k])] = body.start[k];
    code.run(r.data());
    expect_same(body, interpret(body, body.start, 6), code, unchanged, r, seed);
    if (HasFatalFailure()) return;
  }
}

// Functions of more than a few instructions have the bits of the vector loops, whatever flags these
// are compiled with.
TEST(LoopCode, FunctionsAreThoseOfTheVectorLoops) {
  int called = 0;
  for (int code = 0; code < kOpcodeCount; ++code) {
    const auto op = static_cast<Opcode>(code);
    if (!called_function({op, DType::f32}, DType::f32)) continue;
    ++called;
    ScalarProgram program;
    ScalarBuilder builder(&program);
    const int32_t x = builder.input(DType::f32).re, y = builder.input(DType::f32).re;
    const int32_t result =
        builder.emit(op, DType::f32, x, testing::operand_count(op) == 2 ? y : -1);
    const RegisterCode threaded = emit_code(program, block_of(program), {result});
    const cpu::VecFn loop = cpu::vec_table().find(op, DType::f32, DType::f32, cpu::kAllVectors);
    for (float value = -40; value < 40; value += 0.37f) {
      std::vector<uint64_t> r = threaded.registers;
      const float other = value * 0.5f + 3;
      float want = 0, got = 0;
      std::memcpy(&r[static_cast<size_t>(x)], &value, 4);
      std::memcpy(&r[static_cast<size_t>(y)], &other, 4);
      threaded.run(r.data());
      std::memcpy(&got, &r[static_cast<size_t>(threaded.home[static_cast<size_t>(result)])], 4);
      loop(&want, &value, &other, nullptr, 1, 0);
      EXPECT_TRUE(got == want || (got != got && want != want)) << name(op) << " of " << value;
    }
  }
  EXPECT_GT(called, 15);
}

}  // namespace
}  // namespace jaxmps::kernels
