#include "ir/target.h"

#include "ir/match.h"

namespace jaxmps::ir {

void run_on_cpu(Op& op) { op.discardable.push_back({"mps.on_cpu", Attr(Attr::Value(true))}); }

const Target& target_of(const Op& op, const Target& target) {
  return find(op.discardable, "mps.on_cpu") ? kCpu : target;
}

std::string missing_type(const Type& type, const Target& target) {
  if (target.float64 || !type.is_tensor() || real_type(type.dtype) != DType::f64) return {};
  return str(type.dtype == DType::c128 ? "complex128" : "float64",
             " does not exist on the GPU; use the CPU device");
}

namespace {

std::string missing_type(const Op& op, const Target& target) {
  std::string why;
  all_types(op, [&](const Type& type) { return (why = missing_type(type, target)).empty(); });
  return why;
}

}  // namespace

void refuse_missing_types(const Region& region, const Target& target, std::vector<Error>* refused) {
  for (const Op* op : region) {
    if (op == region.terminator()) break;
    if (auto why = missing_type(*op, target); !why.empty()) refused->push_back(refuse(*op, why));
    for (const auto& nested : op->regions()) refuse_missing_types(*nested, target, refused);
  }
}

}  // namespace jaxmps::ir
