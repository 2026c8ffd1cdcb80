// Running plans.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/stop.h"
#include "exec/memory.h"
#include "exec/plan.h"

namespace jaxmps::exec {
namespace {

using ops::Arrays;

// Calls on operands and results with up to this many arrays do not allocate.
constexpr size_t kInline = 16;

template <typename T>
class Small {
 public:
  explicit Small(size_t size) : size_(size) {
    if (size > kInline) heap_.resize(size);
  }
  T* data() { return size_ > kInline ? heap_.data() : inline_; }
  T& operator[](size_t i) { return data()[i]; }

 private:
  size_t size_;
  T inline_[kInline] = {};
  std::vector<T> heap_;
};

class Runner {
 public:
  Runner(const Plan& plan, RunContext& run)
      : plan_(plan), run_(run), encoder_(run.encoder), frame_(plan.slots) {}
  // After a failure what was sent may read what a later step was to overwrite.
  ~Runner() {
    for (auto& slot : frame_) {
      if (slot && !plan_.is_native) hold(*slot);
      drop(slot);
    }
  }
  Runner(const Runner&) = delete;

  Arrays run(std::vector<mx::array> arguments, bool dense) {
    for (size_t i = 0; i < plan_.parameters.size(); ++i) {
      frame_[plan_.parameters[i]].emplace(std::move(arguments[i]));
    }
    arguments.clear();
    for (int slot : plan_.dead_parameters) drop(frame_[slot]);
    run_.profiler ? run_steps<true>() : run_steps<false>();
    Arrays out = results(dense);
    for (auto& slot : frame_) drop(slot);
    return out;
  }

 private:
  template <bool kProfiled>
  void run_steps() {
    for (const Step& step : plan_.steps) {
      check_stopped();
      run_.op = step.op;
      if constexpr (kProfiled) run_.profiler->begin(step);
      run_step(step);
      for (int slot : step.frees) drop(frame_[slot]);
      if constexpr (kProfiled) run_.profiler->end(step);
    }
  }

  void run_step(const Step& step) {
    switch (step.kind) {
      case Step::Kind::native:
        return run_native(step);
      case Step::Kind::call:
        return put(step, encoder_.send(step.call, take_all(step), step.shapes, step.dtypes,
                                       step.overwritten));
      case Step::Kind::launch:
        return put(step, encoder_.send(step.launch, take_all(step), step.shapes, step.dtypes,
                                       step.overwritten));
      case Step::Kind::alias:
        return run_alias(step);
      case Step::Kind::view:
        return run_view(step);
      case Step::Kind::loop:
        return run_loop(step);
      case Step::Kind::branch:
        return run_branch(step);
    }
  }

  const mx::array& at(Ref ref) const { return ref < 0 ? plan_.constants[~ref] : *frame_[ref]; }

  // What was sent keeps what it reads. What it writes may have no reader, and whoever is given the
  // memory next, another thread of the client's, say, would not come behind it.
  void drop(std::optional<mx::array>& slot) noexcept {
    if (slot && is_exclusive(*slot) && slot->status() != mx::array::Status::available) hold(*slot);
    slot.reset();
  }

  void hold(const mx::array& array) noexcept {
    try {
      encoder_.hold(array);
    } catch (const std::bad_alloc&) {
      wait_in_want();
    }
  }

  void wait_in_want() noexcept {
    try {
      encoder_.wait();
    } catch (...) {  // told at the next wait, or at the end
    }
  }

  void make_dense(Ref ref) {
    if (ref >= 0 && !at(ref).flags().row_contiguous) {
      frame_[ref].emplace(encoder_.dense(*std::move(frame_[ref])));
    }
  }

  // Whoever reads what is there now need not wait again for what is sent behind it.
  void wait() {
    const ir::Op* op = std::exchange(run_.op, nullptr);
    encoder_.wait();
    run_.op = op;
    if (!encoder_.in_place()) return;
    for (auto& slot : frame_) {
      if (slot) slot->set_status(mx::array::Status::available);
    }
  }

  // Dense row-major, its values there for the CPU, as they are in arrays that are `available`.
  const mx::array& readable(Ref ref) {
    make_dense(ref);
    const mx::array& array = at(ref);
    if (array.status() != mx::array::Status::available) wait();
    return array;
  }

  void run_native(const Step& step) {
    Small<const void*> in(step.inputs.size());
    Small<void*> out(step.outputs.size());
    for (size_t i = 0; i < step.inputs.size(); ++i) in[i] = readable(step.inputs[i]).data<void>();
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      auto& slot = frame_[step.outputs[i]];
      const auto takes = [&](int operand) { return take_over(step, step.inputs[operand], i); };
      if (i >= step.reuse.size() ||
          std::none_of(step.reuse[i].begin(), step.reuse[i].end(), takes)) {
        slot.emplace(new_array(step.shapes[i], step.dtypes[i]));
      }
      out[i] = slot->data<void>();
    }
    step.native(in.data(), out.data());
  }

  // Result i takes the storage of the operand in `ref`, which dies at this step, if that is the
  // only holder (and no other result has taken it).
  bool take_over(const Step& step, Ref ref, size_t i) {
    if (!is_exclusive(*frame_[ref])) return false;
    mx::array& source = *frame_[ref];
    auto& slot = frame_[step.outputs[i]];
    if (source.shape() == step.shapes[i] && source.dtype() == step.dtypes[i]) {
      slot.emplace(source);
    } else {
      slot.emplace(share(source, step.shapes[i], step.dtypes[i]));
    }
    return true;
  }

  void run_alias(const Step& step) {
    make_dense(step.inputs[0]);
    frame_[step.outputs[0]].emplace(share(at(step.inputs[0]), step.shapes[0], step.dtypes[0]));
  }

  void run_view(const Step& step) {
    Small<const void*> in(step.inputs.size());
    for (size_t i = 0; i < step.inputs.size(); ++i) in[i] = readable(step.inputs[i]).data<void>();
    frame_[step.outputs[0]].emplace(
        share(at(step.inputs[0]), step.shapes[0], step.dtypes[0], step.view(in.data())));
  }

  // Operand `i`, moved out of its slot where this step is its last use.
  mx::array take(const Step& step, size_t i) {
    const Ref ref = step.inputs[i];
    if (!step.last_read[i]) return at(ref);
    mx::array moved = std::move(*frame_[ref]);
    frame_[ref].reset();
    return moved;
  }

  std::vector<mx::array> take_all(const Step& step) {
    std::vector<mx::array> arrays;
    arrays.reserve(step.inputs.size());
    for (size_t i = 0; i < step.inputs.size(); ++i) arrays.push_back(take(step, i));
    return arrays;
  }

  void put(const Step& step, Arrays results) {
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      frame_[step.outputs[i]].emplace(std::move(results[i]));
    }
  }

  void run_loop(const Step& step) {
    const WhileStep& loop = *step.loop;
    const auto with_captured = [&](std::vector<mx::array> carried) {
      for (size_t i = loop.carried; i < step.inputs.size(); ++i)
        carried.push_back(at(step.inputs[i]));
      return carried;
    };
    std::vector<mx::array> carried;
    carried.reserve(step.inputs.size());
    for (int i = 0; i < loop.carried; ++i) carried.push_back(take(step, i));
    const auto holds = [&] {
      return scalar<bool>(run_plan(*loop.condition, with_captured(carried), run_, false)[0]);
    };
    for (int64_t trip = 0; loop.trip_count ? trip < *loop.trip_count : holds(); ++trip) {
      carried = run_plan(*loop.body, with_captured(std::move(carried)), run_, false);
    }
    put(step, std::move(carried));
  }

  template <typename T>
  T scalar(const mx::array& array) {
    if (array.status() != mx::array::Status::available) wait();
    return *array.data<T>();
  }

  void run_branch(const Step& step) {
    const CaseStep& branch = *step.branch;
    const auto count = static_cast<int64_t>(branch.branches.size());
    int64_t index = scalar<int32_t>(at(step.inputs[0]));
    if (index < 0 || index >= count) index = count - 1;
    std::vector<mx::array> captured;
    for (size_t i = 1; i < step.inputs.size(); ++i) captured.push_back(take(step, i));
    put(step, run_plan(*branch.branches[index], std::move(captured), run_, false));
  }

  Arrays results(bool dense) {
    run_.op = nullptr;
    Arrays out;
    out.reserve(plan_.results.size());
    for (size_t i = 0; i < plan_.results.size(); ++i) {
      const Ref ref = plan_.results[i];
      if (plan_.moved_results[i]) {
        out.push_back(std::move(*frame_[ref]));
        frame_[ref].reset();
      } else {
        out.push_back(at(ref));
      }
    }
    if (dense) settle(out);
    return out;
  }

  // What leaves the device's thread: dense, and what the CPU made is readable by any thread. What
  // somebody else holds is copied: the client may compare addresses, and writes through some.
  void settle(Arrays& out) {
    if (encoder_.on_cpu()) {
      for (mx::array& array : out) array = encoder_.dense(std::move(array));
      wait();
    } else if (!plan_.is_native) {
      return settle_on_gpu(out);
    }
    for (size_t i = 0; i < out.size(); ++i) {
      if (plan_.passed_on[i] && !is_exclusive(out[i])) out[i] = copy_of(out[i]);
      out[i].set_status(mx::array::Status::available);
    }
  }

  // The memory alone is held by work on its way, too.
  void settle_on_gpu(Arrays& out) {
    for (size_t i = 0; i < out.size(); ++i) {
      if (plan_.passed_on[i] && handle_count(out[i]) > 1 && out[i].size() > 0) {
        out[i] = encoder_.copy(std::move(out[i]));
      } else if (plan_.small_parts[i]) {
        out[i] = encoder_.copy_of_part(std::move(out[i]));
      } else {
        out[i] = encoder_.dense(std::move(out[i]));
      }
    }
  }

  const Plan& plan_;
  RunContext& run_;
  Encoder& encoder_;
  std::vector<std::optional<mx::array>> frame_;  // by slot
};

}  // namespace

Arrays run_plan(const Plan& plan, std::vector<mx::array> arguments, RunContext& run, bool dense) {
  return Runner(plan, run).run(std::move(arguments), dense);
}

}  // namespace jaxmps::exec
