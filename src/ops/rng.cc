#include "kernels/cpu/rng.h"

#include <cmath>
#include <numbers>

#include "kernels/cpu/dtype.h"
#include "ops/op.h"

namespace jaxmps::ops {
namespace {

// A float in [0, 1) from the high bits of a word.
double unit(uint64_t word) { return static_cast<double>(word >> 11) * 0x1p-53; }

template <typename T>
void fill_random(const void* a, const void* b, int64_t count, bool normal, void* out) {
  const T first = *static_cast<const T*>(a), second = *static_cast<const T*>(b);
  T* to = static_cast<T*>(out);
  std::vector<uint64_t> words(static_cast<size_t>(count) * (normal ? 2 : 1));
  cpu::system_random(static_cast<int64_t>(words.size()), words.data());
  for (int64_t i = 0; i < count; ++i) {
    if constexpr (std::is_integral_v<T>) {
      // Unsigned: the width of the interval may exceed the signed type.
      const uint64_t width = static_cast<uint64_t>(second) - static_cast<uint64_t>(first);
      const uint64_t at = static_cast<uint64_t>(first) + (width ? words[i] % width : 0);
      to[i] = static_cast<T>(at);
    } else {
      const double x = static_cast<double>(first), y = static_cast<double>(second);
      if (normal) {
        const double radius = std::sqrt(-2 * std::log(1 - unit(words[2 * i])));
        const double angle = 2 * std::numbers::pi * unit(words[2 * i + 1]);
        to[i] = static_cast<T>(x + y * radius * std::cos(angle));
      } else {
        to[i] = static_cast<T>(x + (y - x) * unit(words[i]));
        if (!(to[i] < second) && first < second) to[i] = first;  // rounded up to the open end
      }
    }
  }
}

using Fill = void (*)(const void*, const void*, int64_t, bool, void*);
Fill fill_of(DType dtype) {
  if (dtype == DType::pred) return nullptr;
  return cpu::with_element(dtype, [](auto element) -> Fill {
    if constexpr (cpu::kComplex<decltype(element)>) {
      return nullptr;
    } else {
      return fill_random<decltype(element)>;
    }
  });
}

}  // namespace

OP(rng_bit_generator) {
  const ir::Type& type = ctx.out(1);
  if (!ir::is_int(type.dtype)) return ctx.fail("only integers are generated");
  const int bytes = ir::byte_size(type.dtype);
  const bool threefry =
      ctx.op.enum_attr<ir::RngAlgorithm>("rng_algorithm") == ir::RngAlgorithm::three_fry;
  // A state of u32[4] holds the two u64 words.
  const int words = static_cast<int>(ctx.in(0).byte_count() / 8);
  if (words < 2 || words > (threefry ? 2 : 3) || ctx.in(0).byte_count() % 8 != 0) {
    return ctx.fail("the state has another size than the algorithm's");
  }
  Native kernel = [=, dims = type.dims, count = type.size()](const void* const* in,
                                                             void* const* out) {
    const uint64_t* state = static_cast<const uint64_t*>(in[0]);
    uint64_t* next = static_cast<uint64_t*>(out[0]);
    if (threefry) {
      cpu::threefry_bits(dims, bytes, state, next, out[1]);
    } else {
      cpu::philox_bits(count, bytes, words, state, next, out[1]);
    }
  };
  return everywhere(ctx, std::move(kernel), 50 + 3.0 * static_cast<double>(type.size()));
}

OP(rng) {
  const auto distribution = ctx.op.enum_attr<ir::RngDistribution>("rng_distribution");
  const bool normal = distribution == ir::RngDistribution::normal;
  const Fill fill = fill_of(ctx.out().dtype);
  if (!fill || (normal && ir::is_int(ctx.out().dtype))) return ctx.fail("no such distribution");
  return everywhere(
      ctx,
      [=, count = ctx.out().size()](const void* const* in, void* const* out) {
        fill(in[0], in[1], count, normal, out[0]);
      },
      50 + 30.0 * static_cast<double>(ctx.out().size()));
}

}  // namespace jaxmps::ops
