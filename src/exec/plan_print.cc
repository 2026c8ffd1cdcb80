// Plans as text, for JAX_MPS_DUMP.
#include <algorithm>

#include "exec/plan.h"
#include "exec/trace.h"
#include "mlx/primitives.h"

namespace jaxmps::exec {
namespace {

std::string_view name(Step::Kind kind) {
  switch (kind) {
    case Step::Kind::primitive:
      return "primitive";
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
    const auto slot = [](int s) { return s < 0 ? std::string("unused") : text_of(s); };
    line(str("parameters ", joined(plan.parameters, slot)));
    if (!plan.dead_parameters.empty()) line(str("frees ", joined(plan.dead_parameters, text_of)));
    for (const Step& step : plan.steps) print_step(step);
    line(str("return ", joined(plan.results, text_of)));
  }

  void print_step(const Step& step) {
    std::string text = str(joined(step.outputs, text_of), " = ", name(step.kind), ' ', what(step),
                           ir::brief(*step.op), " (", joined(step.inputs, text_of), ')');
    for (size_t i = 0; i < step.reuse.size(); ++i) {
      if (step.reuse[i].empty()) continue;
      text += str("  ", text_of(step.outputs[i]), " over ",
                  joined(step.reuse[i], [&](int k) { return text_of(step.inputs[k]); }));
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

  // What runs, where the op does not say it.
  static std::string what(const Step& step) {
    if (step.primitive) return str(step.primitive->name(), " of ");
    if (step.kind != Step::Kind::launch) return {};
    const ops::Launch& launch = step.launch;
    return str(launch.name, "<<<", launch.blocks, ", ", launch.threads, ">>>",
               launch.pieces > 1 ? str(" in ", launch.pieces, " pieces of ") : " of ");
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

std::string print(const Plan& plan) { return Printer().print(plan); }

Count count(const Plan& plan) {
  Count all;
  const auto add = [&](const Count& nested, int64_t times) {
    all.launches += times * nested.launches;
    all.primitives += times * nested.primitives;
    all.natives += times * nested.natives;
  };
  for (const Step& step : plan.steps) {
    if (step.kind == Step::Kind::launch) ++all.launches;
    if (step.kind == Step::Kind::primitive && !is_view(*step.primitive)) ++all.primitives;
    if (step.kind == Step::Kind::native) ++all.natives;
    if (step.loop) {
      add(count(*step.loop->condition), step.loop->trip_count ? 0 : 1);
      add(count(*step.loop->body), step.loop->trip_count.value_or(1));
    }
    if (!step.branch) continue;
    const auto work = [](const Count& c) { return c.launches + c.primitives + c.natives; };
    Count most;
    for (const auto& branch : step.branch->branches) {
      most = std::max(most, count(*branch),
                      [&](const Count& a, const Count& b) { return work(a) < work(b); });
    }
    add(most, 1);
  }
  return all;
}

}  // namespace jaxmps::exec
