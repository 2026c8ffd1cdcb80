#include "bytecode/op_specs.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>

namespace jaxmps::bytecode {
namespace {

using enum AttrKind;

constexpr OpSpec kSpecs[] = {
#define VHLO(name, id, ...) {"vhlo." name, ir::OpId::id, {{__VA_ARGS__}}},
#define OTHER(name, id, ...) {name, ir::OpId::id, {{__VA_ARGS__}}},
#include "bytecode/vhlo.def"
};

// Their ids are never used.
constexpr OpSpec kModule = {"builtin.module",
                            ir::OpId::call,
                            {{{"sym_name", optional_string}, {"sym_visibility", optional_string}}}};
constexpr OpSpec kFunction = {"vhlo.func_v1",
                              ir::OpId::call,
                              {{{"arg_attrs", dicts},
                                {"function_type", type},
                                {"res_attrs", dicts},
                                {"sym_name", string},
                                {"sym_visibility", string}}}};
constexpr OpSpec kMesh = {"sdy.mesh", ir::OpId::call, {{{"mesh", dict}, {"sym_name", string}}}};

}  // namespace

const OpSpec& module_spec() { return kModule; }
const OpSpec& function_spec() { return kFunction; }
const OpSpec& mesh_spec() { return kMesh; }
std::span<const OpSpec> op_specs() { return kSpecs; }

const AttrSpec* OpSpec::find(std::string_view attr_name) const {
  for (const AttrSpec& attr : attrs) {
    if (attr.name.empty()) break;
    if (attr.name == attr_name) return &attr;
  }
  return nullptr;
}

const OpSpec* find_op_spec(std::string_view full_name) {
  static const auto* by_name = [] {
    auto* map = new std::unordered_map<std::string_view, const OpSpec*>;
    for (const OpSpec& spec : kSpecs) map->emplace(spec.name, &spec);
    for (const OpSpec* spec : {&kModule, &kFunction, &kMesh}) map->emplace(spec->name, spec);
    return map;
  }();
  auto found = by_name->find(full_name);
  return found == by_name->end() ? nullptr : found->second;
}

}  // namespace jaxmps::bytecode
