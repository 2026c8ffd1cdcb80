#include "scalar/scalar.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "scalar/scalar_complex.h"

namespace jaxmps::scalar {

using ir::OpId;

namespace {

constexpr double kExact = 0;

}  // namespace

const OpcodeInfo& info(Opcode op) {
  static constexpr OpcodeInfo kInfo[] = {
#define X(name) {#name, OpClass::structural, 0.06, kExact},
      JAXMPS_STRUCTURAL_OPCODES(X)
#undef X
#define SCALAR_OP(opcode, class, id, name, types, traits, cost, ulps) \
  {#opcode, OpClass::class, cost, ulps},
#define SCALAR_HELPER(opcode, class, cost, ulps) {#opcode, OpClass::class, cost, ulps},
#define SCALAR_REDUCTION(opcode, combining) {#opcode, OpClass::reduction, 0.06, kExact},
#include "ir/scalar_ops.def"
  };
  return kInfo[static_cast<int>(op)];
}

Opcode combining(Opcode reduction) {
  switch (reduction) {
#define SCALAR_REDUCTION(opcode, combining) \
  case Opcode::opcode:                      \
    return Opcode::combining;
#include "ir/scalar_ops.def"
    default:
      return reduction;
  }
}

std::optional<Opcode> reduction_of(Opcode combining_op) {
  switch (combining_op) {
#define SCALAR_REDUCTION(opcode, combining) \
  case Opcode::combining:                   \
    return Opcode::opcode;
#include "ir/scalar_ops.def"
    default:
      return std::nullopt;
  }
}

Opcode of_booleans(Opcode op) {
  if (op == Opcode::add || op == Opcode::max) return Opcode::bit_or;
  return op == Opcode::mul || op == Opcode::min ? Opcode::bit_and : op;
}

std::optional<Opcode> opcode_of(OpId id) {
  switch (id) {
#define SCALAR_OP(opcode, class, id, ...) \
  case OpId::id:                          \
    return Opcode::opcode;
#include "ir/scalar_ops.def"
    default:
      return std::nullopt;
  }
}

DType machine_type(DType dtype) {
  switch (dtype) {
    case DType::s2:
    case DType::s4:
      return DType::s8;
    case DType::u2:
    case DType::u4:
      return DType::u8;
    case DType::index:
      return DType::s64;
    case DType::c64:
      return DType::f32;
    case DType::c128:
      return DType::f64;
    default:
      return ir::is_float(dtype) && dtype != DType::f64 ? DType::f32 : dtype;
  }
}

DType storage_machine_type(DType dtype) {
  if (!ir::is_float(dtype) || dtype == DType::f32 || dtype == DType::f64) {
    return machine_type(dtype);
  }
  return ir::byte_size(dtype) == 2 ? DType::u16 : DType::u8;
}

namespace {

bool is_narrow_float(DType d) { return ir::is_float(d) && d != DType::f32 && d != DType::f64; }
int wrapped_bits(DType d) {
  if (d == DType::s2 || d == DType::u2) return 2;
  return d == DType::s4 || d == DType::u4 ? 4 : 0;
}

// Whether constant operands make a constant.
bool is_foldable(Opcode op) {
  switch (op) {
    case Opcode::input:
    case Opcode::load:
    case Opcode::constant:
    case Opcode::threefry:
    case Opcode::threefry_second:
    case Opcode::total:
      return false;
    default:
      return !is_reduction(op);
  }
}

}  // namespace

size_t ScalarBuilder::Hash::operator()(const ScalarInstr& i) const {
  uint64_t h = static_cast<uint64_t>(i.op) | static_cast<uint64_t>(i.type) << 8;
  for (uint64_t part : {static_cast<uint64_t>(i.a), static_cast<uint64_t>(i.b),
                        static_cast<uint64_t>(i.c), static_cast<uint64_t>(i.d), i.imm}) {
    h = (h ^ part) * 0x9e3779b97f4a7c15ull;
    h ^= h >> 29;
  }
  return h;
}

ScalarBuilder ScalarBuilder::without_program() {
  // The instruction with the number of a type is of that type.
  static ScalarProgram types = [] {
    ScalarProgram program;
    for (int type = 0; type < ir::kDTypeCount; ++type) {
      program.instrs.push_back({Opcode::input, static_cast<DType>(type)});
    }
    return program;
  }();
  ScalarBuilder builder(&types);
  builder.appends_ = false;
  return builder;
}

int32_t ScalarBuilder::emit(Opcode op, DType type, int32_t a, int32_t b, int32_t c, uint64_t imm,
                            int32_t d) {
  if (!appends_) return static_cast<int32_t>(type);
  ScalarInstr i{op, type, a, b, c, d, imm};
  auto constant = [&](int32_t v) { return v >= 0 && instr(v).op == Opcode::constant; };
  if (op == Opcode::select && constant(a)) return instr(a).imm ? b : c;
  if (op == Opcode::select && b == c) return b;
  if (is_foldable(op) && constant(a) && (b < 0 || constant(b)) && (c < 0 || constant(c))) {
    auto value = [&](int32_t v) { return v < 0 ? 0 : instr(v).imm; };
    const DType from = op == Opcode::select ? type : instr(a).type;
    i = {
        Opcode::constant, type, -1, -1, -1, -1, evaluate(i, from, value(a), value(b), value(c), 0)};
  } else if ((op == Opcode::bit_or || op == Opcode::bit_xor || op == Opcode::add) &&
             ir::is_unsigned_int(type) && instr(a).op != instr(b).op) {
    // x << k | x >> (width - k)
    const ScalarInstr& l = instr(a).op == Opcode::shl ? instr(a) : instr(b);
    const ScalarInstr& r = instr(a).op == Opcode::shl ? instr(b) : instr(a);
    const uint64_t width = 8ull * static_cast<uint64_t>(ir::byte_size(type));
    if (l.op == Opcode::shl && r.op == Opcode::shr_l && l.a == r.a && constant(l.b) &&
        constant(r.b) && instr(l.b).imm && instr(r.b).imm &&
        instr(l.b).imm + instr(r.b).imm == width) {
      i = {Opcode::rotl, type, l.a, l.b, -1, -1, 0};
    }
  }
  auto [found, inserted] = known_.try_emplace(i, static_cast<int32_t>(program_->instrs.size()));
  if (inserted) program_->instrs.push_back(i);
  return found->second;
}

int32_t ScalarBuilder::real_constant(DType machine, double value) {
  const uint64_t bits = machine == DType::f32 ? std::bit_cast<uint32_t>(static_cast<float>(value))
                                              : std::bit_cast<uint64_t>(value);
  return emit(Opcode::constant, machine, -1, -1, -1, bits);
}

ScalarValue ScalarBuilder::input(DType dtype) {
  const uint64_t index = program_->inputs.size();
  if (appends_) program_->inputs.push_back(dtype);
  const DType type = storage_machine_type(dtype);
  const int32_t re = emit(Opcode::input, type, -1, -1, -1, 2 * index);
  const int32_t im =
      ir::is_complex(dtype) ? emit(Opcode::input, type, -1, -1, -1, 2 * index + 1) : -1;
  return from_storage(dtype, re, im);
}

ScalarValue ScalarBuilder::constant(const ir::Dense& dense, int64_t index) {
  const DType dtype = dense.type.dtype, type = storage_machine_type(dtype);
  const int size = ir::byte_size(dtype), part = ir::byte_size(type);
  const uint8_t* at = dense.data + (dense.splat ? 0 : index * size);
  uint64_t re = 0, im = 0;
  std::memcpy(&re, at, static_cast<size_t>(part));
  if (dtype == DType::pred) re = re != 0;
  if (ir::is_complex(dtype)) std::memcpy(&im, at + part, static_cast<size_t>(part));
  const int32_t a = emit(Opcode::constant, type, -1, -1, -1, re);
  const int32_t b = ir::is_complex(dtype) ? emit(Opcode::constant, type, -1, -1, -1, im) : -1;
  return from_storage(dtype, a, b);
}

ScalarValue ScalarBuilder::constant(DType dtype, double value) {
  const DType type = machine_type(dtype);
  const int32_t im = ir::is_complex(dtype) ? real_constant(type, 0) : -1;
  return finish({dtype, real_constant(type, value), im});
}

ScalarValue ScalarBuilder::int_constant(DType dtype, int64_t value) {
  const DType type = machine_type(dtype);
  const int width = 8 * ir::byte_size(type);
  uint64_t bits = static_cast<uint64_t>(value);
  if (width < 64) bits &= (1ull << width) - 1;
  return {dtype, emit(Opcode::constant, type, -1, -1, -1, bits), -1};
}

ScalarValue ScalarBuilder::from_storage(DType dtype, int32_t re, int32_t im) {
  if (is_narrow_float(dtype)) {
    re = emit(Opcode::decode, DType::f32, re, -1, -1, static_cast<uint64_t>(dtype));
  }
  return {dtype, re, im};
}

ScalarValue ScalarBuilder::to_storage(const ScalarValue& value) {
  if (!is_narrow_float(value.dtype)) return value;
  const ScalarInstr& made = instr(value.re);
  // Encoding what was rounded is encoding what was not; bits that were decoded are there already.
  const bool same = made.imm == static_cast<uint64_t>(value.dtype);
  if (made.op == Opcode::decode && same) return {value.dtype, made.a, -1};
  const int32_t source = made.op == Opcode::round_to && same ? made.a : value.re;
  return {value.dtype,
          emit(Opcode::encode, storage_machine_type(value.dtype), source, -1, -1,
               static_cast<uint64_t>(value.dtype)),
          -1};
}

void ScalarBuilder::output(const ScalarValue& value) {
  program_->outputs.push_back(to_storage(value));
}

ScalarValue ScalarBuilder::finish(ScalarValue value) {
  if (is_narrow_float(value.dtype)) {
    value.re =
        emit(Opcode::round_to, DType::f32, value.re, -1, -1, static_cast<uint64_t>(value.dtype));
  } else if (int bits = wrapped_bits(value.dtype)) {
    value.re = emit(Opcode::wrap, machine_type(value.dtype), value.re, -1, -1,
                    static_cast<uint64_t>(bits));
  }
  return value;
}

ScalarValue ScalarBuilder::select(int32_t predicate, const ScalarValue& yes,
                                  const ScalarValue& no) {
  const DType type = instr(yes.re).type;
  ScalarValue r{yes.dtype, emit(Opcode::select, type, predicate, yes.re, no.re), -1};
  if (yes.im >= 0) r.im = emit(Opcode::select, type, predicate, yes.im, no.im);
  return r;
}

ScalarValue ScalarBuilder::convert(const ScalarValue& value, DType to) {
  if (value.dtype == to) return value;
  const DType from_type = instr(value.re).type, type = machine_type(to);
  if (ir::is_complex(value.dtype) && to == DType::pred) {
    const int32_t zero = real_constant(from_type, 0);
    const int32_t re = emit(Opcode::ne, DType::pred, value.re, zero);
    return {to,
            emit(Opcode::bit_or, DType::pred, re, emit(Opcode::ne, DType::pred, value.im, zero)),
            -1};
  }
  auto part = [&](int32_t v) { return from_type == type ? v : emit(Opcode::convert, type, v); };
  ScalarValue r{to, part(value.re), -1};
  if (ir::is_complex(to)) r.im = value.im >= 0 ? part(value.im) : real_constant(type, 0);
  const int bits = wrapped_bits(to);
  if (bits && ir::is_float(value.dtype)) {
    // Saturate to the narrow range, which the byte's saturation does not.
    const bool is_signed = ir::is_signed_int(to);
    const int64_t high = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
    const int64_t low = is_signed ? -high - 1 : 0;
    r.re = emit(Opcode::max, type, r.re, int_constant(type, low).re);
    r.re = emit(Opcode::min, type, r.re, int_constant(type, high).re);
    return r;
  }
  const bool widens = is_narrow_float(value.dtype) && (to == DType::f32 || to == DType::f64);
  return widens ? r : finish(r);
}

int32_t ScalarBuilder::total_order(const ScalarValue& x) {
  const bool wide = x.dtype == DType::f64;
  const DType type = wide ? DType::s64 : DType::s32;
  const int64_t width = wide ? 64 : 32;
  const int32_t s = emit(Opcode::bitcast, type, x.re);
  int32_t m = emit(Opcode::shr_a, type, s, int_constant(type, width - 1).re);
  m = emit(Opcode::bit_and, type, m,
           int_constant(type, wide ? std::numeric_limits<int64_t>::max() : 0x7fffffff).re);
  return emit(Opcode::bit_xor, type, s, m);
}

Result<ScalarValue> ScalarBuilder::compare(const ir::Op& op, const ScalarValue& x,
                                           const ScalarValue& y) {
  using Direction = ir::CompareDirection;
  auto direction = op.enum_attr<Direction>("comparison_direction");
  const ir::Attr* kind = op.find("compare_type");
  const bool total =
      kind && op.enum_attr<ir::CompareType>("compare_type") == ir::CompareType::total_order &&
      ir::is_float(x.dtype);
  ScalarValue a = x, b = y;
  if (total) a = {DType::s64, total_order(x), -1}, b = {DType::s64, total_order(y), -1};
  if (direction == Direction::gt || direction == Direction::ge) std::swap(a, b);
  const Opcode code = direction == Direction::eq                                 ? Opcode::eq
                      : direction == Direction::ne                               ? Opcode::ne
                      : direction == Direction::gt || direction == Direction::lt ? Opcode::lt
                                                                                 : Opcode::le;
  int32_t r = emit(code, DType::pred, a.re, b.re);
  if (a.im >= 0) {
    if (code != Opcode::eq && code != Opcode::ne) return ir::refuse(op, "complex order");
    r = emit(code == Opcode::eq ? Opcode::bit_and : Opcode::bit_or, DType::pred, r,
             emit(code, DType::pred, a.im, b.im));
  }
  return ScalarValue{DType::pred, r, -1};
}

Result<ScalarValue> ScalarBuilder::bitcast(const ir::Op& op, const ScalarValue& x, DType out) {
  if (x.dtype == out) return x;
  const ScalarValue bits = to_storage(x);
  const DType from = instr(bits.re).type, to = storage_machine_type(out);
  if (ir::is_complex(x.dtype) || ir::is_complex(out) || ir::byte_size(from) != ir::byte_size(to) ||
      wrapped_bits(x.dtype) != wrapped_bits(out)) {
    return ir::refuse(op, "a bitcast that changes the width");
  }
  const int32_t r = from == to ? bits.re : emit(Opcode::bitcast, to, bits.re);
  return from_storage(out, r, -1);
}

Result<ScalarValue> ScalarBuilder::apply_real(const ir::Op& op, std::span<const ScalarValue> in,
                                              DType out) {
  const ScalarValue& x = in[0];
  const DType type = machine_type(out);
  switch (op.id) {
    case OpId::real:
      return x;
    case OpId::imag:
      return ScalarValue{out, real_constant(type, 0), -1};
    case OpId::complex:
      return ScalarValue{out, x.re, in[1].re};
    case OpId::compare:
      return compare(op, x, in[1]);
    case OpId::reduce_precision: {
      // No type has more than 255 of either.
      const auto bits = [&](std::string_view name) {
        return static_cast<uint64_t>(std::min<int64_t>(op.i64(name), 0xff));
      };
      const uint64_t imm = bits("exponent_bits") << 8 | bits("mantissa_bits");
      return finish({out, emit(Opcode::reduce_precision, type, x.re, -1, -1, imm), -1});
    }
    default:
      break;
  }
  const auto function = opcode_of(op.id);
  if (!function) return ir::refuse(op, "no scalar form");
  Opcode code = *function;
  if (out == DType::pred && x.dtype == DType::pred) {
    if (code == Opcode::bit_not) {
      return ScalarValue{out, emit(Opcode::bit_xor, type, x.re, int_constant(out, 1).re), -1};
    }
    code = of_booleans(code);
    if (class_of(code) != OpClass::bits_binary) return ir::refuse(op, "on booleans");
  }
  int32_t a = x.re;
  const int bits = wrapped_bits(out);
  ScalarValue shifted = in.size() > 1 ? in[1] : x;
  if (bits && (code == Opcode::popcnt || code == Opcode::clz || code == Opcode::shr_l)) {
    // The byte holds copies of the sign above the value.
    a = emit(Opcode::bit_and, type, a, int_constant(type, (1 << bits) - 1).re);
    if (code == Opcode::clz) {
      a = emit(Opcode::clz, type, a);
      return finish({out, emit(Opcode::sub, type, a, int_constant(type, 8 - bits).re), -1});
    }
  }
  if (bits && code == Opcode::shr_a && !ir::is_signed_int(out)) {
    // An unsigned operand is shifted as if it were signed: at the top of its byte it has a sign.
    const int32_t up = int_constant(type, 8 - bits).re;
    const int32_t top = emit(Opcode::shr_a, type, emit(Opcode::shl, type, a, up), shifted.re);
    return ScalarValue{out, emit(Opcode::shr_l, type, top, up), -1};
  }
  ScalarValue r{out, emit(code, type, a, in.size() > 1 ? shifted.re : -1), -1};
  return is_narrow_float(out) && info(code).ulps == kExact ? r : finish(r);
}

Result<std::vector<ScalarValue>> ScalarBuilder::apply(const ir::Op& op,
                                                      std::span<const ScalarValue> in) {
  const DType out = op.result_count() ? op.result(0)->type.dtype : DType::pred;
  std::vector<ScalarValue> results;
  switch (op.id) {
    case OpId::convert:
      return std::vector{convert(in[0], out)};
    case OpId::select:
      return std::vector{select(in[0].re, in[1], in[2])};
    case OpId::bitcast_convert: {
      TRY(ScalarValue r, bitcast(op, in[0], out));
      return std::vector{r};
    }
    case OpId::clamp: {
      if (ir::is_complex(out)) return ir::refuse(op, "complex order");
      const DType type = machine_type(out);
      const int32_t r = emit(Opcode::max, type, in[0].re, in[1].re);
      return std::vector{ScalarValue{out, emit(Opcode::min, type, r, in[2].re), -1}};
    }
    case OpId::threefry2x32: {
      const int32_t first =
          emit(Opcode::threefry, DType::u32, in[0].re, in[1].re, in[2].re, 0, in[3].re);
      const int32_t second = emit(Opcode::threefry_second, DType::u32, first);
      return std::vector{ScalarValue{out, first, -1}, ScalarValue{out, second, -1}};
    }
    default:
      break;
  }
  if (!op.is(ir::traits::elementwise)) return ir::refuse(op, "not elementwise");
  const bool complex = in[0].im >= 0 && op.id != OpId::compare;
  TRY(ScalarValue r, complex ? apply_complex(op, in, out) : apply_real(op, in, out));
  return std::vector{r};
}

}  // namespace jaxmps::scalar
