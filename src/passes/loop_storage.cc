// A scan that reads one array slice by slice and writes another of the same type writes into the
// array that it reads, if nobody needs that afterwards: the caches of all layers of a model are
// updated where they are. In terms of values: each slice of the written array is overwritten by the
// same trip, so its start value may be anything, among others the array that is read; and a slice
// not yet overwritten is the one that would be read from there.
#include <optional>

#include "base/env.h"
#include "passes/loops.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

class ScanLoop {
 public:
  ScanLoop(Op* loop, const ir::Function& function) : loop_(loop), function_(function) {
    if (const ir::Attr* trips = ir::find(loop->discardable, "mps.trip_count")) {
      trips_ = std::get<ir::TypedInt>(trips->value).value;
    }
  }

  void rewrite() {
    if (trips_ <= 0) return;
    for (int k = 0; k < loop_->result_count(); ++k) {
      const Op* update = update_of(k);
      if (!update) continue;
      for (const Value* read : read_slices(update->operand(2))) {
        if (read->type == loop_->result(k)->type && dies_here(*read)) {
          share(k, const_cast<Value*>(read));
          break;
        }
      }
    }
  }

 private:
  Region& body() const { return loop_->region(1); }

  // start + slope · trip
  struct Affine {
    int64_t start, slope;
  };

  // JAX writes (n - trip) - 1; deeper sums are not looked into.
  std::optional<Affine> affine(const Value* index, int depth = 0) const {
    if (const auto constant = constant_integer(index)) {
      if (*constant < -trips_ || *constant > trips_) return std::nullopt;
      return Affine{*constant, 0};
    }
    if (is_counter(index)) return Affine{0, 1};
    const Op* op = index->op();
    if (!op || depth > 3 || (op->id != OpId::add && op->id != OpId::subtract)) return std::nullopt;
    const auto a = affine(op->operand(0), depth + 1), b = affine(op->operand(1), depth + 1);
    if (!a || !b) return std::nullopt;
    const int64_t sign = op->id == OpId::add ? 1 : -1;
    return Affine{a->start + sign * b->start, a->slope + sign * b->slope};
  }

  // Whether the index of a trip is its number, or counts down from the last one.
  bool counts_trips(const Value* index) const {
    const auto form = affine(index);
    if (!form) return false;
    // Sums wrap, so the form holds where the type has room for every trip's number.
    const ir::DType dtype = index->type.dtype;
    const int bits = ir::bit_width(dtype) - (ir::is_signed_int(dtype) ? 1 : 0);
    if (bits < 62 && trips_ - 1 >= int64_t{1} << bits) return false;
    return (form->start == 0 && form->slope == 1) ||
           (form->start == trips_ - 1 && form->slope == -1);
  }

  bool is_counter(const Value* value) const {
    if (value->region() != &body()) return false;
    const int i = value->index();
    return constant_integer(loop_->operand(i)) == 0 && step_of(body(), i) == 1;
  }

  // Whether the indices from operand `first` on name one slice of the first axis for each trip.
  bool is_whole_slice(const Op& op, int first, const ir::Type& array, const ir::Dims& slice) const {
    if (array.dims.empty() || array.dims[0] != trips_ || slice[0] != 1) return false;
    for (size_t d = 1; d < array.dims.size(); ++d) {
      if (slice[d] != array.dims[d]) return false;
      if (constant_integer(op.operand(first + static_cast<int>(d))) != 0) return false;
    }
    return counts_trips(op.operand(first));
  }

  // The op by which the carried value k is written and nothing else is done with it.
  const Op* update_of(int k) const {
    const Op* update = body().terminator()->operand(k)->op();
    if (!update || update->id != OpId::dynamic_update_slice || update->parent() != &body() ||
        update->operand(0) != body().arg(k) || !body().arg(k)->has_one_use() ||
        !loop_->region(0).arg(k)->unused() || !update->result()->has_one_use()) {
      return nullptr;
    }
    const ir::Type& slice = update->operand(1)->type;
    return is_whole_slice(*update, 2, update->result()->type, slice.dims) ? update : nullptr;
  }

  // Outer arrays of which the body reads slices at this index.
  std::vector<const Value*> read_slices(const Value* index) const {
    std::vector<const Value*> arrays;
    for (const Op* op : body()) {
      if (op->id == OpId::dynamic_slice && op->operand(1) == index &&
          op->operand(0)->region() != &body()) {
        arrays.push_back(op->operand(0));
      }
    }
    return arrays;
  }

  // Whether the loop body's slices are all that is ever done with the array, and its memory is
  // free.
  bool dies_here(const Value& array) const {
    const Region* home = array.is_argument() ? array.region() : array.op()->parent();
    if (home != loop_->parent() || (array.op() && array.op()->id == OpId::constant)) return false;
    if (array.region() == &function_.body && !is_donated(array.index())) return false;
    const Value* index = nullptr;
    for (const ir::Use* use = array.first_use(); use; use = use->next) {
      const Op& op = *use->owner;
      if (op.id != OpId::dynamic_slice || op.parent() != &body()) return false;
      if (!is_whole_slice(op, 1, array.type, op.result()->type.dims)) return false;
      if (index && op.operand(1) != index) return false;
      index = op.operand(1);
    }
    return true;
  }

  bool is_donated(int parameter) const {
    if (static_cast<size_t>(parameter) >= function_.arg_attrs.size()) return false;
    const ir::AttrDict& attrs = function_.arg_attrs[static_cast<size_t>(parameter)];
    return ir::find(attrs, "tf.aliasing_output") || ir::find(attrs, "jax.buffer_donor");
  }

  void share(int k, Value* array) {
    array->replace_all_uses_with(body().arg(k));
    Op* start = loop_->operand(k)->op();
    loop_->set_operand(k, array);
    if (start && start->is(ir::traits::pure) && start->unused()) start->erase();
  }

  Op* const loop_;
  const ir::Function& function_;
  int64_t trips_ = 0;
};

}  // namespace

Status share_loop_storage(ir::Module& module) {
  if (!env::flag(env::Var::JAX_MPS_REUSE)) return {};
  for (const auto& function : module.functions) {
    walk(function->body, [&](Op* op) {
      if (op->id == OpId::while_) ScanLoop(op, *function).rewrite();
    });
  }
  return {};
}

}  // namespace jaxmps::passes
