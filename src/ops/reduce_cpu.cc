// CPU kernels of the reductions that are not fusions: arg-max and arg-min, and any other combiner
// by its scalar program, element by element. Work is cut by results, and long reductions that may
// be regrouped into pieces of a fixed length, so what comes out does not depend on the number of
// threads.
#include <new>

#include "ir/combiner.h"
#include "kernels/cpu/dtype.h"
#include "kernels/cpu/threads.h"
#include "ops/combiner.h"
#include "ops/reduce.h"

namespace jaxmps::ops {
namespace {

constexpr int64_t kGrain = 4096;     // elements worth one task
constexpr int64_t kPiece = 1 << 15;  // elements of one result that one task takes

// Where the elements of each result lie, in elements of the dense operand.
class ReduceWalk {
 public:
  ReduceWalk(const ir::Type& operand, const ir::Ints& reduced) {
    std::vector<bool> is_reduced(operand.dims.size(), false);
    for (int64_t d : reduced) is_reduced[static_cast<size_t>(d)] = true;
    const ir::Dims strides = ir::row_major_strides(operand.dims);
    for (size_t d = 0; d < operand.dims.size(); ++d) {
      auto& dims = is_reduced[d] ? reduced_ : kept_;
      // Neighbours that are walked as one.
      if (!dims.empty() && dims.back().stride == strides[d] * operand.dims[d]) {
        dims.back() = {dims.back().size * operand.dims[d], strides[d]};
      } else {
        dims.push_back({operand.dims[d], strides[d]});
      }
    }
    for (const Dim& d : kept_) results_ *= d.size;
    for (const Dim& d : reduced_) length_ *= d.size;
  }
  int64_t results() const { return results_; }
  int64_t length() const { return length_; }

  // The first element of a result.
  int64_t start(int64_t result) const { return offset(kept_, result); }

  // visit(offset from the start) for elements [begin, end) of a result, in order.
  template <typename Visit>
  void elements(int64_t begin, int64_t end, Visit visit) const {
    if (reduced_.empty()) {
      if (begin < end) visit(int64_t{0});
      return;
    }
    const Dim& last = reduced_.back();
    while (begin < end) {
      const int64_t column = begin % last.size, n = std::min(end - begin, last.size - column);
      int64_t at = offset(reduced_, begin);
      for (int64_t i = 0; i < n; ++i, at += last.stride) visit(at);
      begin += n;
    }
  }

 private:
  struct Dim {
    int64_t size, stride;
  };
  static int64_t offset(const std::vector<Dim>& dims, int64_t linear) {
    int64_t at = 0;
    for (size_t d = dims.size(); d-- > 0;) {
      at += linear % dims[d].size * dims[d].stride;
      linear /= dims[d].size;
    }
    return at;
  }
  std::vector<Dim> kept_, reduced_;
  int64_t results_ = 1, length_ = 1;
};

int64_t piece_count(const ReduceWalk& walk, int64_t piece) {
  return (walk.length() + piece - 1) / piece;
}

// Runs reduce(result, begin, end, number of the piece) for all pieces of all results.
template <typename Reduce>
void for_pieces(const ReduceWalk& walk, int64_t piece, Reduce reduce) {
  const int64_t pieces = piece_count(walk, piece), each = std::min(walk.length(), piece);
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, each));
  cpu::parallel_for(walk.results() * pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t from = i % pieces * piece;
      reduce(i / pieces, from, std::min(from + piece, walk.length()), i);
    }
  });
}

// --- arg-max and arg-min ------------------------------------------------------------------------
//
// Meeting in order is associative: the first NaN stays, else the best value with its lowest index
// wins. Meeting the initial value again changes nothing, so every piece starts with it.

template <typename T, typename I>
struct Best {
  T value;
  I index;
  template <bool maximum>
  void meet(T other, I at) {
    // NaN wins, and stays unless an equal value has a lower index.
    const bool keeps = (maximum ? value > other : value < other) || value != value;
    const bool lower = keeps || (value == other && index < at);
    value = keeps ? value : other;
    index = lower ? index : at;
  }
};

template <typename T, typename I, bool maximum>
void arg_reduce(const ReduceWalk& walk, const void* const* in, void* const* out) {
  const auto* values = static_cast<const T*>(in[0]);
  const auto* indices = static_cast<const I*>(in[1]);
  const Best<T, I> init{*static_cast<const T*>(in[2]), *static_cast<const I*>(in[3])};
  const int64_t pieces = piece_count(walk, kPiece);
  std::vector<Best<T, I>> found(static_cast<size_t>(walk.results() * pieces), init);
  for_pieces(walk, kPiece, [&](int64_t result, int64_t from, int64_t to, int64_t p) {
    const int64_t start = walk.start(result);
    Best<T, I> best = init;
    walk.elements(from, to, [&](int64_t at) {
      best.template meet<maximum>(values[start + at], indices[start + at]);
    });
    found[static_cast<size_t>(p)] = best;
  });
  for (int64_t r = 0; r < walk.results(); ++r) {
    Best<T, I> best = found[static_cast<size_t>(r * pieces)];
    for (int64_t p = 1; p < pieces; ++p) {
      const auto& next = found[static_cast<size_t>(r * pieces + p)];
      best.template meet<maximum>(next.value, next.index);
    }
    static_cast<T*>(out[0])[r] = best.value;
    static_cast<I*>(out[1])[r] = best.index;
  }
}

template <typename T, typename I>
Native arg_kernel(const ReduceWalk& walk, bool maximum) {
  if (maximum) {
    return
        [walk](const void* const* in, void* const* out) { arg_reduce<T, I, true>(walk, in, out); };
  }
  return
      [walk](const void* const* in, void* const* out) { arg_reduce<T, I, false>(walk, in, out); };
}

template <typename T>
Native arg_kernel(const ReduceWalk& walk, bool maximum, DType index) {
  switch (index) {
    case DType::s32:
      return arg_kernel<T, int32_t>(walk, maximum);
    case DType::s64:
      return arg_kernel<T, int64_t>(walk, maximum);
    default:
      return nullptr;
  }
}

// --- any combiner -------------------------------------------------------------------------------

class GeneralReduce {
 public:
  GeneralReduce(const OpContext& ctx, Combiner combiner)
      : walk_(ctx.in(0), ctx.op.ints("dimensions")), combiner_(std::move(combiner)) {
    // Only what is known to associate is cut: the others fold from the first element to the last.
    const bool cuts = ir::simple_combiners(ctx.op.region()).has_value();
    piece_ = cuts ? kPiece : std::max<int64_t>(1, walk_.length());
  }

  void operator()(const void* const* in, void* const* out) const {
    const size_t count = combiner_.count();
    const int64_t pieces = piece_count(walk_, piece_);
    // With several pieces the first starts with the initial value, the others with their first
    // element.
    std::vector<Element> found(static_cast<size_t>(walk_.results() * pieces) * count);
    for_pieces(walk_, piece_, [&](int64_t result, int64_t from, int64_t to, int64_t p) {
      Combiner::Call call(count);
      Element* total = &found[static_cast<size_t>(p) * count];
      const int64_t start = walk_.start(result);
      bool begun = from == 0;
      if (begun) combiner_.set(total, in + count, 0);
      walk_.elements(from, to, [&](int64_t at) {
        if (begun) {
          combiner_.combine(call, total, in, start + at);
        } else {
          combiner_.set(total, in, start + at);
        }
        begun = true;
      });
    });
    Combiner::Call call(count);
    std::vector<const void*> next(count);
    for (int64_t r = 0; r < walk_.results(); ++r) {
      Element* total = &found[static_cast<size_t>(r * pieces) * count];
      for (int64_t p = 1; p < pieces; ++p) {
        for (size_t k = 0; k < count; ++k) {
          next[k] = total[static_cast<size_t>(p) * count + k].data();
        }
        combiner_.combine(call, total, next.data(), 0);
      }
      combiner_.store(total, out, r);
    }
  }

  double work() const { return static_cast<double>(walk_.results() * walk_.length()); }

 private:
  ReduceWalk walk_;
  Combiner combiner_;
  int64_t piece_;
};

}  // namespace

Native native_arg_reduce(const OpContext& ctx, bool maximum) {
  const ReduceWalk walk(ctx.in(0), ctx.op.ints("dimensions"));
  return cpu::with_element(ctx.in(0).dtype, [&](auto value) -> Native {
    using T = decltype(value);
    if constexpr (cpu::kComplex<T>) {
      return nullptr;
    } else {
      return arg_kernel<T>(walk, maximum, ctx.in(1).dtype);
    }
  });
}

Result<Lowering> native_reduce(const OpContext& ctx) {
  TRY(Combiner combiner, Combiner::create(ctx));
  GeneralReduce reduce(ctx, std::move(combiner));
  const double nanoseconds = 30 * reduce.work();
  return native(std::move(reduce), nanoseconds);
}

}  // namespace jaxmps::ops
