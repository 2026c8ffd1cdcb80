// The builder behind build_fusion; internal to fusion/build*.cc: build.cc chooses the walked space
// and places the outputs, build_ops.cc computes values at coordinates of it. One object, one
// thread.
#pragma once

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fusion/fusion.h"
#include "fusion/index_map.h"

namespace jaxmps::fusion {

// One axis of the iteration space: a part of dimension `base` of the walked shape.
struct Axis {
  int base;
  int64_t stride, extent;
};

class FusionBuilder {
 public:
  FusionBuilder(const ir::Region& region, const std::vector<Split>& splits, bool turn_short_rows)
      : region_(region), splits_(splits), turn_short_rows_(turn_short_rows), scalar_(&f_.program) {}

  Result<Fusion> build();
  std::optional<Split> wanted_split() const { return split_; }

 private:
  Status choose_space();
  bool is_walked(const ir::Op& reduce) const;
  bool is_across_rows(const ir::Op& reduce) const;
  Result<IndexMap> map_of_vector(const ir::Op& reduce, const IndexMap& at) const;
  Status find_totals();
  void set_axes(const std::vector<int>& order);
  Affine base(int dim) const;
  Status add_output(const ir::Value* value);
  Status check_updates() const;
  Result<IndexMap> output_map(const ir::Value* value);

  Result<ScalarValue> eval(const ir::Value* value, int coord);
  Result<ScalarValue> eval_op(const ir::Op& op, int result, int coord);
  Result<ScalarValue> load(const ir::Value* argument, const Coord& at);
  Result<ScalarValue> iota(const ir::Op& op, const Coord& at);
  Result<ScalarValue> pad(const ir::Op& op, const Coord& at);
  Result<ScalarValue> concatenate(const ir::Op& op, const Coord& at);
  Result<ScalarValue> gather(const ir::Op& op, const Coord& at);
  Result<ScalarValue> dynamic_slice(const ir::Op& op, const Coord& at);
  // By how many elements a slice of these sizes begins behind the operand's first: its starts are
  // the scalar operands from `first` on. -1: by none.
  Result<int32_t> moved(const ir::Op& op, int first, const ir::Dims& sizes,
                        const std::vector<Bound>& bounds);
  Result<ScalarValue> reduce(const ir::Op& op, const Coord& at);
  Result<ScalarValue> constant(const ir::Op& op);
  int32_t scaled(int32_t v, int64_t factor);
  int32_t clamped(const ScalarValue& start, int64_t limit, DType type);
  int32_t add_access(Access access, int32_t shift = -1);
  // Restricts `at` to points where lo <= at.map[dim] < hi; `inside` is the predicate, -1 if always.
  Status restrict_to(const ir::Op& op, Coord* at, size_t dim, int64_t lo, int64_t hi,
                     int32_t* inside);

  int intern(Coord coord);
  size_t axis_count() const { return axes_.size(); }

  const ir::Region& region_;
  const std::vector<Split>& splits_;
  const bool turn_short_rows_;
  Fusion f_;
  ScalarBuilder scalar_;
  ir::Dims shape_;                               // the walked shape, in its own order of dimensions
  std::vector<bool> reduced_;                    // per dimension of it
  const ir::Op* walked_ = nullptr;               // a reduction over these
  std::unordered_set<const ir::Op*> of_totals_;  // what is computed of totals, and these
  std::vector<Axis> axes_;
  std::vector<Coord> coords_;
  std::unordered_multimap<uint64_t, int> coord_index_;
  struct Key {
    const ir::Value* value;
    int coord;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& k) const {
      return std::hash<const void*>()(k.value) * 31 + static_cast<size_t>(k.coord);
    }
  };
  std::unordered_map<Key, ScalarValue, KeyHash> known_;
  std::optional<Split> split_;
};

inline bool reduces(const ir::Op& reduce, int64_t d) {
  const ir::Ints& dims = reduce.ints("dimensions");
  return std::find(dims.begin(), dims.end(), d) != dims.end();
}

}  // namespace jaxmps::fusion
