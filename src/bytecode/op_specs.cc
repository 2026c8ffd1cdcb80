#include "bytecode/op_specs.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>

namespace jaxmps::bytecode {
namespace {

using enum AttrKind;
constexpr int any = kAnyCount, even = kEven, odd = kOdd;

constexpr OpSpec kSpecs[] = {
#define VHLO(name, id, operands, results, regions, ...) \
  {"vhlo." name, ir::OpId::id, operands, results, regions, {{__VA_ARGS__}}},
#define OTHER(name, id, operands, results, regions, ...) \
  {name, ir::OpId::id, operands, results, regions, {{__VA_ARGS__}}},
#include "bytecode/vhlo.def"
};

// Their ids are never used.
constexpr OpSpec kModule = {"builtin.module",
                            ir::OpId::call,
                            0,
                            0,
                            1,
                            {{{"sym_name", optional_string}, {"sym_visibility", optional_string}}}};
constexpr OpSpec kFunction = {"vhlo.func_v1",
                              ir::OpId::call,
                              0,
                              0,
                              1,
                              {{{"arg_attrs", dicts},
                                {"function_type", type},
                                {"res_attrs", dicts},
                                {"sym_name", string},
                                {"sym_visibility", string}}}};
constexpr OpSpec kMesh = {
    "sdy.mesh", ir::OpId::sdy_mesh, 0, 0, 0, {{{"mesh", dict}, {"sym_name", string}}}};

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

bool count_matches(int spec, size_t count) {
  if (spec >= 0) return count == static_cast<size_t>(spec);
  if (spec == kAnyCount) return true;
  if (spec == kEven) return count % 2 == 0;
  if (spec == kOdd) return count % 2 == 1;
  return count >= static_cast<size_t>(-10 - spec);
}

std::string describe_count(int spec) {
  if (spec >= 0) return std::to_string(spec);
  if (spec == kAnyCount) return "any number";
  if (spec == kEven) return "an even number";
  if (spec == kOdd) return "an odd number";
  return str("at least ", -10 - spec);
}

}  // namespace jaxmps::bytecode
