// dot_general: on the CPU our own product on strided operands, elsewhere MLX's after bringing the
// operands into [batch, rows, columns] form.
#include "ops/dot.h"

#include <algorithm>
#include <initializer_list>
#include <new>
#include <numeric>
#include <optional>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/strided_copy.h"
#include "passes/pass.h"

namespace jaxmps::ops {

namespace {

struct DotDims {
  std::vector<int> lhs_batch, rhs_batch, lhs_contract, rhs_contract, lhs_free, rhs_free;

  void find_free(int64_t lhs_rank, int64_t rhs_rank) {
    auto rest = [](int64_t rank, const std::vector<int>& a, const std::vector<int>& b) {
      std::vector<int> free;
      for (int d = 0; d < rank; ++d) {
        if (std::count(a.begin(), a.end(), d) + std::count(b.begin(), b.end(), d) == 0) {
          free.push_back(d);
        }
      }
      return free;
    };
    lhs_free = rest(lhs_rank, lhs_batch, lhs_contract);
    rhs_free = rest(rhs_rank, rhs_batch, rhs_contract);
  }
};

struct Group {
  int64_t size = 1, stride = 1;  // of the dimensions that walk memory evenly
  size_t from = 0;               // the first of them
};

// The longest tail of `dims` that is one dimension in memory.
Group trailing_group(const ir::Dims& shape, const ir::Dims& strides, const std::vector<int>& dims) {
  Group group;
  group.from = dims.size();
  while (group.from > 0) {
    const int d = dims[group.from - 1];
    if (shape[d] != 1) {
      if (group.size == 1) {
        group.stride = strides[d];
      } else if (strides[d] != group.stride * group.size) {
        break;
      }
      group.size *= shape[d];
    }
    --group.from;
  }
  return group;
}

// Contracted dimensions may be summed in any order: sorts them by their stride in `strides`.
void sort_contracted(DotDims* dims, const ir::Dims& strides) {
  std::vector<size_t> order(dims->lhs_contract.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return strides[dims->lhs_contract[a]] > strides[dims->lhs_contract[b]];
  });
  const DotDims old = *dims;
  for (size_t i = 0; i < order.size(); ++i) {
    dims->lhs_contract[i] = old.lhs_contract[order[i]];
    dims->rhs_contract[i] = old.rhs_contract[order[i]];
  }
}

// The whole product as one call of the kernel: free dimensions that are not even in memory become
// batch dimensions. Nothing if the contracted dimensions are not even in both operands.
std::optional<cpu::Gemm> plan_gemm(const ir::Type& lhs, const ir::Type& rhs, DType out,
                                   DotDims dims) {
  const ir::Dims a = ir::row_major_strides(lhs.dims), b = ir::row_major_strides(rhs.dims);
  sort_contracted(&dims, a);
  cpu::Gemm g;
  g.in = lhs.dtype;
  g.out = out;
  const Group ka = trailing_group(lhs.dims, a, dims.lhs_contract);
  const Group kb = trailing_group(rhs.dims, b, dims.rhs_contract);
  if (ka.from != 0 || kb.from != 0) return std::nullopt;
  const Group m = trailing_group(lhs.dims, a, dims.lhs_free);
  const Group n = trailing_group(rhs.dims, b, dims.rhs_free);
  g.k = ka.size;
  g.m = m.size;
  g.n = n.size;
  g.a_row = m.stride;
  g.a_col = ka.stride;
  g.b_row = kb.stride;
  g.b_col = n.stride;
  int64_t columns = 1, rows = 1;
  for (int d : dims.rhs_free) columns *= rhs.dims[d];
  for (int d : dims.lhs_free) rows *= lhs.dims[d];
  g.c_row = columns;
  int64_t c = rows * columns;
  for (size_t i = dims.lhs_batch.size(); i-- > 0;) {
    const int64_t size = lhs.dims[dims.lhs_batch[i]];
    g.batch.insert(g.batch.begin(), {size, a[dims.lhs_batch[i]], b[dims.rhs_batch[i]], c});
    c *= size;
  }
  c = g.m * columns;
  std::vector<cpu::GemmBatch> outer;
  for (size_t i = m.from; i-- > 0;) {
    const int64_t size = lhs.dims[dims.lhs_free[i]];
    outer.insert(outer.begin(), {size, a[dims.lhs_free[i]], 0, c});
    c *= size;
  }
  g.batch.insert(g.batch.end(), outer.begin(), outer.end());
  outer.clear();
  c = g.n;
  for (size_t i = n.from; i-- > 0;) {
    const int64_t size = rhs.dims[dims.rhs_free[i]];
    outer.insert(outer.begin(), {size, 0, b[dims.rhs_free[i]], c});
    c *= size;
  }
  g.batch.insert(g.batch.end(), outer.begin(), outer.end());
  return g;
}

// A dense copy of an operand, its dimensions in the order of the groups, which count so afterwards.
struct Turned {
  ir::Type type;
  cpu::StridedCopy copy;

  Turned(const ir::Type& operand, std::initializer_list<std::vector<int>*> groups) : type(operand) {
    const ir::Dims strides = byte_strides(operand);
    ir::Dims from;
    type.dims.clear();
    for (std::vector<int>* group : groups) {
      for (int& d : *group) {
        type.dims.push_back(operand.dims[d]);
        from.push_back(strides[d]);
        d = static_cast<int>(from.size()) - 1;
      }
    }
    copy = cpu::StridedCopy(type.dims, from, byte_strides(type), ir::byte_size(type.dtype));
  }
};

// Where only a few rows at a time are even in memory: the copy costs less than as many products.
bool has_few_even_rows(const ir::Type& lhs, const DotDims& dims) {
  constexpr int64_t kFewRows = 16;
  const Group rows = trailing_group(lhs.dims, ir::row_major_strides(lhs.dims), dims.lhs_free);
  return rows.from != 0 && rows.size <= kFewRows;
}

void multiply(const cpu::Gemm& g, int64_t bytes, const void* a, const void* b, void* c) {
  if (bytes == 0) return;
  if (g.k == 0) {
    std::fill_n(static_cast<char*>(c), bytes, char{0});
  } else {
    cpu::gemm(g, a, b, c);
  }
}

// The product of copied operands: of the left one, and of the right one where `both` are to be.
std::optional<Native> dense_product(const OpContext& ctx, DotDims dims, bool both) {
  const Turned lhs(ctx.in(0), {&dims.lhs_batch, &dims.lhs_free, &dims.lhs_contract});
  std::optional<Turned> rhs;
  if (both) rhs = Turned(ctx.in(1), {&dims.rhs_batch, &dims.rhs_contract, &dims.rhs_free});
  auto g = plan_gemm(lhs.type, both ? rhs->type : ctx.in(1), ctx.out().dtype, dims);
  if (!g) return std::nullopt;
  return [=, g = *g, bytes = ctx.out().byte_count()](const void* const* operands,
                                                     void* const* results) {
    const cpu::Scratch a(static_cast<size_t>(lhs.type.byte_count()));
    const cpu::Scratch b(static_cast<size_t>(rhs ? rhs->type.byte_count() : 0));
    lhs.copy.copy(operands[0], a.as<char>());
    if (rhs) rhs->copy.copy(operands[1], b.as<char>());
    multiply(g, bytes, a.as<char>(), rhs ? b.as<char>() : operands[1], results[0]);
  };
}

std::optional<Lowering> native_dot(const OpContext& ctx, const DotDims& dims) {
  const DType in = ctx.in(0).dtype, out = ctx.out().dtype;
  const bool is_computed = cpu::is_computed(in) && cpu::is_computed(out);
  if (!is_computed || in != ctx.in(1).dtype || !cpu::gemm_supported(in, out)) return std::nullopt;
  double work = static_cast<double>(ctx.out().size());
  for (const int d : dims.lhs_contract) work *= static_cast<double>(ctx.in(0).dims[d]);
  auto plan = plan_gemm(ctx.in(0), ctx.in(1), out, dims);
  if (plan && passes::is_small_product(ctx.op)) {
    return native(
        [g = *plan](const void* const* operands, void* const* results) {
          cpu::gemm_halved(g, operands[0], operands[1], results[0]);
        },
        work + 10);
  }
  if (!plan || has_few_even_rows(ctx.in(0), dims)) {
    if (auto dense = dense_product(ctx, dims, !plan)) {
      return native(std::move(*dense), 0.02 * work + 200);
    }
  }
  if (!plan) return std::nullopt;
  return native(
      [g = *plan, bytes = ctx.out().byte_count()](const void* const* operands,
                                                  void* const* results) {
        multiply(g, bytes, operands[0], operands[1], results[0]);
      },
      0.02 * work + 200);
}

// Brings `a` into the shape [batch..., first, second] of the three groups of dimensions, those of
// the batch as one if they are to be merged.
mx::array arrange(const mx::array& a, const std::vector<int>& batch, const std::vector<int>& first,
                  const std::vector<int>& second, bool merges) {
  std::vector<int> order = batch;
  order.insert(order.end(), first.begin(), first.end());
  order.insert(order.end(), second.begin(), second.end());
  auto size = [&](const std::vector<int>& dims) {
    int n = 1;
    for (int d : dims) n *= a.shape(d);
    return n;
  };
  mx::Shape shape;
  if (merges && !batch.empty()) shape.push_back(size(batch));
  for (const int d : batch) {
    if (!merges) shape.push_back(a.shape(d));
  }
  shape.push_back(size(first));
  shape.push_back(size(second));
  return mx::reshape(mx::transpose(a, order), shape);
}

}  // namespace

ANY_DTYPE_OP(dot_general) {
  DotDims dims;
  dims.lhs_batch = ctx.axes("lhs_batching_dimensions");
  dims.rhs_batch = ctx.axes("rhs_batching_dimensions");
  dims.lhs_contract = ctx.axes("lhs_contracting_dimensions");
  dims.rhs_contract = ctx.axes("rhs_contracting_dimensions");
  dims.find_free(ctx.in(0).rank(), ctx.in(1).rank());
  TRY(ProductType type, product_type(ctx));
  if (ctx.target.runs_native) {
    if (auto lowering = native_dot(ctx, dims)) return std::move(*lowering);
    return ctx.fail("products of these types are not supported");
  }
  return graph([=, shape = ctx.out_shape(), merges = !ctx.target.strided_batches](Inputs in) {
    const auto a = arrange(in[0], dims.lhs_batch, dims.lhs_free, dims.lhs_contract, merges);
    const auto b = arrange(in[1], dims.rhs_batch, dims.rhs_contract, dims.rhs_free, merges);
    return one(mx::reshape(multiply_matrices(a, b, type), shape));
  });
}

}  // namespace jaxmps::ops
