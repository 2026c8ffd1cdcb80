// Collectives among groups of one device.
#include <algorithm>

#include "passes/decompose.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

bool one_device(Op& op) {
  const auto& groups = std::get<ir::ReplicaGroups>(op.find("replica_groups")->value);
  const bool alone = std::all_of(groups.groups.begin(), groups.groups.end(),
                                 [](const ir::Dims& group) { return group.size() == 1; });
  return alone && keeps_types(op);
}

void identity(Op* op) {
  if (!one_device(*op)) return;
  replace(op, op->operands());
}

// Device 0 receives its own value, or zeros when nobody sends to it.
void permute(Op* op) {
  const ir::Ints& pairs = op->ints("source_target_pairs");
  if (!op->result()->type.is_static()) return;
  for (int64_t device : pairs) {
    if (device != 0) return;
  }
  replace(op, pairs.empty() ? Builder(op).splat(op->result()->type, 0) : op->operand(0));
}

// The future of a computation that is done by then.
void await(Op* op) {
  Op* start = op->operand(0)->op();
  if (!start || start->id != OpId::async_start) return;
  replace(op, splice(start->region(), start->operands(), start));
  start->erase();
}

void device_zero(Op* op) { replace(op, Builder(op).splat(op->result()->type, 0)); }

}  // namespace

DecomposeRules collective_decompositions() {
  return {
      {OpId::all_reduce, identity},           {OpId::all_gather, identity},
      {OpId::all_to_all, identity},           {OpId::reduce_scatter, identity},
      {OpId::collective_broadcast, identity}, {OpId::cross_replica_sum, identity},
      {OpId::collective_permute, permute},    {OpId::async_done, await},
      {OpId::partition_id, device_zero},      {OpId::replica_id, device_zero},
  };
}

}  // namespace jaxmps::passes
