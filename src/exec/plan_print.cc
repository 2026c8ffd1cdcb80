// Plans as text, for JAX_MPS_DUMP.
#include <algorithm>

#include "exec/plan.h"
#include "mlx/primitives.h"

namespace jaxmps::exec {
namespace {

std::string_view name(Step::Kind kind) {
  switch (kind) {
    case Step::Kind::call:
      return "call";
    case Step::Kind::launch:
      return "launch";
    case Step::Kind::native:
      return "native";
    case Step::Kind::alias:
      return "alias";
    case Step::Kind::view:
      return "view";
    case Step::Kind::loop:
      return "loop";
    case Step::Kind::branch:
      return "branch";
  }
  return "";
}

std::string text_of(Ref ref) { return ref < 0 ? str("#", ~ref) : str("%", ref); }

template <typename List, typename F>
std::string joined(const List& list, F text) {
  std::string all;
  for (const auto& item : list) all += str(all.empty() ? "" : ", ", text(item));
  return all;
}

// What runs, where the op does not say it.
std::string what(const Step& step) {
  if (step.kind == Step::Kind::call) return str(exec::print(step.call), " of ");
  if (step.kind != Step::Kind::launch) return {};
  const ops::Launch& launch = step.launch;
  return str(launch.name, "<<<", launch.blocks, ", ", launch.threads, ">>>",
             launch.has_counters ? " with counters" : "",
             launch.pieces > 1 ? str(" in ", launch.pieces, " pieces of ") : " of ");
}

class Printer {
 public:
  std::string print(const Plan& plan) {
    plan_body(plan);
    return std::move(text_);
  }

 private:
  void line(const std::string& text) {
    text_ += std::string(static_cast<size_t>(2 * depth_), ' ') + text + '\n';
  }

  void plan_body(const Plan& plan) {
    line(str("parameters ", joined(plan.parameters, text_of)));
    if (!plan.dead_parameters.empty()) line(str("frees ", joined(plan.dead_parameters, text_of)));
    for (const Step& step : plan.steps) print_step(step);
    line(str("return ", joined(plan.results, text_of)));
  }

  void print_step(const Step& step) {
    std::string text = str(joined(step.outputs, text_of), " = ", name(step.kind), ' ', what(step),
                           ir::brief(*step.op), " (", operands(step), ')');
    for (size_t i = 0; i < step.reuse.size(); ++i) {
      if (step.reuse[i].empty()) continue;
      text += str("  ", text_of(step.outputs[i]), " over ",
                  joined(step.reuse[i], [&](int k) { return text_of(step.inputs[k]); }));
    }
    for (const kernels::GpuUpdate& update : step.launch.updates) {
      text += str("  ", text_of(step.outputs[static_cast<size_t>(update.output)]), " in ",
                  text_of(step.inputs[static_cast<size_t>(update.input)]));
    }
    if (!step.frees.empty()) text += str("  frees ", joined(step.frees, text_of));
    line(text);
    ++depth_;
    if (step.loop) {
      if (step.loop->trip_count) {
        line(str("trips ", *step.loop->trip_count));
      } else {
        nested("condition", *step.loop->condition);
      }
      nested("body", *step.loop->body);
    }
    if (step.branch) {
      int index = 0;
      for (const auto& branch : step.branch->branches) nested(str("branch ", index++), *branch);
    }
    --depth_;
  }

  // Each with the layout in which a call sees it, where it is not that of its slot.
  static std::string operands(const Step& step) {
    std::string all;
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      all += str(i ? ", " : "", text_of(step.inputs[i]));
      if (i >= step.call.layouts.size() || !step.call.layouts[i]) continue;
      const Layout& layout = *step.call.layouts[i];
      const auto number = [](int64_t n) { return str(n); };
      all += str(" as [", joined(layout.shape, number), "] strides [",
                 joined(layout.strides, number), ']');
      if (layout.offset != 0) all += str(" from byte ", layout.offset);
    }
    return all;
  }

  void nested(const std::string& title, const Plan& plan) {
    line(title);
    ++depth_;
    plan_body(plan);
    --depth_;
  }

  std::string text_;
  int depth_ = 0;
};

}  // namespace

std::string describe(const Step& step) {
  return str(name(step.kind), ' ', what(step), ir::brief(*step.op), " at ",
             ir::brief(step.op->location));
}

std::string print(const Plan& plan) { return Printer().print(plan); }

}  // namespace jaxmps::exec
