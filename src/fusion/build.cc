// The space that a fusion walks, and where its results go.
#include "fusion/builder.h"

namespace jaxmps::fusion {

using ir::OpId;

int FusionBuilder::intern(Coord coord) {
  uint64_t h = coord.map.size();
  auto mix = [&](int64_t v) {
    h = (h ^ static_cast<uint64_t>(v)) * 0x9e3779b97f4a7c15ull, h ^= h >> 31;
  };
  for (const Affine& e : coord.map) {
    mix(e.offset);
    for (int64_t c : e.strides) mix(c);
  }
  for (const Bound& b : coord.bounds) mix(b.axis), mix(b.lo), mix(b.hi);
  mix(coord.shift);
  auto [first, last] = coord_index_.equal_range(h);
  for (; first != last; ++first) {
    if (coords_[static_cast<size_t>(first->second)] == coord) return first->second;
  }
  const int id = static_cast<int>(coords_.size());
  coords_.push_back(std::move(coord));
  coord_index_.emplace(h, id);
  return id;
}

namespace {

// Whether the innermost dimension is reduced, those of one element aside.
bool reduces_rows(const ir::Op& reduce) {
  const ir::Dims& dims = reduce.operand(0)->type.dims;
  int64_t innermost = static_cast<int64_t>(dims.size()) - 1;
  while (innermost > 0 && dims[static_cast<size_t>(innermost)] == 1) --innermost;
  return reduces(reduce, innermost);
}

// What is computed at the points of the space for a result.
const ir::Value& walked_value(const ir::Value& result) {
  const ir::Op* op = result.op();
  return op && op->id == OpId::dynamic_update_slice ? *op->operand(1) : result;
}

}  // namespace

// Or along what is walked, of an operand that has not all of the kept dimensions.
bool FusionBuilder::is_walked(const ir::Op& reduce) const {
  return reduce.operand(0)->type.dims != shape_ ||
         reduce.ints("dimensions") == walked_->ints("dimensions");
}

// Whether it is over all dimensions that rows have not, and no others; those of one element aside.
bool FusionBuilder::is_across_rows(const ir::Op& reduce) const {
  for (size_t d = 0; d < shape_.size(); ++d) {
    if (reduces(reduce, static_cast<int64_t>(d)) == reduced_[d] && shape_[d] != 1) return false;
  }
  return f_.kind == Fusion::Kind::row;
}

// Reductions are all alike, or those of rows with totals: those over all other dimensions.
Status FusionBuilder::find_totals() {
  for (const ir::Op* op : region_) {
    bool is_of_totals = false;
    for (int i = 0; i < op->operand_count(); ++i)
      is_of_totals |= of_totals_.count(op->operand(i)->op()) != 0;
    if (op->id == OpId::reduce) {
      if (!is_walked(*op) && !is_across_rows(*op))
        return ir::refuse(*op, "reductions of different shapes in one fusion");
      is_of_totals |= !is_walked(*op);
    }
    if (is_of_totals) of_totals_.insert(op);
  }
  return {};
}

// The walked shape is the largest operand of the reductions, or else the first result.
Status FusionBuilder::choose_space() {
  for (const ir::Op* op : region_) {
    if (op->id != OpId::reduce) continue;
    const int64_t larger =
        walked_ ? op->operand(0)->type.size() - walked_->operand(0)->type.size() : 1;
    if (larger > 0 || (larger == 0 && reduces_rows(*op))) walked_ = op;
  }
  std::vector<int> order;
  if (!walked_) {
    shape_ = walked_value(*region_.terminator()->operand(0)).type.dims;
    reduced_.assign(shape_.size(), false);
    for (size_t d = 0; d < shape_.size(); ++d) order.push_back(static_cast<int>(d));
    set_axes(order);
    return {};
  }
  shape_ = walked_->operand(0)->type.dims;
  reduced_.assign(shape_.size(), false);
  for (int64_t d : walked_->ints("dimensions")) reduced_[static_cast<size_t>(d)] = true;
  const int rank = static_cast<int>(shape_.size());
  int first = 0;
  while (first < rank && !reduced_[static_cast<size_t>(first)]) ++first;
  bool row = first == rank || reduces_rows(*walked_);
  // Many short rows: better many at a time, the rows themselves innermost.
  constexpr int64_t kShortRow = 32, kManyRows = 16;
  int64_t length = 1, rows = 1;
  for (int d = 0; d < rank; ++d)
    (reduced_[static_cast<size_t>(d)] ? length : rows) *= shape_[static_cast<size_t>(d)];
  if (turn_short_rows_ && row && length > 1 && length <= kShortRow && rows >= kManyRows) {
    row = false;
    first = 0;
  }
  f_.kind = row ? Fusion::Kind::row : Fusion::Kind::column;
  CHECK_OK(find_totals());
  for (int d = 0; d < rank; ++d) {
    if (!reduced_[static_cast<size_t>(d)] && (row || d < first)) order.push_back(d);
  }
  for (int d = 0; d < rank; ++d) {
    if (reduced_[static_cast<size_t>(d)]) order.push_back(d);
  }
  for (int d = first; d < rank && !row; ++d) {
    if (!reduced_[static_cast<size_t>(d)]) order.push_back(d);
  }
  set_axes(order);
  return {};
}

void FusionBuilder::set_axes(const std::vector<int>& order) {
  for (int d : order) axes_.push_back({d, 1, shape_[static_cast<size_t>(d)]});
  for (const Split& s : splits_) {
    Axis& whole = axes_[static_cast<size_t>(s.axis)];
    Axis inner{whole.base, whole.stride, s.inner};
    whole.extent /= s.inner;
    whole.stride *= s.inner;
    axes_.insert(axes_.begin() + s.axis + 1, inner);
  }
  f_.reduced_begin = f_.reduced_end = 0;
  for (const Axis& axis : axes_) f_.dims.push_back(axis.extent);
  if (f_.kind == Fusion::Kind::loop) {
    f_.reduced_begin = f_.reduced_end = static_cast<int>(axes_.size());
    return;
  }
  auto is_reduced = [&](const Axis& a) { return reduced_[static_cast<size_t>(a.base)]; };
  auto begin = std::find_if(axes_.begin(), axes_.end(), is_reduced);
  auto end = std::find_if_not(begin, axes_.end(), is_reduced);
  f_.reduced_begin = static_cast<int>(begin - axes_.begin());
  f_.reduced_end = static_cast<int>(end - axes_.begin());
}

Affine FusionBuilder::base(int dim) const {
  Affine e = constant_affine(0, axis_count());
  for (size_t a = 0; a < axes_.size(); ++a) {
    if (axes_[a].base == dim) e.strides[a] = axes_[a].stride;
  }
  return e;
}

// The coordinates at which a result is computed: those of the walked shape, or of its kept
// dimensions (the reduced ones, for what is computed of totals), or either under a reshape; or
// none, for a single value.
Result<IndexMap> FusionBuilder::output_map(const ir::Value* value) {
  const ir::Type& type = value->type;
  const bool is_total = of_totals_.count(value->op()) != 0;
  IndexMap all, kept;
  ir::Dims kept_shape;
  for (size_t d = 0; d < shape_.size(); ++d) {
    all.push_back(base(static_cast<int>(d)));
    if (reduced_[d] == is_total) {
      kept.push_back(all.back());
      kept_shape.push_back(shape_[d]);
    }
  }
  if (type.dims == shape_ && !is_total) return all;
  if (type.dims == kept_shape && f_.kind != Fusion::Kind::loop) return kept;
  if (type.size() == 1) return IndexMap(type.dims.size(), constant_affine(0, axis_count()));
  const bool whole = !is_total && type.size() == ir::element_count(shape_);
  if (!whole && type.size() != ir::element_count(kept_shape)) {
    return unimplemented(str("a fusion over ", shape_, " with a result ", ir::brief(type)));
  }
  const Affine linear = whole ? scaled_sum(all, ir::row_major_strides(shape_), axis_count())
                              : scaled_sum(kept, ir::row_major_strides(kept_shape), axis_count());
  auto map = delinearize(linear, type.dims, f_.dims, &split_);
  if (!map) return unimplemented(str("a fusion over ", shape_, " with a result ", ir::brief(type)));
  return *map;
}

Status FusionBuilder::add_output(const ir::Value* value) {
  const ir::Value& walked = walked_value(*value);
  TRY(IndexMap map, output_map(&walked));
  Affine linear = scaled_sum(map, ir::row_major_strides(value->type.dims), axis_count());
  TRY(ScalarValue v, eval(&walked, intern({std::move(map), {}})));
  FusionOutput out{std::move(linear), value->type, scalar_.to_storage(v)};
  if (&walked != value) {
    const ir::Op& update = *value->op();
    if (!update.operand(0)->is_argument()) return ir::refuse(update, "an update of what it makes");
    out.updates = update.operand(0)->index();
    TRY(out.shift, moved(update, 2, walked.type.dims, {}));
  }
  const bool has_parts = ir::is_complex(value->type.dtype);  // stores count in them, as loads do
  if (has_parts) out *= 2;
  if (has_parts && out.shift >= 0) out.shift = scaled(out.shift, 2);
  f_.outputs.push_back(std::move(out));
  return {};
}

// What is updated in place is not read beside.
Status FusionBuilder::check_updates() const {
  for (const FusionOutput& out : f_.outputs) {
    for (const ScalarInstr& i : f_.program.instrs) {
      if (i.op == Opcode::load && f_.accesses[i.imm].input == out.updates && out.updates >= 0)
        return unimplemented("a fusion that reads what it updates");
    }
    for (const FusionOutput& other : f_.outputs) {
      if (&other != &out && out.updates >= 0 && other.updates == out.updates)
        return unimplemented("a fusion of several updates of one array");
    }
  }
  return {};
}

Result<Fusion> FusionBuilder::build() {
  for (int i = 0; i < region_.arg_count(); ++i) {
    const ir::Type& type = region_.arg(i)->type;
    if (!type.is_tensor() || !type.is_static()) return unimplemented("a fusion of a dynamic shape");
    f_.inputs.push_back(type);
  }
  const ir::Op* end = region_.terminator();
  if (!end || end->operand_count() == 0) return internal("a fusion without results");
  CHECK_OK(choose_space());
  for (int i = 0; i < end->operand_count(); ++i) CHECK_OK(add_output(end->operand(i)));
  CHECK_OK(check_updates());
  collapse_axes(&f_);
  if (f_.dims.size() > kMaxAxes) return unimplemented(str("a fusion of ", f_.dims.size(), " axes"));
  return std::move(f_);
}

Result<Fusion> build_fusion(const ir::Region& region, bool turn_short_rows) {
  std::vector<Split> splits;
  constexpr size_t kMaxSplits = 8;
  for (;;) {
    FusionBuilder builder(region, splits, turn_short_rows);
    Result<Fusion> fusion = builder.build();
    if (fusion.ok() || !builder.wanted_split() || splits.size() == kMaxSplits) return fusion;
    splits.push_back(*builder.wanted_split());
  }
}

Result<Fusion> build_fusion(const ir::Op& op, bool turn_short_rows) {
  Result<Fusion> fusion = build_fusion(op.region(), turn_short_rows);
  if (!fusion.ok()) return std::move(fusion).error().in(ir::brief(op));
  return fusion;
}

}  // namespace jaxmps::fusion
