// Rules of the ops that exchange data between devices.
#include <algorithm>
#include <set>

#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

// Groups name each device once.
Reason check_groups(const Op& op) {
  std::set<int64_t> seen;
  for (const Dims& group : std::get<ReplicaGroups>(op.find("replica_groups")->value).groups) {
    for (int64_t device : group) {
      NEED(device >= 0, "replica_groups holds ", device);
      NEED(seen.insert(device).second, "replica_groups names device ", device, " twice");
    }
  }
  return {};
}

Reason counts_agree(const Op& op) {
  NEED(op.operand_count() == op.result_count(), "needs as many results as operands, has ",
       op.operand_count(), " operands and ", op.result_count(), " results");
  return {};
}

Reason keeps_types(const Op& op) {
  NEED_OK(passes_through(op));
  return check_groups(op);
}

Reason reduces(const Op& op) {
  NEED_OK(counts_agree(op));
  NEED_OK(check_groups(op));
  for (int i = 0; i < op.operand_count(); ++i) {
    NEED_OK(match_dims(str("result ", i), operand_type(op, i).dims, result_type(op, i).dims));
  }
  std::vector<Type> scalars;
  return check_combiner(op, 0, "the reducer", 1, &scalars);
}

// The size along `dim` changes by a factor; other sizes stay.
Reason keeps_other_dims(const Op& op, int64_t dim) {
  for (int i = 0; i < op.operand_count(); ++i) {
    const Type &from = operand_type(op, i), &to = result_type(op, i);
    NEED_OK(check_axis("the dimension", dim, from.rank()));
    Dims expected = from.dims;
    expected[dim] = kDynamic;
    NEED_OK(match_dims(str("result ", i), expected, to.dims));
    const int64_t a = std::min(from.dims[dim], to.dims[dim]),
                  b = std::max(from.dims[dim], to.dims[dim]);
    NEED(!is_known(a) || a == b || (a > 0 && b % a == 0), "size ", from.dims[dim],
         " cannot become ", to.dims[dim]);
  }
  return check_groups(op);
}

Reason all_gather(const Op& op) {
  NEED_OK(counts_agree(op));
  return keeps_other_dims(op, op.i64("all_gather_dim"));
}

Reason reduce_scatter(const Op& op) {
  NEED_OK(counts_agree(op));
  NEED_OK(keeps_other_dims(op, op.i64("scatter_dimension")));
  std::vector<Type> scalars;
  return check_combiner(op, 0, "the reducer", 1, &scalars);
}

Reason all_to_all(const Op& op) {
  NEED_OK(counts_agree(op));
  NEED_OK(check_groups(op));
  const int64_t split = op.i64("split_dimension"), concat = op.i64("concat_dimension"),
                count = op.i64("split_count");
  NEED(count >= 1 && count < (int64_t(1) << 31), "split_count is ", count);
  for (int i = 0; i < op.operand_count(); ++i) {
    const Type& from = operand_type(op, i);
    NEED_OK(check_axis("split_dimension", split, from.rank()));
    NEED_OK(check_axis("concat_dimension", concat, from.rank()));
    Dims expected = from.dims;
    if (split != concat) {
      if (is_known(expected[split])) {
        NEED(expected[split] % count == 0, "size ", expected[split], " cannot be split into ",
             count);
        expected[split] /= count;
      }
      if (is_known(expected[concat])) expected[concat] *= count;
    }
    NEED_OK(match_dims(str("result ", i), expected, result_type(op, i).dims));
  }
  return {};
}

Reason collective_permute(const Op& op) {
  const Ints& pairs = op.ints("source_target_pairs");
  std::set<int64_t> sources, targets;
  for (size_t i = 0; i < pairs.size(); ++i) {
    NEED(pairs[i] >= 0, "source_target_pairs holds ", pairs[i]);
    NEED((i % 2 ? targets : sources).insert(pairs[i]).second, "device ", pairs[i], " is a ",
         i % 2 ? "target" : "source", " twice");
  }
  return match_type("the result", operand_type(op), result_type(op));
}

}  // namespace

Rules collective_rules() {
  return {
      {OpId::all_gather, kAny, kAny, 0, all_gather},
      {OpId::all_reduce, kAny, kAny, 1, reduces},
      {OpId::all_to_all, kAny, kAny, 0, all_to_all},
      {OpId::collective_broadcast, kAny, kAny, 0, keeps_types},
      {OpId::collective_permute, 1, 1, 0, collective_permute},
      {OpId::collective_reduce, kAny, kAny, 1, nullptr},
      {OpId::cross_replica_sum, 1, 1, 0, keeps_types},
      {OpId::reduce_scatter, 1, 1, 1, reduce_scatter},
  };
}

}  // namespace jaxmps::ir::rules
