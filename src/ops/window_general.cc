// reduce_window on the CPU with any combiner and any number of operands.
#include <bit>
#include <cstring>
#include <new>

#include "kernels/cpu/threads.h"
#include "ops/combiner.h"
#include "ops/window.h"

namespace jaxmps::ops {
namespace {

class GeneralWindows {
 public:
  GeneralWindows(const OpContext& ctx, const WindowDims& dims, Combiner combiner)
      : dims_(dims),
        strides_(ir::row_major_strides(ctx.in(0).dims)),
        outputs_(ctx.out().size()),
        combiner_(std::move(combiner)),
        neutral_(is_neutral(ctx)) {
    for (const WindowDim& d : dims_) cells_ *= d.size;
    if (neutral_) scanned_ = scanned_dimension();
  }

  void operator()(const void* const* in, void* const* out) const {
    const bool ok = scanned_ >= 0 ? scan(in, out) : each(in, out);
    if (!ok) throw std::bad_alloc();
  }

  double work() const {
    return static_cast<double>(outputs_) * static_cast<double>(scanned_ >= 0 ? 1 : cells_);
  }

 private:
  // Whether the initial value changes nothing, as clients promise: tried on a few numbers.
  bool is_neutral(const OpContext& ctx) const {
    const size_t count = combiner_.count();
    Combiner::Call call(count);
    std::vector<ir::Dense> inits;
    for (size_t k = 0; k < count; ++k) {
      const ir::Op* op = ctx.op.operand(static_cast<int>(count + k))->op();
      if (!op || op->id != ir::OpId::constant) return false;
      inits.push_back(op->dense("value"));
    }
    for (const int number : {-3, -1, 0, 1, 2, 5}) {
      std::vector<std::array<uint8_t, 16>> values(count);
      std::vector<const void*> sample, init;
      for (size_t k = 0; k < count; ++k) {
        const ir::Dense& dense = inits[k];
        if (!sample_of(dense.type.dtype, number, values[k].data())) return false;
        sample.push_back(values[k].data());
        init.push_back(dense.data);
      }
      for (const bool before : {false, true}) {
        std::vector<Element> total(count), wanted(count);
        combiner_.set(total.data(), sample.data(), 0);
        wanted = total;
        combiner_.combine(call, total.data(), init.data(), 0, before);
        if (total != wanted) return false;
      }
    }
    return true;
  }

  static bool sample_of(DType dtype, int number, uint8_t* to) {
    switch (dtype) {
      case DType::f32:
        return put(static_cast<float>(number), to);
      case DType::f64:
        return put(static_cast<double>(number), to);
      case DType::bf16:
        return put(static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(number)) >> 16),
                   to);
      case DType::s32:
        return put(static_cast<int32_t>(number), to);
      case DType::s64:
        return put(static_cast<int64_t>(number), to);
      default:
        return false;
    }
  }
  template <typename T>
  static bool put(T value, uint8_t* to) {
    std::memcpy(to, &value, sizeof value);
    return true;
  }

  // The one dimension whose windows reach from every element to the first, or to the last; or -1.
  int scanned_dimension() const {
    int found = -1;
    for (size_t d = 0; d < dims_.size(); ++d) {
      const WindowDim& dim = dims_[d];
      if (dim.trivial()) continue;
      const bool plain = dim.stride == 1 && dim.base_dilation == 1 && dim.dilation == 1 &&
                         dim.size >= dim.input && dim.output == dim.input;
      const bool prefix = dim.low == dim.size - 1 && dim.high == 0;
      const bool suffix = dim.high == dim.size - 1 && dim.low == 0;
      if (found >= 0 || !plain || !(prefix || suffix)) return -1;
      found = static_cast<int>(d);
    }
    return found;
  }

  bool scan(const void* const* in, void* const* out) const {
    const auto axis = static_cast<size_t>(scanned_);
    const int64_t length = dims_[axis].input, stride = strides_[axis];
    const bool backward = dims_[axis].high > 0;
    const int64_t lines = outputs_ / std::max<int64_t>(1, length);
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, length));
    return cpu::parallel_for(lines, grain, [&](int64_t begin, int64_t end) {
      Combiner::Call call(combiner_.count());
      std::vector<Element> total(combiner_.count());
      for (int64_t line = begin; line < end; ++line) {
        const int64_t start = line / stride * stride * length + line % stride;
        for (int64_t i = 0; i < length; ++i) {
          const int64_t at = start + (backward ? length - 1 - i : i) * stride;
          if (i == 0) {
            combiner_.set(total.data(), in, at);
          } else {
            combiner_.combine(call, total.data(), in, at, backward);
          }
          combiner_.store(total.data(), out, at);
        }
      }
    });
  }

  bool each(const void* const* in, void* const* out) const {
    const size_t count = combiner_.count(), rank = dims_.size();
    const int64_t grain = std::max<int64_t>(1, kGrain / cells_);
    return cpu::parallel_for(outputs_, grain, [&](int64_t begin, int64_t end) {
      Combiner::Call call(count);
      std::vector<Element> total(count);
      for (int64_t i = begin; i < end; ++i) {
        combiner_.set(total.data(), in + count, 0);
        for (int64_t cell = 0; cell < cells_; ++cell) {
          int64_t rest = i, k = cell, at = 0;
          for (size_t d = rank; d-- > 0;) {
            const WindowDim& dim = dims_[d];
            const int source =
                dim.source(static_cast<int>(rest % dim.output), static_cast<int>(k % dim.size));
            rest /= dim.output;
            k /= dim.size;
            at = source < 0 || at < 0 ? -1 : at + source * strides_[d];
          }
          if (at >= 0) {
            combiner_.combine(call, total.data(), in, at);
          } else if (!neutral_) {
            combiner_.combine(call, total.data(), in + count, 0);  // padding
          }
        }
        combiner_.store(total.data(), out, i);
      }
    });
  }

  static constexpr int64_t kGrain = 512;  // calls of the program worth one task
  WindowDims dims_;
  ir::Dims strides_;
  int64_t outputs_, cells_ = 1;
  Combiner combiner_;
  bool neutral_;
  int scanned_ = -1;
};

}  // namespace

Result<Lowering> native_general_windows(const OpContext& ctx, const WindowDims& dims) {
  TRY(Combiner combiner, Combiner::create(ctx));
  GeneralWindows windows(ctx, dims, std::move(combiner));
  const double nanoseconds = 60 * windows.work();
  return native(std::move(windows), nanoseconds);
}

}  // namespace jaxmps::ops
