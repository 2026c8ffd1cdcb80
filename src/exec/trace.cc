#include "exec/trace.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_set>

#include "mlx/primitives.h"
#include "ops/pieces.h"

namespace jaxmps::exec {

namespace mx = mlx::core;

std::vector<PrimitiveCall> primitive_calls(const std::vector<mx::array>& results) {
  std::vector<PrimitiveCall> calls;
  std::unordered_set<std::uintptr_t> seen;
  struct Visit {
    mx::array array;
    size_t next_input = 0;
  };
  std::vector<Visit> pending;
  const auto visit = [&](const mx::array& array) {
    const bool is_leaf = !array.has_primitive() || array.status() != mx::array::Status::unscheduled;
    if (is_leaf || !seen.insert(array.id()).second) return;
    for (const mx::array& sibling : array.siblings()) seen.insert(sibling.id());
    pending.push_back({array});
  };
  for (const mx::array& result : results) {
    visit(result);
    while (!pending.empty()) {
      Visit& top = pending.back();
      if (top.next_input < top.array.inputs().size()) {
        visit(top.array.inputs()[top.next_input++]);
        continue;
      }
      const mx::array& array = top.array;
      calls.push_back({array.primitive_ptr(), array.inputs(), array.outputs()});
      pending.pop_back();
    }
  }
  return calls;
}

double nanoseconds_of(const PrimitiveCall& call, const ir::Pace& pace) {
  const std::string_view name = call.primitive->name();
  double flops = 0, bytes = 0;
  for (const mx::array& input : call.inputs) bytes += static_cast<double>(input.nbytes());
  for (const mx::array& output : call.outputs) {
    const auto size = static_cast<double>(output.size());
    bytes += static_cast<double>(output.nbytes());
    if (name == "Matmul") {
      flops += 2 * size * call.inputs[0].shape(-1);
    } else if (name == "Convolution") {
      const mx::array& filters = call.inputs[1];
      flops += 2 * size * static_cast<double>(filters.size()) / filters.shape(0);
    } else if (name.find("Sort") != std::string_view::npos) {
      bytes = ops::bytes_of_sort(bytes, output.size());
    }
  }
  return pace.nanoseconds(flops, bytes);
}

bool is_view(mx::Primitive& primitive) {
  static constexpr auto kViews = std::to_array<std::string_view>(
      {"AsStrided", "Broadcast", "BroadcastAxes", "ExpandDims", "Flatten", "Reshape", "Slice",
       "Split", "Squeeze", "StopGradient", "Transpose", "Unflatten", "View"});
  return std::find(kViews.begin(), kViews.end(), primitive.name()) != kViews.end();
}

}  // namespace jaxmps::exec
