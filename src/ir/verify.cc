// The verifier: structure here (definitions before uses, terminators, signatures, calls), and the
// rule of each op in verify_<family>.cc. The cost is linear in the size of the module.
#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "ir/custom_call.h"
#include "ir/module.h"
#include "ir/verify_rules.h"

namespace jaxmps::ir {
namespace {

using rules::Reason;

constexpr size_t kShownFailures = 20;

// Products of sizes stay far below 2^63, so that nothing behind the verifier can overflow.
Reason check_size(const Type& type) {
  double count = 1;
  for (int64_t dim : type.dims) {
    if (dim == kDynamic) continue;
    NEED(dim >= 0, "negative size in ", brief(type));
    NEED(dim <= int64_t(1) << 48, brief(type), " is too large");
    if (dim > 0) count *= static_cast<double>(dim);
  }
  NEED(count < 1e17, brief(type), " is too large");
  for (const Type& element : type.elements) NEED_OK(check_size(element));
  return {};
}

class Verifier {
 public:
  explicit Verifier(const Module& module) : module_(module) {
    for (const auto& function : module.functions) {
      if (!functions_.emplace(function->name, function.get()).second) {
        report(str("function @", function->name), "is defined twice");
      }
    }
    std::unordered_set<std::string_view> meshes;
    for (const Mesh& mesh : module.meshes) {
      if (!meshes.insert(mesh.name).second) report(str("mesh @", mesh.name), "is defined twice");
    }
  }

  Status run() {
    const Function* main = module_.main();
    if (!main || main->is_declaration) report("module", "has no function @main with a body");
    for (const auto& function : module_.functions) check_function(*function);
    check_cycles();
    if (failures_ == 0) return {};
    std::string text = failures_ == 1 ? "the program is invalid:"
                                      : str("the program is invalid in ", failures_, " places:");
    text += text_;
    if (failures_ > kShownFailures) text += str("\n  and ", failures_ - kShownFailures, " more");
    return invalid(std::move(text));
  }

 private:
  void report(std::string_view where, std::string_view reason) {
    if (++failures_ <= kShownFailures) text_ += str("\n  ", where, ": ", reason);
  }

  void report(const Op& op, std::string_view reason) {
    report(str(brief(op), " at ", brief(op.location)), reason);
  }

  void check_function(const Function& function) {
    const std::string where = str("function @", function.name);
    if (function.type.kind != Type::Kind::function) return report(where, "has no function type");
    if (function.is_declaration) return;
    const auto& inputs = function.type.elements;
    const Region& body = function.body;
    if (body.arg_count() != static_cast<int>(inputs.size())) {
      report(where, str("takes ", inputs.size(), " arguments, its body ", body.arg_count()));
      return;
    }
    for (int i = 0; i < body.arg_count(); ++i) {
      check_equal(where, str("argument ", i), inputs[i], body.arg(i)->type);
    }
    if (!function.arg_attrs.empty() && function.arg_attrs.size() != inputs.size()) {
      report(where, "has attributes for another number of arguments");
    }
    if (!function.result_attrs.empty() &&
        function.result_attrs.size() != function.type.results.size()) {
      report(where, "has attributes for another number of results");
    }
    for (const AttrDict& attrs : function.arg_attrs) {
      const Attr* alias = find(attrs, "tf.aliasing_output");
      const auto* result = alias ? alias->get_if<TypedInt>() : nullptr;
      if (alias && !(result && result->value >= 0 &&
                     result->value < static_cast<int64_t>(function.type.results.size()))) {
        report(where, str("tf.aliasing_output must be the number of a result, is ", print(*alias)));
      }
    }
    callees_ = &calls_[&function];
    check_region(body, where);
    check_return(function, where);
  }

  // What a client sees of a function is what its body has, unknown sizes too.
  void check_equal(const std::string& where, const std::string& what, const Type& expected,
                   const Type& actual) {
    if (expected == actual) return;
    report(where, str(what, " must be ", brief(expected), ", is ", brief(actual)));
  }

  void check_return(const Function& function, const std::string& where) {
    const Op* end = function.body.terminator();
    if (!end || end->id != OpId::return_) return;  // reported by check_region
    const auto& results = function.type.results;
    if (end->operand_count() != static_cast<int>(results.size())) {
      report(where, str("has ", results.size(), " results, returns ", end->operand_count()));
      return;
    }
    for (int i = 0; i < end->operand_count(); ++i) {
      check_equal(where, str("result ", i), results[i], end->operand(i)->type);
    }
  }

  void check_region(const Region& region, std::string_view where) {
    if (!region.terminator() || !region.terminator()->is(traits::terminator)) {
      report(where, "has a region without a terminator");
    }
    for (int i = 0; i < region.arg_count(); ++i) {
      define(region.arg(i), where);
    }
    for (const Op* op : region) {
      if (op->is(traits::terminator) && op != region.terminator()) {
        report(*op, "ops follow the terminator");
      }
      check_op(*op);
      for (int i = 0; i < op->result_count(); ++i) define(op->result(i), op->name());
    }
    // What the region defined is not visible behind it.
    for (int i = 0; i < region.arg_count(); ++i) visible_.erase(region.arg(i));
    for (const Op* op : region) {
      for (int i = 0; i < op->result_count(); ++i) visible_.erase(op->result(i));
    }
  }

  void define(const Value* value, std::string_view where) {
    visible_.insert(value);
    const Reason reason = check_size(value->type);
    if (!reason.empty()) report(where, reason);
  }

  void check_op(const Op& op) {
    for (int i = 0; i < op.operand_count(); ++i) {
      if (!visible_.count(op.operand(i))) {
        report(op, str("operand ", i, " is not defined before the op"));
      }
    }
    // Inner regions first: the op's rule reads their terminators.
    const size_t failures = failures_;
    for (const auto& region : op.regions()) check_region(*region, op.name());
    if (failures_ != failures) return;
    Reason reason = rules::check_op(op);
    if (reason.empty()) reason = check_symbols(op);
    if (!reason.empty()) report(op, reason);
  }

  Reason check_callee(const std::string& name, const Op* signature) {
    auto found = functions_.find(name);
    NEED(found != functions_.end(), "calls @", name, ", which does not exist");
    callees_->push_back(found->second);
    if (!signature) return {};
    NEED(!found->second->is_declaration, "calls @", name, ", which has no body");
    const Type& type = found->second->type;
    const std::string behind = str(" of @", name);
    NEED_OK(rules::match_all("operand", type.elements, rules::operand_types(*signature), behind));
    return rules::match_all("result", type.results, rules::result_types(*signature), behind);
  }

  Reason check_symbols(const Op& op) {
    if (op.id == OpId::call) return check_callee(op.text("callee"), &op);
    if (op.id == OpId::composite) return check_callee(op.text("decomposition"), &op);
    if (op.id != OpId::custom_call) return {};
    if (const Attr* called = op.find("called_computations")) {
      for (const Attr& symbol : std::get<AttrList>(called->value)) {
        NEED_OK(check_callee(std::get<Symbol>(symbol.value).name, nullptr));
      }
    }
    return check_called(op);
  }

  // As many functions as signatures: the target's rule has counted them.
  Reason check_called(const Op& op) {
    const std::vector<Signature> signatures = called_signatures(op);
    for (size_t i = 0; i < signatures.size(); ++i) {
      const Attr& symbol = std::get<AttrList>(op.find("called_computations")->value)[i];
      const std::string& name = std::get<Symbol>(symbol.value).name;
      const Function& function = *functions_.find(name)->second;
      NEED(!function.is_declaration, "calls @", name, ", which has no body");
      const std::string behind = str(" of @", name);
      NEED_OK(
          rules::match_all("argument", signatures[i].arguments, function.type.elements, behind));
      NEED_OK(rules::match_all("result", signatures[i].results, function.type.results, behind));
    }
    return {};
  }

  // Depth-first over the calls, without recursion: a function met again while it is open is a
  // cycle.
  void check_cycles() {
    std::unordered_map<const Function*, int> state;  // 1: open, 2: done
    for (const auto& root : module_.functions) {
      std::vector<std::pair<const Function*, size_t>> stack{{root.get(), 0}};
      while (!stack.empty()) {
        auto& [function, next] = stack.back();
        const auto& callees = calls_[function];
        if (next == 0 && state[function] == 2) {
          stack.pop_back();
          continue;
        }
        state[function] = 1;
        if (next == callees.size()) {
          state[function] = 2;
          stack.pop_back();
          continue;
        }
        const Function* callee = callees[next++];
        if (state[callee] == 1) {
          report(str("function @", callee->name), "calls itself");
          return;
        }
        if (state[callee] == 0) stack.push_back({callee, 0});
      }
    }
  }

  const Module& module_;
  std::unordered_map<std::string, const Function*> functions_;
  std::unordered_map<const Function*, std::vector<const Function*>> calls_;
  std::vector<const Function*>* callees_ = nullptr;
  std::unordered_set<const Value*> visible_;
  size_t failures_ = 0;
  std::string text_;
};

}  // namespace

Status verify(const Module& module) { return Verifier(module).run(); }

}  // namespace jaxmps::ir
