#include "support/graph.h"

#include <limits>
#include <stdexcept>

namespace jaxmps::test {
namespace {

using kernels::ScalarBuilder;
using kernels::ScalarProgram;
using kernels::ScalarValue;

// Row-major coordinates of element n. Here and below memory is kept from one element to the next:
// sanitizers remember where each piece came from.
void coordinates(int64_t n, const Dims& dims, Dims* at) {
  at->resize(dims.size());
  for (size_t d = dims.size(); d-- > 0;) {
    (*at)[d] = n % dims[d];
    n /= dims[d];
  }
}

int64_t position(const Dims& at, const Dims& dims) {
  int64_t n = 0;
  for (size_t d = 0; d < dims.size(); ++d) n = n * dims[d] + at[d];
  return n;
}

struct Machine {
  std::map<const ir::Value*, Buffer> values;

  static size_t size(const ir::Value* v) {
    return static_cast<size_t>(ir::byte_size(v->type.dtype));
  }
  const uint8_t* element(const ir::Value* v, int64_t n) {
    return values[v].data() + static_cast<size_t>(n) * size(v);
  }

  void elementwise(const ir::Op& op) {
    ScalarProgram program;
    ScalarBuilder builder(&program);
    std::vector<ScalarValue> in;
    for (int i = 0; i < op.operand_count(); ++i)
      in.push_back(builder.input(op.operand(i)->type.dtype));
    auto results = builder.apply(op, in);
    if (!results.ok()) throw std::runtime_error(results.error().text);
    for (const ScalarValue& r : *results) builder.output(r);
    std::vector<const void*> from;
    std::vector<void*> to;
    for (int64_t n = 0; n < op.result()->type.size(); ++n) {
      from.clear();
      to.clear();
      for (int i = 0; i < op.operand_count(); ++i) {
        const bool scalar = op.operand(i)->type.dims.empty();
        from.push_back(element(op.operand(i), scalar ? 0 : n));
      }
      for (int r = 0; r < op.result_count(); ++r) {
        to.push_back(values[op.result(r)].data() + static_cast<size_t>(n) * size(op.result(r)));
      }
      kernels::evaluate(program, from.data(), to.data());
    }
  }

  void reduce(const ir::Op& op) {
    auto program = kernels::scalar_program(op.region());
    if (!program.ok()) throw std::runtime_error(program.error().text);
    const ir::Value* x = op.operand(0);
    Buffer& out = values[op.result()];
    const size_t bytes = size(x);
    for (size_t n = 0; n < out.size(); n += bytes)
      std::memcpy(out.data() + n, element(op.operand(1), 0), bytes);
    const ir::Ints& dims = op.ints("dimensions");
    const bool sum =
        op.region().first()->id == OpId::add && ir::real_type(x->type.dtype) == DType::f32;
    const size_t parts = sum ? bytes / sizeof(float) : 0;
    std::vector<double> wide(parts ? out.size() / sizeof(float) : 0);  // sums without rounding
    for (size_t n = 0; n < wide.size(); ++n)
      wide[n] = reinterpret_cast<const float*>(out.data())[n];
    Dims at, kept;
    for (int64_t n = 0; n < x->type.size(); ++n) {
      coordinates(n, x->type.dims, &at);
      kept.clear();
      for (size_t d = 0; d < at.size(); ++d) {
        if (std::find(dims.begin(), dims.end(), static_cast<int64_t>(d)) == dims.end())
          kept.push_back(at[d]);
      }
      uint8_t* to =
          out.data() + static_cast<size_t>(position(kept, op.result()->type.dims)) * bytes;
      if (sum) {
        for (size_t k = 0; k < parts; ++k) {
          const size_t at_part = static_cast<size_t>(to - out.data()) / sizeof(float) + k;
          wide[at_part] += reinterpret_cast<const float*>(element(x, n))[k];
        }
        continue;
      }
      const void* from[] = {to, element(x, n)};
      void* outs[] = {to};
      kernels::evaluate(*program, from, outs);
    }
    for (size_t n = 0; n < wide.size(); ++n)
      reinterpret_cast<float*>(out.data())[n] = static_cast<float>(wide[n]);
  }

  // Where element `at` of the result comes from; false: from outside of the operand.
  static bool source(const ir::Op& op, const Dims& at, Dims* from) {
    const Dims& dims = op.operand(0)->type.dims;
    from->resize(dims.size());
    switch (op.id) {
      case OpId::broadcast_in_dim:
        for (size_t d = 0; d < dims.size(); ++d) {
          (*from)[d] =
              dims[d] == 1 ? 0 : at[static_cast<size_t>(op.ints("broadcast_dimensions")[d])];
        }
        return true;
      case OpId::transpose:
        for (size_t d = 0; d < dims.size(); ++d)
          (*from)[static_cast<size_t>(op.ints("permutation")[d])] = at[d];
        return true;
      case OpId::slice:
        for (size_t d = 0; d < dims.size(); ++d)
          (*from)[d] = op.ints("start_indices")[d] + at[d] * op.ints("strides")[d];
        return true;
      case OpId::reverse:
        *from = at;
        for (int64_t d : op.ints("dimensions"))
          (*from)[static_cast<size_t>(d)] =
              dims[static_cast<size_t>(d)] - 1 - at[static_cast<size_t>(d)];
        return true;
      case OpId::reshape:
        coordinates(position(at, op.result()->type.dims), dims, from);
        return true;
      case OpId::pad:
        for (size_t d = 0; d < dims.size(); ++d) {
          (*from)[d] = at[d] - op.ints("edge_padding_low")[d];
          if ((*from)[d] < 0 || (*from)[d] >= dims[d]) return false;
        }
        return true;
      default:
        throw std::runtime_error("no reference for " + std::string(op.name()));
    }
  }

  void move(const ir::Op& op) {
    const Type& type = op.result()->type;
    const size_t bytes = size(op.result());
    Dims at, from;
    for (int64_t n = 0; n < type.size(); ++n) {
      coordinates(n, type.dims, &at);
      uint8_t* to = values[op.result()].data() + static_cast<size_t>(n) * bytes;
      if (op.id == OpId::concatenate) {
        const size_t dim = static_cast<size_t>(op.i64("dimension"));
        from = at;
        int k = 0;
        while (from[dim] >= op.operand(k)->type.dims[dim])
          from[dim] -= op.operand(k++)->type.dims[dim];
        std::memcpy(to, element(op.operand(k), position(from, op.operand(k)->type.dims)), bytes);
        continue;
      }
      const bool inside = source(op, at, &from);
      std::memcpy(to,
                  inside ? element(op.operand(0), position(from, op.operand(0)->type.dims))
                         : element(op.operand(1), 0),
                  bytes);
    }
  }

  // The n-th element of an array of integers.
  int64_t integer(const ir::Value* v, int64_t n) {
    ScalarProgram program;
    ScalarBuilder builder(&program);
    builder.output(builder.convert(builder.input(v->type.dtype), DType::s64));
    int64_t i = 0;
    const void* from[] = {element(v, n)};
    void* to[] = {&i};
    kernels::evaluate(program, from, to);
    if (v->type.dtype == DType::u64 && i < 0) return std::numeric_limits<int64_t>::max();
    return i;
  }

  void gather(const ir::Op& op) {
    const ir::GatherDims g = ir::GatherDims::of_gather(op);
    const Type &x = op.operand(0)->type, &indices = op.operand(1)->type, &type = op.result()->type;
    const auto batch = g.batch_dims(type.rank()), kept = g.kept_dims(x.rank());
    const auto of_indices = g.indices_batch(indices.rank());
    const size_t bytes = size(op.result());
    Dims at;
    for (int64_t n = 0; n < type.size(); ++n) {
      coordinates(n, type.dims, &at);
      Dims from(x.dims.size()), index(indices.dims.size());
      for (size_t k = 0; k < kept.size(); ++k)
        from[static_cast<size_t>(kept[k])] = at[static_cast<size_t>(g.window_dims[k])];
      for (size_t k = 0; k < batch.size(); ++k)
        index[static_cast<size_t>(of_indices[k])] = at[static_cast<size_t>(batch[k])];
      for (size_t k = 0; k < g.operand_batching.size(); ++k)
        from[static_cast<size_t>(g.operand_batching[k])] =
            index[static_cast<size_t>(g.indices_batching[k])];
      for (size_t j = 0; j < g.index_map.size(); ++j) {
        if (g.index_vector_dim < indices.rank())
          index[static_cast<size_t>(g.index_vector_dim)] = static_cast<int64_t>(j);
        const size_t d = static_cast<size_t>(g.index_map[j]);
        const int64_t start = integer(op.operand(1), position(index, indices.dims));
        from[d] += std::clamp<int64_t>(start, 0, x.dims[d] - g.slice_sizes[d]);
      }
      std::memcpy(values[op.result()].data() + static_cast<size_t>(n) * bytes,
                  element(op.operand(0), position(from, x.dims)), bytes);
    }
  }

  void iota(const ir::Op& op) {
    ScalarProgram program;
    ScalarBuilder builder(&program);
    builder.output(builder.convert(builder.input(DType::s64), op.result()->type.dtype));
    Dims at;
    for (int64_t n = 0; n < op.result()->type.size(); ++n) {
      coordinates(n, op.result()->type.dims, &at);
      const int64_t i = at[static_cast<size_t>(op.i64("iota_dimension"))];
      const void* from[] = {&i};
      void* to[] = {values[op.result()].data() + static_cast<size_t>(n) * size(op.result())};
      kernels::evaluate(program, from, to);
    }
  }

  void run(const ir::Op& op) {
    for (int i = 0; i < op.operand_count(); ++i) {
      if (!values.count(op.operand(i))) throw std::runtime_error("an operand is not computed yet");
    }
    for (int r = 0; r < op.result_count(); ++r) {
      values[op.result(r)].resize(static_cast<size_t>(op.result(r)->type.byte_count()));
    }
    switch (op.id) {
      case OpId::constant: {
        const size_t bytes = size(op.result());
        Buffer& out = values[op.result()];
        for (size_t n = 0; n < out.size(); n += bytes)
          std::memcpy(out.data() + n, op.dense("value").data, bytes);
        return;
      }
      case OpId::iota:
        return iota(op);
      case OpId::optimization_barrier:
        values[op.result()] = values[op.operand(0)];
        return;
      case OpId::fusion: {
        std::vector<Buffer> in;
        for (int i = 0; i < op.operand_count(); ++i) in.push_back(values.at(op.operand(i)));
        auto results = run_reference(op.region(), in);
        for (int r = 0; r < op.result_count(); ++r)
          values[op.result(r)] = results[static_cast<size_t>(r)];
        return;
      }
      case OpId::gather:
        return gather(op);
      case OpId::reduce:
        return reduce(op);
      case OpId::broadcast_in_dim:
      case OpId::transpose:
      case OpId::slice:
      case OpId::reverse:
      case OpId::reshape:
      case OpId::pad:
      case OpId::concatenate:
        return move(op);
      default:
        return elementwise(op);
    }
  }
};

}  // namespace

std::vector<Buffer> run_reference(const ir::Region& region, const std::vector<Buffer>& inputs) {
  Machine machine;
  for (int i = 0; i < region.arg_count(); ++i)
    machine.values[region.arg(i)] = inputs[static_cast<size_t>(i)];
  std::vector<Buffer> results;
  for (const ir::Op* op : region) {
    if (op != region.terminator()) {
      machine.run(*op);
      continue;
    }
    for (int i = 0; i < op->operand_count(); ++i) results.push_back(machine.values[op->operand(i)]);
  }
  return results;
}

}  // namespace jaxmps::test
