// Test support: writing small regions by hand, and running them op by op as a reference.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fusion/fusion.h"
#include "ir/gather_dims.h"
#include "ir/module.h"
#include "scalar/scalar.h"

namespace jaxmps::test {

using ir::Dims;
using ir::DType;
using ir::OpId;
using ir::Type;
using V = ir::Value*;

// Builds the region of one fusion.
class Graph {
 public:
  ir::Region region;

  V arg(DType dtype, Dims dims) { return region.add_arg(Type(dtype, std::move(dims))); }
  V op(OpId id, std::vector<V> operands, Type type, ir::AttrDict attrs = {}) {
    return region.append(ir::Op::create(id, operands, std::vector{type}, std::move(attrs)))
        ->result();
  }
  V same(OpId id, std::vector<V> operands) { return op(id, operands, operands.back()->type); }
  V convert(V x, DType to) { return op(OpId::convert, {x}, x->type.with(to)); }
  V compare(V x, V y, ir::CompareDirection direction,
            ir::CompareType kind = ir::CompareType::none) {
    using ir::Enum;
    return op(
        OpId::compare, {x, y}, x->type.with(DType::pred),
        {{"comparison_direction",
          ir::Attr(Enum{Enum::Kind::compare_direction, static_cast<uint8_t>(direction)})},
         {"compare_type", ir::Attr(Enum{Enum::Kind::compare_type, static_cast<uint8_t>(kind)})}});
  }
  template <typename T>
  V splat(DType dtype, Dims dims, T value) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
    Type type(dtype, std::move(dims));
    return op(OpId::constant, {}, type,
              {{"value", ir::Attr(ir::Dense::copy(type, {bytes, sizeof value}, true))}});
  }
  V broadcast(V x, Dims dims, ir::Ints to) {
    return op(OpId::broadcast_in_dim, {x}, x->type.with(std::move(dims)),
              {{"broadcast_dimensions", ir::Attr(std::move(to))}});
  }
  V reshape(V x, Dims dims) { return op(OpId::reshape, {x}, x->type.with(std::move(dims))); }
  V transpose(V x, ir::Ints permutation) {
    Dims dims;
    for (int64_t d : permutation) dims.push_back(x->type.dims[static_cast<size_t>(d)]);
    return op(OpId::transpose, {x}, x->type.with(dims), {{"permutation", ir::Attr(permutation)}});
  }
  V reduce(OpId combiner, V x, V init, ir::Ints dimensions) {
    Dims dims;
    for (size_t d = 0; d < x->type.dims.size(); ++d) {
      if (std::find(dimensions.begin(), dimensions.end(), static_cast<int64_t>(d)) ==
          dimensions.end()) {
        dims.push_back(x->type.dims[d]);
      }
    }
    V r = op(OpId::reduce, {x, init}, x->type.with(dims), {{"dimensions", ir::Attr(dimensions)}});
    ir::Region* body = r->op()->add_region();
    const Type scalar(x->type.dtype, {});
    V a = body->add_arg(scalar), b = body->add_arg(scalar);
    ir::Op* c = body->append(ir::Op::create(combiner, std::vector{a, b}, std::vector{scalar}));
    body->append(ir::Op::create(OpId::return_, std::vector{c->result()}, {}));
    return r;
  }
  V gather(V x, V indices, Dims dims, const ir::GatherDims& n) {
    return op(OpId::gather, {x, indices}, x->type.with(std::move(dims)),
              {{"collapsed_slice_dims", ir::Attr(n.collapsed)},
               {"index_vector_dim", ir::Attr(n.index_vector_dim)},
               {"indices_are_sorted", ir::Attr(ir::Attr::Value(false))},
               {"offset_dims", ir::Attr(n.window_dims)},
               {"operand_batching_dims", ir::Attr(n.operand_batching)},
               {"slice_sizes", ir::Attr(n.slice_sizes)},
               {"start_index_map", ir::Attr(n.index_map)},
               {"start_indices_batching_dims", ir::Attr(n.indices_batching)}});
  }
  // x at the places of a vector of indices along one dimension.
  V take(V x, V indices, int64_t along) {
    Dims dims = x->type.dims, sizes = dims;
    dims[static_cast<size_t>(along)] = indices->type.dims[0];
    sizes[static_cast<size_t>(along)] = 1;
    ir::Ints window;
    for (int64_t d = 0; d < static_cast<int64_t>(dims.size()); ++d)
      if (d != along) window.push_back(d);
    return gather(x, indices, dims, {window, {along}, {}, {}, {along}, 1, sizes});
  }
  void ret(std::vector<V> values) { region.append(ir::Op::create(OpId::return_, values, {})); }
};

using Buffer = std::vector<uint8_t>;

// Runs a region op by op: elementwise ops through the scalar interpreter, the rest by plain loops
// over coordinates. Knows nothing of index maps, tiles or vectors.
std::vector<Buffer> run_reference(const ir::Region& region, const std::vector<Buffer>& inputs);

}  // namespace jaxmps::test
