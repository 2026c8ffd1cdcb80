// Convolution with one channel a group, vectorised over the groups, and the simple form of every
// other type.

#include <algorithm>
#include <complex>
#include <new>
#include <type_traits>

#include "kernels/cpu/combine.h"
#include "kernels/cpu/conv_plan.h"
#include "kernels/cpu/micro.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

struct Position {
  int64_t combination, lhs, out;
};

// Every output position with its combination, and where it starts in lhs and out.
std::vector<Position> all_positions(const ConvLayout& plan) {
  std::vector<Position> all;
  for (int64_t c = 0; c < plan.combinations; ++c) {
    const auto classes = classes_of(plan, c);
    std::vector<Position> found{{c, 0, 0}};
    for (size_t d = 0; d < classes.size(); ++d) {
      std::vector<Position> longer;
      for (const Position& p : found) {
        for (int64_t s : classes[d]->outs) {
          const int64_t base = classes[d]->count > 0 ? plan.axes[d].base(*classes[d], s) : 0;
          longer.push_back({c, p.lhs + base, p.out + s * plan.axes[d].dim.out_stride});
        }
      }
      found = std::move(longer);
    }
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

// Calls body(position, taps) for positions in parallel; taps.window is in elements of rhs.
template <typename Body>
void for_positions(const ConvLayout& plan, const Body& body) {
  const std::vector<Position> all = all_positions(plan);
  const std::vector<int64_t> rhs_at = window_offsets(plan);
  const int64_t each = plan.batch * plan.groups * plan.outs * plan.ins * plan.windows;
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, each));
  parallel_for(static_cast<int64_t>(all.size()), grain, [&](int64_t begin, int64_t end) {
    ConvTaps taps;
    int64_t known = -1;
    for (int64_t i = begin; i < end; ++i) {
      if (all[i].combination != known) {
        known = all[i].combination;
        fill_taps(plan, classes_of(plan, known), 0, plan.axes[0].dim.kernel, taps);
        for (int64_t& window : taps.window) window = rhs_at[window];
      }
      body(all[i], taps);
    }
  });
}

template <typename T>
void plain(const ConvLayout& plan, const void* lhs_data, const void* rhs_data, void* out_data) {
  using S = Summed<T>;
  const T* lhs = static_cast<const T*>(lhs_data);
  const T* rhs = static_cast<const T*>(rhs_data);
  T* out = static_cast<T*>(out_data);
  const ConvShape& s = plan.shape;
  for_positions(plan, [&](const Position& at, const ConvTaps& taps) {
    for (int64_t g = 0; g < plan.groups; ++g) {
      for (int64_t b = 0; b < plan.batch; ++b) {
        const T* from = lhs + at.lhs + g * plan.lhs_group + b * s.lhs_batch;
        T* to = out + at.out + g * plan.out_group + b * s.out_batch;
        for (int64_t o = 0; o < plan.outs; ++o) {
          const T* kernel = rhs + g * plan.rhs_group + o * s.rhs_out;
          S sum{};
          for (size_t t = 0; t < taps.lhs.size(); ++t) {
            for (int64_t i = 0; i < plan.ins; ++i) {
              multiply_add(sum, static_cast<S>(from[taps.lhs[t] + i * s.lhs_feature]),
                           static_cast<S>(kernel[taps.window[t] + i * s.rhs_in]));
            }
          }
          to[o * s.out_feature] = static_cast<T>(sum);
        }
      }
    }
  });
}

}  // namespace

template <typename T>
void conv_lanes(const ConvLayout& plan, const T* lhs, const T* rhs, T* out) {
  for_positions(plan, [&](const Position& at, const ConvTaps& taps) {
    Tile<T, T> tile;
    tile.taps = taps.lhs.data();
    tile.b_taps = taps.window.data();
    tile.tap_count = static_cast<int64_t>(taps.lhs.size());
    tile.depth = plan.ins;
    tile.a_stride = plan.shape.lhs_feature;
    tile.b_stride = plan.shape.rhs_in;
    tile.b = rhs;
    tile.columns = plan.groups;
    for (int64_t b = 0; b < plan.batch; ++b) {
      T* to = out + at.out + b * plan.shape.out_batch;
      tile.base = lhs + at.lhs + b * plan.shape.lhs_batch;
      tile.c = &to;
      micro<T>().by_lane(tile);
    }
  });
}

template void conv_lanes(const ConvLayout&, const float*, const float*, float*);
template void conv_lanes(const ConvLayout&, const double*, const double*, double*);

void conv_plain(const ConvLayout& plan, const void* lhs, const void* rhs, void* out) {
  if (plan.shape.type == DType::pred) return plain<bool>(plan, lhs, rhs, out);
  with_element(plan.shape.type, [&](auto element) {
    using T = decltype(element);
    if constexpr (std::is_integral_v<T>) {
      plain<std::make_signed_t<T>>(plan, lhs, rhs, out);
    } else if constexpr (kComplex<T>) {
      plain<T>(plan, lhs, rhs, out);
    }  // real floats are never of this form
  });
}

}  // namespace jaxmps::cpu
