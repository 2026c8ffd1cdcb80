// Values of a fusion's ops at coordinates of its space.
#include <limits>

#include "fusion/builder.h"
#include "ir/combiner.h"
#include "ir/gather_dims.h"

namespace jaxmps::fusion {

using ir::OpId;

Result<ScalarValue> FusionBuilder::eval(const ir::Value* value, int coord) {
  if (auto found = known_.find({value, coord}); found != known_.end()) return found->second;
  const Coord at = coords_[static_cast<size_t>(coord)];
  if (value->is_argument()) {
    TRY(ScalarValue v, load(value, at));
    return known_[{value, coord}] = v;
  }
  TRY(ScalarValue v, eval_op(*value->op(), value->index(), coord));
  return known_[{value, coord}] = v;
}

int32_t FusionBuilder::add_access(Access access, int32_t shift) {
  auto found = std::find(f_.accesses.begin(), f_.accesses.end(), access);
  const uint64_t index = static_cast<uint64_t>(found - f_.accesses.begin());
  const DType type = access.type;
  if (found == f_.accesses.end()) f_.accesses.push_back(std::move(access));
  return scalar_.emit(Opcode::load, type, shift, -1, -1, index);
}

Result<ScalarValue> FusionBuilder::load(const ir::Value* argument, const Coord& at) {
  const ir::Type& type = argument->type;
  Access access{scaled_sum(at.map, ir::row_major_strides(type.dims), axis_count()),
                Access::Kind::memory, storage_machine_type(type.dtype), argument->index(),
                at.bounds};
  if (!ir::is_complex(type.dtype)) {
    return scalar_.from_storage(type.dtype, add_access(std::move(access), at.shift), -1);
  }
  access *= 2;
  const int32_t shift = at.shift < 0 ? -1 : scaled(at.shift, 2);
  const int32_t re = add_access(access, shift);
  access.offset += 1;
  return ScalarValue{type.dtype, re, add_access(std::move(access), shift)};
}

int32_t FusionBuilder::scaled(int32_t v, int64_t factor) {
  if (factor == 1) return v;
  const DType type = scalar_.instr(v).type;
  return scalar_.emit(Opcode::mul, type, v, scalar_.int_constant(type, factor).re);
}

Result<ScalarValue> FusionBuilder::iota(const ir::Op& op, const Coord& at) {
  const Affine& e = at.map[static_cast<size_t>(op.i64("iota_dimension"))];
  int64_t reach = std::abs(e.offset);
  for (size_t a = 0; a < axis_count(); ++a) reach += std::abs(e.strides[a]) * f_.dims[a];
  const DType type = reach < std::numeric_limits<int32_t>::max() ? DType::s32 : DType::s64;
  const int32_t v = add_access({e, Access::Kind::index, type, -1, {}});
  return scalar_.convert({type, v, -1}, op.result()->type.dtype);
}

Result<ScalarValue> FusionBuilder::constant(const ir::Op& op) {
  const ir::Dense& dense = op.dense("value");
  if (!dense.splat && op.result()->type.size() != 1) return ir::refuse(op, "not a splat");
  return scalar_.constant(dense, 0);
}

Status FusionBuilder::restrict_to(const ir::Op& op, Coord* at, size_t dim, int64_t lo, int64_t hi,
                                  int32_t* inside) {
  *inside = -1;
  const Affine& e = at->map[dim];
  int64_t low = e.offset, high = e.offset;
  for (size_t a = 0; a < axis_count(); ++a) {
    const int64_t span = e.strides[a] * (f_.dims[a] - 1);
    (span < 0 ? low : high) += span;
  }
  if (lo <= low && high < hi) return {};
  const int axis = single_axis(e);
  if (axis == -2) return ir::refuse(op, "a bound across several axes");
  Bound b{0, 0, 0};  // never, for a constant coordinate outside
  if (axis_count() == 0) return ir::refuse(op, "a bound on a scalar");
  if (axis >= 0) b = bound_of(e, axis, f_.dims[static_cast<size_t>(axis)], lo, hi);
  Access test{constant_affine(0, axis_count()), Access::Kind::inside, DType::pred, -1, {b}};
  *inside = add_access(std::move(test));
  at->bounds.push_back(b);
  return {};
}

Result<ScalarValue> FusionBuilder::pad(const ir::Op& op, const Coord& at) {
  const ir::Type& source = op.operand(0)->type;
  const ir::Ints& low = op.ints("edge_padding_low");
  for (int64_t interior : op.ints("interior_padding")) {
    if (interior) return ir::refuse(op, "interior padding");
  }
  Coord in = at;
  int32_t all = -1;
  for (size_t d = 0; d < in.map.size(); ++d) {
    in.map[d].offset -= low[d];
    int32_t inside;
    CHECK_OK(restrict_to(op, &in, d, 0, source.dims[d], &inside));
    if (inside < 0) continue;
    all = all < 0 ? inside : scalar_.emit(Opcode::bit_and, DType::pred, all, inside);
  }
  TRY(ScalarValue value, eval(op.operand(0), intern(std::move(in))));
  if (all < 0) return value;
  TRY(ScalarValue fill, eval(op.operand(1), intern({{}, at.bounds})));
  return scalar_.select(all, value, fill);
}

Result<ScalarValue> FusionBuilder::concatenate(const ir::Op& op, const Coord& at) {
  const size_t dim = static_cast<size_t>(op.i64("dimension"));
  struct Piece {
    int32_t inside;
    ScalarValue value;
  };
  std::vector<Piece> pieces;
  int64_t start = 0;
  for (int k = 0; k < op.operand_count(); ++k) {
    const int64_t extent = op.operand(k)->type.dims[dim];
    const int64_t first = start;
    start += extent;
    const Affine& e = at.map[dim];
    if (single_axis(e) == -1 && (e.offset < first || e.offset >= start)) continue;
    if (extent == 0) continue;
    Coord in = at;
    Piece piece;
    CHECK_OK(restrict_to(op, &in, dim, first, start, &piece.inside));
    in.map[dim].offset -= first;
    TRY(piece.value, eval(op.operand(k), intern(std::move(in))));
    pieces.push_back(piece);
  }
  if (pieces.empty()) return ir::refuse(op, "nothing to concatenate");
  ScalarValue result = pieces.back().value;
  for (size_t k = pieces.size() - 1; k-- > 0;) {
    result = pieces[k].inside < 0 ? pieces[k].value
                                  : scalar_.select(pieces[k].inside, pieces[k].value, result);
  }
  return result;
}

// A start index as `type`, moved so that the slice lies inside: limit is the last start that does.
int32_t FusionBuilder::clamped(const ScalarValue& start, int64_t limit, DType type) {
  const DType own = scalar_.instr(start.re).type;
  // Compared in a type that holds both, so that no start changes before it is clamped.
  const bool keeps = ir::byte_size(own) == 8 || (own == DType::u32 && type == DType::s32);
  const DType wide = keeps ? own : type;
  int32_t v = scalar_.convert({own, start.re, -1}, wide).re;
  if (ir::is_signed_int(own)) {
    v = scalar_.emit(Opcode::max, wide, v, scalar_.int_constant(wide, 0).re);
  }
  v = scalar_.emit(Opcode::min, wide, v, scalar_.int_constant(wide, limit).re);
  return scalar_.convert({wide, v, -1}, type).re;
}

// Of numbers of elements, with room for the parts of complex numbers.
DType position_type(const ir::Type& array) {
  return 2 * array.size() < std::numeric_limits<int32_t>::max() ? DType::s32 : DType::s64;
}

Result<int32_t> FusionBuilder::moved(const ir::Op& op, int first, const ir::Dims& sizes,
                                     const std::vector<Bound>& bounds) {
  const ir::Type& whole = op.operand(0)->type;
  const DType type = position_type(whole);
  const ir::Dims strides = ir::row_major_strides(whole.dims);
  int32_t sum = -1;
  for (size_t d = 0; d < sizes.size(); ++d) {
    const int64_t limit = whole.dims[d] - sizes[d];
    if (limit == 0) continue;
    TRY(const ScalarValue start,
        eval(op.operand(first + static_cast<int>(d)), intern({{}, bounds})));
    const int32_t move = scaled(clamped(start, limit, type), strides[d]);
    sum = sum < 0 ? move : scalar_.emit(Opcode::add, type, sum, move);
  }
  return sum;
}

Result<ScalarValue> FusionBuilder::dynamic_slice(const ir::Op& op, const Coord& at) {
  Coord in = at;
  TRY(in.shift, moved(op, 1, op.result()->type.dims, at.bounds));
  return eval(op.operand(0), intern(std::move(in)));
}

// The starts of the slices become a number of elements by which the loads of the operand move.
Result<ScalarValue> FusionBuilder::gather(const ir::Op& op, const Coord& at) {
  const ir::Type& source = op.operand(0)->type;
  const ir::GatherDims dims = ir::GatherDims::of_gather(op);
  Coord in{IndexMap(source.dims.size(), constant_affine(0, axis_count())), at.bounds};
  const auto kept = dims.kept_dims(source.rank());
  for (size_t k = 0; k < kept.size(); ++k) {
    in.map[static_cast<size_t>(kept[k])] = at.map[static_cast<size_t>(dims.window_dims[k])];
  }
  const IndexMap first = indices_map(op, 0, at.map, axis_count());
  for (size_t j = 0; j < dims.indices_batching.size(); ++j) {
    in.map[static_cast<size_t>(dims.operand_batching[j])] =
        first[static_cast<size_t>(dims.indices_batching[j])];
  }
  const DType type = position_type(source);
  const ir::Dims strides = ir::row_major_strides(source.dims);
  for (size_t j = 0; j < dims.index_map.size(); ++j) {
    const size_t d = static_cast<size_t>(dims.index_map[j]);
    const int64_t limit = source.dims[d] - dims.slice_sizes[d];
    if (limit == 0) continue;
    Coord index{indices_map(op, static_cast<int64_t>(j), at.map, axis_count()), at.bounds};
    TRY(const ScalarValue start, eval(op.operand(1), intern(std::move(index))));
    const int32_t move = scaled(clamped(start, limit, type), strides[d]);
    in.shift = in.shift < 0 ? move : scalar_.emit(Opcode::add, type, in.shift, move);
  }
  return eval(op.operand(0), intern(std::move(in)));
}

// The stage op of a reduction with this combiner; nothing where there is none.
std::optional<Opcode> reduction_with(OpId combiner, DType dtype) {
  if (ir::is_complex(dtype) && combiner != OpId::add) return std::nullopt;
  if (dtype == DType::pred) {
    if (combiner == OpId::add || combiner == OpId::maximum) combiner = OpId::or_;
    if (combiner == OpId::multiply || combiner == OpId::minimum) combiner = OpId::and_;
  }
  const auto code = opcode_of(combiner);
  return code ? reduction_of(*code) : std::nullopt;
}

// Where the operand of a reduction is read that each group does for itself: along what it walks,
// and for the rest where the result is asked for.
Result<IndexMap> FusionBuilder::map_of_vector(const ir::Op& op, const IndexMap& at) const {
  const ir::Dims& dims = op.operand(0)->type.dims;
  IndexMap in;
  size_t kept = 0, walked = 0;
  const auto skip = [&] {
    while (walked < shape_.size() && (!reduced_[walked] || shape_[walked] == 1)) ++walked;
  };
  for (size_t d = 0; d < dims.size(); ++d) {
    if (!reduces(op, static_cast<int64_t>(d))) {
      in.push_back(at[kept++]);
      for (int a = f_.reduced_begin; a < f_.reduced_end; ++a) {
        if (in.back().strides[static_cast<size_t>(a)] != 0)
          return ir::refuse(op, "a reduction that differs along what is walked");
      }
    } else if (dims[d] == 1) {
      in.push_back(constant_affine(0, axis_count()));
    } else {
      skip();
      if (walked == shape_.size() || shape_[walked] != dims[d])
        return ir::refuse(op, "reductions of different shapes in one fusion");
      in.push_back(base(static_cast<int>(walked++)));
    }
  }
  skip();
  if (walked < shape_.size()) return ir::refuse(op, "reductions of different shapes in one fusion");
  return in;
}

Result<ScalarValue> FusionBuilder::reduce(const ir::Op& op, const Coord& at) {
  const DType dtype = op.result()->type.dtype;
  const auto combiner = ir::simple_combiner(op.region());
  const auto reduce = combiner ? reduction_with(*combiner, dtype) : std::nullopt;
  if (!reduce) return ir::refuse(op, "a reduction whose combiner is not one op");
  Coord in;
  const bool is_vector = op.operand(0)->type.dims != shape_;
  if (is_vector) {
    TRY(in.map, map_of_vector(op, at.map));
  }
  size_t kept = 0;
  for (size_t d = 0; !is_vector && d < shape_.size(); ++d) {
    in.map.push_back(base(static_cast<int>(d)));
    if (reduces(op, static_cast<int64_t>(d))) continue;
    if (!(at.map[kept++] == in.map.back()) && shape_[d] != 1) {
      return ir::refuse(op, "a reduction read at moved positions");
    }
  }
  if (!at.bounds.empty()) return ir::refuse(op, "a reduction read at some positions only");
  TRY(ScalarValue x, eval(op.operand(0), intern(std::move(in))));
  TRY(ScalarValue init, eval(op.operand(1), intern({})));
  const DType type = machine_type(dtype);
  ScalarValue r{dtype, -1, -1};
  if (is_walked(op)) {
    r.re = scalar_.emit(*reduce, type, x.re, init.re);
    if (ir::is_complex(dtype)) r.im = scalar_.emit(*reduce, type, x.im, init.im);
  } else {
    const ScalarInstr& zero = scalar_.instr(init.re);
    if (*reduce != Opcode::reduce_add || ir::is_complex(dtype) || type != DType::f32 ||
        zero.op != Opcode::constant || zero.imm != 0)
      return ir::refuse(op, "a reduction across rows that is no sum of floats from 0");
    r.re = scalar_.emit(Opcode::total, type, x.re);
  }
  // Sums of narrow types are kept wide and rounded once.
  if (*reduce == Opcode::reduce_add || *reduce == Opcode::reduce_mul) {
    const ScalarValue wide{type == DType::f32 ? DType::f32 : dtype, r.re, r.im};
    return dtype == wide.dtype ? scalar_.rounded(r) : scalar_.convert(wide, dtype);
  }
  return r;
}

Result<ScalarValue> FusionBuilder::eval_op(const ir::Op& op, int result, int coord) {
  const Coord at = coords_[static_cast<size_t>(coord)];
  if (op.id == OpId::constant) return constant(op);
  if (at.shift >= 0 && !op.is(ir::traits::elementwise)) {
    return ir::refuse(op, "an index map of what is gathered");
  }
  switch (op.id) {
    case OpId::iota:
      return iota(op, at);
    case OpId::pad:
      return pad(op, at);
    case OpId::concatenate:
      return concatenate(op, at);
    case OpId::gather:
      return gather(op, at);
    case OpId::dynamic_slice:
      return dynamic_slice(op, at);
    case OpId::dynamic_update_slice:
      return ir::refuse(op, "an update that the fusion reads");
    case OpId::reduce:
      return reduce(op, at);
    case OpId::broadcast_in_dim:
    case OpId::transpose:
    case OpId::slice:
    case OpId::reverse:
    case OpId::reshape: {
      auto in = operand_map(op, 0, at.map, f_.dims, &split_);
      if (!in) return ir::refuse(op, "a reshape that is not affine in the fusion's axes");
      return eval(op.operand(0), intern({std::move(*in), at.bounds}));
    }
    default:
      break;
  }
  std::vector<ScalarValue> operands;
  for (int i = 0; i < op.operand_count(); ++i) {
    // The predicate of a select and the bounds of a clamp may be scalars.
    const ir::Dims &dims = op.operand(i)->type.dims, &shape = op.result()->type.dims;
    const bool scalar = dims.empty() && !shape.empty();
    if (!scalar && dims != shape) return ir::refuse(op, "an operand of another shape");
    TRY(ScalarValue v, eval(op.operand(i), scalar ? intern({{}, at.bounds}) : coord));
    operands.push_back(v);
  }
  TRY(auto results, scalar_.apply(op, operands));
  return results[static_cast<size_t>(result)];
}

}  // namespace jaxmps::fusion
