// Inlines every call, callees first, so that only `main` remains. The last call of a function takes
// its body instead of a copy. Functions that custom calls name stay. The verifier has refused
// recursion.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

using ir::Function;

// A program of functions that call each other twice doubles with each; a real one stays far below.
constexpr int64_t kMostOps = 1'000'000;
constexpr int kDeepest = 500;  // regions in regions, of all functions together

class Inliner {
 public:
  explicit Inliner(ir::Module& module) : module_(module) {}

  Status run() {
    for (const auto& function : module_.functions) {
      by_name_[function->name] = function.get();
    }
    Function* main = module_.main();
    const std::vector<Function*> order = callees_first(main);
    for (Function* function : order) {
      int deepest = 0;
      CHECK_OK(inline_into(function->body, 0, &deepest));
      depths_[function] = deepest;
      sizes_[function] = size(function->body);
    }
    std::erase_if(module_.functions,
                  [&](const auto& f) { return f.get() != main && !kept_.count(f.get()); });
    return {};
  }

 private:
  struct Frame {
    Function* function;
    std::vector<Function*> callees;
    size_t next = 0;
  };

  // Functions reachable from `main`, each after those it calls; counts the calls of each.
  std::vector<Function*> callees_first(Function* main) {
    std::vector<Function*> order;
    std::unordered_map<Function*, bool> seen;
    std::vector<Frame> stack;
    auto open = [&](Function* function) {
      seen[function] = true;
      Frame frame{function, {}};
      walk(function->body, [&](Op* op) {
        if (op->id == OpId::custom_call) keep_callees(*op, frame.callees);
        if (op->id != OpId::call) return;
        Function* callee = by_name_[op->text("callee")];
        ++calls_[callee];
        frame.callees.push_back(callee);
      });
      stack.push_back(std::move(frame));
    };
    open(main);
    while (!stack.empty()) {
      Frame& top = stack.back();
      if (top.next == top.callees.size()) {
        order.push_back(top.function);
        stack.pop_back();
        continue;
      }
      Function* callee = top.callees[top.next++];
      if (!seen[callee]) open(callee);
    }
    return order;
  }

  void keep_callees(const Op& op, std::vector<Function*>& callees) {
    const ir::Attr* called = op.find("called_computations");
    if (!called) return;
    for (const ir::Attr& symbol : std::get<ir::AttrList>(called->value)) {
      Function* callee = by_name_[std::get<ir::Symbol>(symbol.value).name];
      kept_.insert(callee);
      ++calls_[callee];  // its body is never taken
      callees.push_back(callee);
    }
  }

  static int64_t size(ir::Region& region) {
    int64_t count = 0;
    walk(region, [&](Op*) { ++count; });
    return count;
  }

  // `deepest` becomes the depth of what is nested most, here or in what is called.
  Status inline_into(ir::Region& region, int depth, int* deepest) {
    *deepest = std::max(*deepest, depth);
    for (Op* op : region) {
      for (const auto& nested : op->regions()) CHECK_OK(inline_into(*nested, depth + 1, deepest));
      if (op->id != OpId::call) continue;
      Function* callee = by_name_[op->text("callee")];
      *deepest = std::max(*deepest, depth + depths_[callee]);
      if (*deepest > kDeepest) return unimplemented("control flow is nested too deeply");
      if (--calls_[callee] == 0) {
        replace(op, splice(callee->body, op->operands(), op));
        continue;
      }
      total_ += sizes_[callee];
      if (total_ > kMostOps) {
        return Error(Code::resource_exhausted,
                     str("inlining @", callee->name, " makes the program too large"));
      }
      replace(op, region.copy_ops(callee->body, op->operands(), op));
    }
    return {};
  }

  ir::Module& module_;
  std::unordered_map<std::string, Function*> by_name_;
  std::unordered_map<Function*, int> calls_;
  std::unordered_map<Function*, int> depths_;
  std::unordered_map<Function*, int64_t> sizes_;
  std::unordered_set<Function*> kept_;
  int64_t total_ = 0;
};

}  // namespace

Status inline_calls(ir::Module& module) { return Inliner(module).run(); }

}  // namespace jaxmps::passes
