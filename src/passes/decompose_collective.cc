// Collectives among groups of one device.
#include <algorithm>

#include "passes/decompose.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

bool one_device(const Op& op) {
  const auto& groups = std::get<ir::ReplicaGroups>(op.find("replica_groups")->value);
  const bool alone = std::all_of(groups.groups.begin(), groups.groups.end(),
                                 [](const ir::Dims& group) { return group.size() == 1; });
  if (!alone || op.operand_count() != op.result_count()) return false;
  for (int i = 0; i < op.operand_count(); ++i) {
    if (!(op.operand(i)->type == op.result(i)->type)) return false;
  }
  return true;
}

bool identity(Op* op) {
  if (!one_device(*op)) return false;
  replace(op, op->operands());
  return true;
}

// Device 0 receives its own value, or zeros when nobody sends to it.
bool permute(Op* op) {
  const ir::Ints& pairs = op->ints("source_target_pairs");
  if (!op->result()->type.is_static()) return false;
  for (int64_t device : pairs) {
    if (device != 0) return false;
  }
  replace(op, pairs.empty() ? Builder(op).splat(op->result()->type, 0) : op->operand(0));
  return true;
}

// The future of a computation that is done by then.
bool await(Op* op) {
  Op* start = op->operand(0)->op();
  if (!start || start->id != OpId::async_start) return false;
  replace(op, splice(start->region(), start->operands(), start));
  start->erase();
  return true;
}

bool device_zero(Op* op) {
  replace(op, Builder(op).splat(op->result()->type, 0));
  return true;
}

}  // namespace

void add_collective_rules(AddRule add, void* table) {
  for (OpId id : {OpId::all_reduce, OpId::all_gather, OpId::all_to_all, OpId::reduce_scatter,
                  OpId::collective_broadcast, OpId::cross_replica_sum}) {
    add(table, id, identity);
  }
  add(table, OpId::collective_permute, permute);
  add(table, OpId::async_done, await);
  add(table, OpId::partition_id, device_zero);
  add(table, OpId::replica_id, device_zero);
}

}  // namespace jaxmps::passes
