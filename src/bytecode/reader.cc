#include "bytecode/reader.h"

#include <algorithm>
#include <unordered_map>

#include "bytecode/body.h"

namespace jaxmps::bytecode {
namespace {

class ModuleReader {
 public:
  ModuleReader(const Container& container, std::shared_ptr<const std::string> bytes)
      : container_(container),
        module_(std::make_unique<ir::Module>()),
        tables_(container, bytes),
        locations_(tables_, *module_),
        body_(tables_, locations_) {
    module_->artifact = std::move(bytes);
    module_->producer = container.producer;
  }

  Result<std::unique_ptr<ir::Module>> read() {
    Cursor in = container_.ir;
    const size_t at = in.offset();
    TRY(const size_t count, body_.plain_block(in));
    if (count != 1) return malformed(at, "op count", str(count, " is not the one module"));
    TRY(OpHeader header, body_.header(in));
    if (header.spec != &module_spec()) {
      return malformed(header.offset, "module", str("is a ", header.spec->name));
    }
    if (const ir::Attr* name = header.find("sym_name"))
      module_->name = *name->get_if<std::string>();
    module_->attrs = std::move(header.discardable);
    CHECK_OK(body_.regions(in, header, [&](Cursor& from, size_t) -> Status {
      return body_.module_region(from, [&](Cursor& ops) { return module_op(ops); });
    }));
    CHECK_OK(in.finish("end of module"));
    CHECK_OK(resolve_calls());
    CHECK_OK(resolve_groups());
    if (!module_->main()) return malformed(at, "module", "no function \"main\"");
    if (module_->main()->is_declaration) return malformed(at, "function \"main\"", "has no body");
    return std::move(module_);
  }

 private:
  Status module_op(Cursor& in) {
    TRY(OpHeader header, body_.header(in));
    if (header.spec == &mesh_spec()) return mesh(header);
    if (header.spec != &function_spec()) {
      return malformed(header.offset, "module", str("holds a ", header.spec->name));
    }
    const auto& name = *header.find("sym_name")->get_if<std::string>();
    auto status = function(in, header);
    if (!status.ok()) return within(std::move(status).error(), str("function ", quoted(name)));
    return {};
  }

  Status define(const std::string& name, size_t at) {
    if (!symbols_.emplace(name, module_->functions.size()).second) {
      return malformed(at, "symbol", str(quoted(name), " is defined twice"));
    }
    return {};
  }

  Status mesh(const OpHeader& header) {
    const auto& name = *header.find("sym_name")->get_if<std::string>();
    CHECK_OK(define(name, header.offset));
    auto mesh = to_mesh(*header.find("mesh"), name);
    if (!mesh.ok()) return malformed(header.offset, "sdy.mesh", mesh.error().text);
    module_->meshes.push_back(std::move(mesh).value());
    return {};
  }

  Status function(Cursor& in, OpHeader& header) {
    const auto& name = *header.find("sym_name")->get_if<std::string>();
    CHECK_OK(define(name, header.offset));
    body_.function = module_->functions.size();
    ir::Function* function = module_->add_function(name);
    function->location = header.location;
    function->is_public = *header.find("sym_visibility")->get_if<std::string>() != "private";
    function->type = *header.find("function_type")->get_if<ir::Type>();
    if (function->type.kind != ir::Type::Kind::function) {
      return malformed(header.offset, "function_type", "not a function type");
    }
    CHECK_OK(value_attrs(header, "arg_attrs", function->type.elements.size(), function->arg_attrs));
    CHECK_OK(
        value_attrs(header, "res_attrs", function->type.results.size(), function->result_attrs));
    CHECK_OK(body_.regions(in, header, [&](Cursor& from, size_t) -> Status {
      return body_.region(from, function->body, 1, &function->is_declaration);
    }));
    return signature(*function, header.offset);
  }

  Status value_attrs(const OpHeader& header, Text field, size_t count,
                     std::vector<ir::AttrDict>& out) {
    const auto& list = *header.find(field)->get_if<ir::AttrList>();
    if (!list.empty() && list.size() != count) {
      return malformed(header.offset, field,
                       str(list.size(), " dictionaries for ", count, " values"));
    }
    for (const ir::Attr& item : list) out.push_back(*item.get_if<ir::AttrDict>());
    return {};
  }

  Status signature(const ir::Function& function, size_t at) {
    if (function.is_declaration) return {};
    const auto& inputs = function.type.elements;
    const auto& outputs = function.type.results;
    const ir::Region& body = function.body;
    if (static_cast<size_t>(body.arg_count()) != inputs.size()) {
      return malformed(
          at, "function_type",
          str(inputs.size(), " inputs but the body has ", body.arg_count(), " arguments"));
    }
    for (int i = 0; i < body.arg_count(); ++i) {
      const ir::Type& input = inputs[static_cast<size_t>(i)];
      if (!(body.arg(i)->type == input)) {
        return malformed(
            at, str("input ", i),
            str(ir::print(input), " but the argument is ", ir::print(body.arg(i)->type)));
      }
    }
    const ir::Op* end = body.terminator();
    if (static_cast<size_t>(end->operand_count()) != outputs.size()) {
      return malformed(at, "function_type",
                       str(outputs.size(), " results but the body returns ", end->operand_count()));
    }
    for (int i = 0; i < end->operand_count(); ++i) {
      const ir::Type& output = outputs[static_cast<size_t>(i)];
      if (!(end->operand(i)->type == output)) {
        return malformed(
            at, str("result ", i),
            str(ir::print(output), " but the body returns ", ir::print(end->operand(i)->type)));
      }
    }
    return {};
  }

  // Every function referred to must be there, and none may reach itself.
  Status resolve_calls() {
    std::unordered_map<std::string_view, size_t> functions;
    for (size_t i = 0; i < module_->functions.size(); ++i) {
      functions.emplace(module_->functions[i]->name, i);
    }
    std::vector<std::vector<std::pair<size_t, size_t>>> calls(module_->functions.size());
    for (const auto& use : body_.symbol_uses) {
      auto found = functions.find(use.name);
      if (found == functions.end()) {
        return malformed(use.offset, "symbol", str("no function ", quoted(use.name)));
      }
      calls[use.function].push_back({found->second, use.offset});
    }
    enum class State : uint8_t { unseen, open, done };
    std::vector<State> state(calls.size(), State::unseen);
    std::vector<std::pair<size_t, size_t>> stack;  // a function and how many calls are followed
    for (size_t root = 0; root < calls.size(); ++root) {
      if (state[root] != State::unseen) continue;
      state[root] = State::open;
      stack.push_back({root, 0});
      while (!stack.empty()) {
        auto& [caller, followed] = stack.back();
        if (followed == calls[caller].size()) {
          state[caller] = State::done;
          stack.pop_back();
          continue;
        }
        const auto [callee, offset] = calls[caller][followed++];
        if (state[callee] == State::open) {
          return malformed(
              offset, "symbol",
              str("function ", quoted(module_->functions[callee]->name), " calls itself"));
        }
        if (state[callee] == State::unseen) {
          state[callee] = State::open;
          stack.push_back({callee, 0});
        }
      }
    }
    return {};
  }

  Status resolve_groups() {
    for (const auto& waiting : body_.waiting_groups) {
      const auto& by_axes = *waiting.op->find("replica_groups")->get_if<ir::AttrDict>();
      auto groups = bytecode::resolve_groups(by_axes, module_->meshes);
      if (!groups.ok()) return malformed(waiting.offset, "replica_groups", groups.error().text);
      size_t bytes = 0;
      for (const auto& group : groups->groups) {
        bytes += sizeof(ir::Dims) + group.size() * sizeof(int64_t);
      }
      CHECK_OK(tables_.charge(bytes, waiting.offset));
      waiting.op->set_attr("replica_groups", ir::Attr(ir::Attr::Value(std::move(groups).value())));
    }
    return {};
  }

  const Container& container_;
  std::unique_ptr<ir::Module> module_;
  Tables tables_;
  Locations locations_;
  BodyReader body_;
  std::unordered_map<std::string, size_t> symbols_;
};

}  // namespace

Result<std::unique_ptr<ir::Module>> read_artifact(std::shared_ptr<const std::string> bytes) {
  const std::span<const uint8_t> file(reinterpret_cast<const uint8_t*>(bytes->data()),
                                      bytes->size());
  TRY(const Container container, read_container(file));
  return ModuleReader(container, std::move(bytes)).read();
}

}  // namespace jaxmps::bytecode
