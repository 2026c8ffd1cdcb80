#include "exec/layouts.h"

#include <algorithm>

#include "exec/memory.h"
#include "mlx/primitives.h"

namespace jaxmps::exec {
namespace {

// Arrays that have a layout and no values: all of them are at one byte.
class StandIns {
 public:
  mx::array dense(const mx::Shape& shape, mx::Dtype dtype) {
    mx::array array(shape, dtype, nullptr, {});
    array.set_data(mx::allocator::Data(memory_, nullptr));
    array.set_status(mx::array::Status::available);
    return array;
  }

 private:
  char byte_ = 0;
  mx::allocator::Buffer memory_{&byte_};
};

class Folder {
 public:
  Folder(Plan& plan, const std::vector<ir::Value*>& parameters)
      : plan_(plan), seen_(plan.slots), uses_(plan.slots) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      const ir::Type& type = parameters[i]->type;
      if (!type.is_tensor() || !type.is_static()) continue;
      note(plan.parameters[i], ops::storage_shape(type), ops::storage_dtype(type.dtype));
    }
    for (Step& step : plan.steps) {
      read_through(step);
      if (is_view(step)) follow(step);
      if (is_dense(step)) {
        for (size_t i = 0; i < step.outputs.size(); ++i) {
          note(step.outputs[i], step.shapes[i], step.dtypes[i]);
        }
      }
    }
    drop_unread();
  }

 private:
  // A slot as a view of a dense one, maybe itself.
  struct Seen {
    Ref whole;
    mx::array view;
    bool is_all;  // the elements of the whole, in their order
  };

  static bool is_dense(const Step& step) {
    return step.kind == Step::Kind::launch || step.kind == Step::Kind::native ||
           (step.kind == Step::Kind::call && step.call.is_dense());
  }

  // MLX's views of arrays without elements are none.
  void note(int slot, const mx::Shape& shape, mx::Dtype dtype) {
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return;
    seen_[slot] = Seen{slot, stand_ins_.dense(shape, dtype), true};
  }

  void read_through(Step& step) {
    if (step.loop || step.branch || is_view(step)) return;
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      const Ref input = step.inputs[i];
      if (input < 0 || !seen_[input] || seen_[input]->whole == input) continue;
      const Seen& seen = *seen_[input];
      const mx::array& whole = seen_[seen.whole]->view;
      const bool is_same =
          seen.is_all && seen.view.shape() == whole.shape() && seen.view.dtype() == whole.dtype();
      const bool has_layout = i < step.call.layouts.size() && step.call.layouts[i];
      if (step.kind == Step::Kind::call && !has_layout && !is_same) {
        step.call.layouts.resize(step.inputs.size());
        step.call.layouts[i] = Layout(seen.view);
      } else if (!seen.is_all) {
        continue;
      }
      step.inputs[i] = seen.whole;
    }
  }

  void follow(Step& step) {
    const Ref input = step.inputs[0];
    if (step.inputs.size() != 1 || input < 0 || !seen_[input]) return;
    const Seen seen = *seen_[input];
    if (step.kind == Step::Kind::call) return follow_call(step, seen);
    if (step.kind != Step::Kind::alias) return;
    mx::array view(step.shapes[0], step.dtypes[0], nullptr, {});
    if (!reshape(seen.view, view)) {
      const mx::array unread(seen.view.shape(), seen.view.dtype(), nullptr, {});
      return copy(step, Call(mx::reshape(unread, step.shapes[0]).primitive_ptr()), seen);
    }
    view.set_status(mx::array::Status::available);
    seen_[step.outputs[0]] = Seen{seen.whole, std::move(view), seen.is_all};
  }

  // MLX itself says what it sees: its views read no values. Only of a dense array is each of them
  // sure to be a view.
  void follow_call(Step& step, const Seen& seen) {
    const std::string_view name = step.call.name();
    const bool is_any = name == "Transpose" || name == "Slice" || name == "Split" ||
                        name.starts_with("Broadcast") || name == "ExpandDims" || name == "Squeeze";
    const bool reshapes = name == "Reshape" || name == "Flatten" || name == "Unflatten";
    std::vector<mx::array> views;
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      views.emplace_back(step.shapes[i], step.dtypes[i], step.call.primitive,
                         std::vector<mx::array>{});
      if (views.back().size() == 0) return;
    }
    if (is_any || seen.view.flags().row_contiguous) {
      step.call.primitive->eval_cpu({seen.view}, views);
    } else if (!reshapes) {
      return;
    } else if (!reshape(seen.view, views[0])) {
      return copy(step, std::move(step.call), seen);
    }
    for (size_t i = 0; i < views.size(); ++i) {
      mx::array& view = views[i];
      view.set_status(mx::array::Status::available);
      view.detach();
      const bool is_all = seen.is_all && view.flags().row_contiguous && view.offset() == 0 &&
                          view.nbytes() == seen.view.nbytes();
      seen_[step.outputs[i]] = Seen{seen.whole, std::move(view), is_all};
    }
  }

  // What cannot be seen so is a copy.
  static void copy(Step& step, Call call, const Seen& seen) {
    call.operation = Operation::copy;
    call.layouts = {Layout(seen.view)};
    step.kind = Step::Kind::call;
    step.call = std::move(call);
    step.inputs[0] = seen.whole;
  }

  static bool reshape(const mx::array& from, mx::array& to) {
    const ir::Dims dims(from.shape().begin(), from.shape().end());
    const auto strides = regrouped(dims, from.strides(), to.shape());
    if (!strides) return false;
    Layout layout(to.shape(), to.dtype(), *strides, static_cast<int64_t>(from.data_size()));
    layout.flags.contiguous = from.flags().contiguous;
    to.copy_shared_buffer(from, layout.strides, layout.flags, layout.data_size);
    return true;
  }

  void drop_unread() {
    for (const Ref result : plan_.results) {
      if (result >= 0) ++uses_[result];
    }
    std::vector<Step> kept;
    for (size_t i = plan_.steps.size(); i-- > 0;) {
      Step& step = plan_.steps[i];
      const bool is_read = std::any_of(step.outputs.begin(), step.outputs.end(),
                                       [&](int slot) { return uses_[slot] > 0; });
      const bool was_followed =
          std::all_of(step.outputs.begin(), step.outputs.end(),
                      [&](int slot) { return seen_[slot] && seen_[slot]->whole != slot; });
      if (!is_read && was_followed && is_view(step)) continue;
      for (const Ref input : step.inputs) {
        if (input >= 0) ++uses_[input];
      }
      kept.push_back(std::move(step));
    }
    plan_.steps.assign(std::make_move_iterator(kept.rbegin()),
                       std::make_move_iterator(kept.rend()));
  }

  Plan& plan_;
  StandIns stand_ins_;
  std::vector<std::optional<Seen>> seen_;  // by slot
  std::vector<int> uses_;
};

}  // namespace

void fold_views(Plan& plan, const std::vector<ir::Value*>& parameters) { Folder(plan, parameters); }

}  // namespace jaxmps::exec
