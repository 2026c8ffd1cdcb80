// Combiners of tuples (reduce, reduce_window) by their scalar program, one tuple at a time: for
// what neither the fusion compiler nor a kernel of its own does. Immutable; a Call belongs to one
// thread.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "ops/op.h"
#include "scalar/scalar.h"

namespace jaxmps::ops {

// Room for an element of any type.
using Element = std::array<char, 16>;

class Combiner {
 public:
  // Of `count` results; the region takes as many accumulators, then as many elements, of the types
  // of the op's first operands.
  static Result<Combiner> create(const OpContext& ctx) {
    TRY(auto program, kernels::scalar_program(ctx.op.region()));
    std::vector<size_t> sizes;
    sizes.reserve(static_cast<size_t>(ctx.op.result_count()));
    for (int i = 0; i < ctx.op.result_count(); ++i) {
      sizes.push_back(static_cast<size_t>(ir::byte_size(ctx.in(i).dtype)));
    }
    return Combiner(std::move(program), std::move(sizes));
  }

  size_t count() const { return sizes_.size(); }

  // Room for one call of the program.
  struct Call {
    explicit Call(size_t count) : arguments(2 * count), results(count), fresh(count) {
      for (size_t k = 0; k < count; ++k) results[k] = fresh[k].data();
    }
    std::vector<const void*> arguments;
    std::vector<void*> results;
    std::vector<Element> fresh;
  };

  // total = the elements number `at` of the arrays.
  void set(Element* total, const void* const* arrays, int64_t at) const {
    for (size_t k = 0; k < count(); ++k) {
      std::copy_n(element(arrays, k, at), sizes_[k], total[k].data());
    }
  }
  // total = combiner(total, elements), or with `before` combiner(elements, total).
  void combine(Call& call, Element* total, const void* const* arrays, int64_t at,
               bool before = false) const {
    const size_t first = before ? count() : 0, second = before ? 0 : count();
    for (size_t k = 0; k < count(); ++k) {
      call.arguments[first + k] = total[k].data();
      call.arguments[second + k] = element(arrays, k, at);
    }
    kernels::evaluate(program_, call.arguments.data(), call.results.data());
    std::copy_n(call.fresh.data(), count(), total);
  }
  bool same(const Element* a, const Element* b) const {
    bool equal = true;
    for (size_t k = 0; k < count(); ++k) {
      equal = equal && std::equal(a[k].begin(), a[k].begin() + sizes_[k], b[k].begin());
    }
    return equal;
  }
  void store(const Element* total, void* const* out, int64_t at) const {
    for (size_t k = 0; k < count(); ++k) {
      const auto size = static_cast<int64_t>(sizes_[k]);
      std::copy_n(total[k].data(), sizes_[k], static_cast<char*>(out[k]) + at * size);
    }
  }

 private:
  Combiner(kernels::ScalarProgram program, std::vector<size_t> sizes)
      : program_(std::move(program)), sizes_(std::move(sizes)) {}
  const char* element(const void* const* arrays, size_t k, int64_t at) const {
    return static_cast<const char*>(arrays[k]) + at * static_cast<int64_t>(sizes_[k]);
  }

  kernels::ScalarProgram program_;
  std::vector<size_t> sizes_;
};

}  // namespace jaxmps::ops
