#include "bytecode/reader.h"

#include <algorithm>

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
    if (header.spec->role != OpSpec::Role::module) {
      return malformed(header.offset, "module", str("is a ", header.spec->name));
    }
    if (const ir::Attr* name = header.find("sym_name"))
      module_->name = *name->get_if<std::string>();
    module_->attrs = std::move(header.discardable);
    CHECK_OK(body_.regions(in, header, [&](Cursor& from, size_t) -> Status {
      return body_.module_region(from, [&](Cursor& ops) { return module_op(ops); });
    }));
    CHECK_OK(in.finish("end of module"));
    CHECK_OK(resolve_groups());
    return std::move(module_);
  }

 private:
  Status module_op(Cursor& in) {
    TRY(OpHeader header, body_.header(in));
    const bool is_mesh = header.spec->role == OpSpec::Role::mesh;
    if (!is_mesh && header.spec->role != OpSpec::Role::function) {
      return malformed(header.offset, "module", str("holds a ", header.spec->name));
    }
    const size_t regions = is_mesh ? 0 : 1;
    if (header.regions != regions) {
      return malformed(header.offset, "region count", str(header.regions, " is not ", regions));
    }
    if (is_mesh) return mesh(header);
    const auto& name = *header.find("sym_name")->get_if<std::string>();
    auto status = function(in, header);
    if (!status.ok()) return within(std::move(status).error(), str("function ", quoted(name)));
    return {};
  }

  Status mesh(const OpHeader& header) {
    const auto& name = *header.find("sym_name")->get_if<std::string>();
    auto mesh = to_mesh(*header.find("mesh")->get_if<ir::AttrDict>(), name);
    if (!mesh.ok()) return malformed(header.offset, "sdy.mesh", mesh.error().text);
    module_->meshes.push_back(std::move(mesh).value());
    return {};
  }

  Status function(Cursor& in, OpHeader& header) {
    const auto& name = *header.find("sym_name")->get_if<std::string>();
    ir::Function* function = module_->add_function(name);
    function->location = header.location;
    function->is_public = *header.find("sym_visibility")->get_if<std::string>() != "private";
    function->type = *header.find("function_type")->get_if<ir::Type>();
    for (const auto& [field, out] : {std::pair("arg_attrs", &function->arg_attrs),
                                     std::pair("res_attrs", &function->result_attrs)}) {
      for (const ir::Attr& item : *header.find(field)->get_if<ir::AttrList>()) {
        out->push_back(*item.get_if<ir::AttrDict>());
      }
    }
    return body_.regions(in, header, [&](Cursor& from, size_t) -> Status {
      return body_.region(from, function->body, 1, &function->is_declaration);
    });
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
};

}  // namespace

Result<std::unique_ptr<ir::Module>> read_artifact(std::shared_ptr<const std::string> bytes) {
  const std::span<const uint8_t> file(reinterpret_cast<const uint8_t*>(bytes->data()),
                                      bytes->size());
  TRY(const Container container, read_container(file));
  return ModuleReader(container, std::move(bytes)).read();
}

}  // namespace jaxmps::bytecode
