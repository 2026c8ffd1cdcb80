// On one device shardings say nothing: constraints, barriers and manual computations over meshes of
// one device are what they wrap, and collectives give back what they take. What would really split
// data is refused.
#include <algorithm>
#include <string_view>

#include "ir/custom_call.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

class Lowering {
 public:
  explicit Lowering(ir::Module& module) : module_(module) {}

  Status run() {
    walk(module_, [this](Op* op) { lower(op); });
    return refused_.empty() ? Status() : join(refused_);
  }

 private:
  void refuse(const Op& op, std::string_view why) { refused_.push_back(ir::refuse(op, why)); }

  void lower(Op* op) {
    switch (op->id) {
      case OpId::sdy_sharding_group:
        return op->erase();
      case OpId::unrealized_conversion_cast:
      case OpId::sdy_sharding_constraint:
      case OpId::sdy_reshard:
      case OpId::sdy_propagation_barrier:
      case OpId::sdy_data_flow_edge:
        return replace(op, op->operands());
      case OpId::sdy_named_computation:
        return inline_body(op);
      case OpId::sdy_manual_computation:
        if (takes_whole(op) && manual_devices(*op) == 1) return inline_body(op);
        return refuse(*op, "manual computations over several devices are not supported");
      case OpId::custom_call:
        if (ir::is_placement(op->text("call_target_name"))) lower_placement(op);
        return;
      default:
        return;
    }
  }

  void lower_placement(Op* op) {
    if (op->result_count() == 0) return op->erase();
    if (receives_nothing(*op)) {
      return replace(op, Builder(op).splat(op->result()->type, 0));
    }
    if (passes::keeps_types(*op)) return replace(op, op->operands());
    refuse(*op, "it splits data over several devices, which is not supported");
  }

  // A permutation in which nobody sends to this device, which then has zeros.
  static bool receives_nothing(const Op& op) {
    if (op.text("call_target_name") != "collective-permute-start") return false;
    const auto* attributes = dictionary(ir::find(op.discardable, "mhlo.frontend_attributes"));
    const ir::Attr* config =
        attributes ? ir::find(*attributes, "async_collective_config") : nullptr;
    const auto* text = config ? config->get_if<std::string>() : nullptr;
    return text && text->find("\"permutation\": []") != std::string::npos &&
           op.result()->type.is_static();
  }
  static const ir::AttrDict* dictionary(const ir::Attr* attr) {
    return attr ? attr->get_if<ir::AttrDict>() : nullptr;
  }

  static bool takes_whole(Op* op) {
    const ir::Region& body = op->region();
    for (int i = 0; i < op->operand_count(); ++i) {
      if (!(body.arg(i)->type == op->operand(i)->type)) return false;
    }
    return ir::types_of(body.terminator()->operands()) == ir::types_of(op->results());
  }

  // The largest number of devices that the manual axes may span in any mesh of the module.
  int64_t manual_devices(const Op& op) const {
    const ir::Attr* axes = op.find("manual_axes");
    const auto* names = axes ? axes->get_if<ir::AttrList>() : nullptr;
    int64_t most = 1;
    for (const ir::Mesh& mesh : module_.meshes) {
      int64_t devices = 1;
      for (const ir::MeshAxis& axis : mesh.axes) {
        const bool manual =
            names && std::any_of(names->begin(), names->end(), [&](const ir::Attr& name) {
              const auto* text = name.get_if<std::string>();
              return text && *text == axis.name;
            });
        if (manual) devices *= axis.size;
      }
      most = std::max(most, devices);
    }
    return most;
  }

  static void inline_body(Op* op) { replace(op, splice(op->region(), op->operands(), op)); }

  ir::Module& module_;
  std::vector<Error> refused_;
};

}  // namespace

Status lower_sharding(ir::Module& module) { return Lowering(module).run(); }

}  // namespace jaxmps::passes
