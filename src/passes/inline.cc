// Inlining: every call is replaced by the body of its callee, so that only `main` remains.
// Calls form no cycles (the verifier refused those), and private functions are small and few in
// what clients send, so nothing is kept apart.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "passes/pass.h"

namespace jaxmps::passes {
namespace {

using ir::Op;
using ir::OpId;
using ir::Region;
using ir::Value;

class Inliner {
 public:
  explicit Inliner(ir::Module& module) {
    for (const auto& function : module.functions) functions_[function->name] = function.get();
  }

  void run(ir::Function& function) {
    if (function.is_declaration || !done_.insert(&function).second) return;
    visit(function.body);
  }

 private:
  void visit(Region& region) {
    for (Op* op : region) {
      for (const auto& nested : op->regions()) visit(*nested);
      if (op->id != OpId::call) continue;
      ir::Function* callee = functions_.at(op->text("callee"));
      run(*callee);
      replace(op, callee->body);
    }
  }

  static void replace(Op* call, const Region& body) {
    std::unordered_map<Value*, Value*> map;
    for (int i = 0; i < body.arg_count(); ++i) map[body.arg(i)] = call->operand(i);
    for (Op* op : body) {
      if (op != body.terminator()) call->parent()->insert_before(call, op->clone(map));
    }
    for (int i = 0; i < call->result_count(); ++i) {
      call->result(i)->replace_all_uses_with(map.at(body.terminator()->operand(i)));
    }
    call->erase();
  }

  std::unordered_map<std::string_view, ir::Function*> functions_;
  std::unordered_set<ir::Function*> done_;
};

}  // namespace

Status inline_calls(ir::Module& module) {
  ir::Function* main = module.main();
  Inliner(module).run(*main);
  std::erase_if(module.functions, [&](const auto& function) { return function.get() != main; });
  return {};
}

}  // namespace jaxmps::passes
