#include "support/random_fusion.h"

#include <gtest/gtest.h>

#include <cmath>

namespace jaxmps::test {

double as_double(DType dtype, const uint8_t* at) {
  switch (dtype) {
    case DType::f32: {
      float v;
      std::memcpy(&v, at, 4);
      return v;
    }
    case DType::f64: {
      double v;
      std::memcpy(&v, at, 8);
      return v;
    }
    case DType::bf16: {
      uint16_t h;
      std::memcpy(&h, at, 2);
      uint32_t u = uint32_t(h) << 16;
      float v;
      std::memcpy(&v, &u, 4);
      return v;
    }
    default:
      ADD_FAILURE();
      return 0;
  }
}

// Integers, predicates: bits. Floats: within a tolerance, as sums are ordered freely.
void expect_equal(const Type& type, const Buffer& want, const Buffer& have, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(want.size(), have.size());
  if (!ir::is_float(type.dtype) && !ir::is_complex(type.dtype)) {
    EXPECT_EQ(want, have) << what;
    return;
  }
  const DType real = ir::real_type(type.dtype);
  const size_t size = static_cast<size_t>(ir::byte_size(real));
  double scale = 1;  // differences that cancelled are as exact as what they were made of
  for (size_t n = 0; n < want.size(); n += size) {
    const double w = std::fabs(as_double(real, &want[n]));
    if (std::isfinite(w)) scale = std::max(scale, w);
  }
  for (size_t n = 0; n < want.size(); n += size) {
    const double w = as_double(real, &want[n]), h = as_double(real, &have[n]);
    if (std::isnan(w) && std::isnan(h)) continue;
    if (w == h) continue;
    ASSERT_LE(std::fabs(w - h), tolerance * scale)
        << what << " element " << n / size << ": " << w << " " << h;
  }
}

Buffer random_buffer(const Type& type, std::mt19937& rng) {
  Buffer b(static_cast<size_t>(type.byte_count()));
  std::normal_distribution<double> normal(0, 2);
  const DType real = ir::real_type(type.dtype);
  const size_t size = static_cast<size_t>(ir::byte_size(real));
  for (size_t n = 0; n < b.size(); n += size) {
    if (real == DType::f32) {
      float v = static_cast<float>(normal(rng));
      std::memcpy(&b[n], &v, 4);
    } else if (real == DType::f64) {
      double v = normal(rng);
      std::memcpy(&b[n], &v, 8);
    } else if (real == DType::bf16) {
      float v = static_cast<float>(normal(rng));
      std::memcpy(&b[n], reinterpret_cast<char*>(&v) + 2, 2);
    } else if (real == DType::pred)
      b[n] = rng() & 1;
    else {
      uint64_t v = rng() % 200;
      std::memcpy(&b[n], &v, size);
    }
  }
  return b;
}

namespace {

// Grows a random expression of one shape with index maps in it.
class Random {
 public:
  Random(Graph* g, uint32_t seed) : g_(*g), rng_(seed) {}
  int pick(int n) { return static_cast<int>(rng_() % static_cast<uint32_t>(n)); }
  DType dtype() {
    static constexpr DType k[] = {DType::f32,  DType::f32, DType::f32, DType::s32,
                                  DType::bf16, DType::f64, DType::u8,  DType::c64};
    return k[pick(8)];
  }

  V leaf(DType t, const Dims& dims) {
    switch (pick(6)) {
      case 0:
        if (t == DType::f32) return g_.splat(t, dims, 0.75f);
        break;
      case 1:
        if (!dims.empty())
          return g_.op(
              OpId::iota, {}, Type(t, dims),
              {{"iota_dimension", ir::Attr(int64_t{pick(static_cast<int>(dims.size()))})}});
        break;
      default:
        break;
    }
    return g_.arg(t, dims);
  }

  V grow(DType t, const Dims& dims, int depth) {
    if (depth == 0) return leaf(t, dims);
    const bool real_float = ir::is_float(t), is_int = ir::is_int(t);
    switch (pick(17)) {
      case 0:
      case 1:
        return g_.same(OpId::add, {grow(t, dims, depth - 1), grow(t, dims, depth - 1)});
      case 2:
        return g_.same(OpId::multiply, {grow(t, dims, depth - 1), grow(t, dims, depth - 1)});
      case 3:
        return g_.same(OpId::subtract, {grow(t, dims, depth - 1), grow(t, dims, depth - 1)});
      case 4:
        return g_.same(real_float ? OpId::tanh : OpId::negate, {grow(t, dims, depth - 1)});
      case 5:
        if (ir::is_complex(t)) break;
        return g_.same(OpId::maximum, {grow(t, dims, depth - 1), grow(t, dims, depth - 1)});
      case 6: {
        if (ir::is_complex(t)) break;
        V p = g_.compare(grow(t, dims, depth - 1), grow(t, dims, 0),
                         static_cast<ir::CompareDirection>(pick(6)));
        V yes = grow(t, dims, depth - 1);
        return g_.op(OpId::select, {p, yes, grow(t, dims, 0)}, Type(t, dims));
      }
      case 7: {
        const DType from = is_int ? DType::u8 : DType::f32;
        return g_.convert(grow(from, dims, depth - 1), t);
      }
      case 8: {  // broadcast of some of the dimensions
        Dims small;
        ir::Ints to;
        for (size_t d = 0; d < dims.size(); ++d) {
          const int how = pick(3);
          if (how == 0) continue;
          small.push_back(how == 1 ? 1 : dims[d]);
          to.push_back(static_cast<int64_t>(d));
        }
        return g_.broadcast(grow(t, small, depth - 1), dims, to);
      }
      case 9: {
        ir::Ints permutation(dims.size());
        Dims from(dims.size());
        for (size_t d = 0; d < dims.size(); ++d) permutation[d] = static_cast<int64_t>(d);
        std::shuffle(permutation.begin(), permutation.end(), rng_);
        for (size_t d = 0; d < dims.size(); ++d)
          from[static_cast<size_t>(permutation[d])] = dims[d];
        return g_.transpose(grow(t, from, depth - 1), permutation);
      }
      case 10: {
        if (dims.empty()) break;
        Dims from = dims;
        ir::Ints start, limit, strides;
        for (int64_t& d : from) {
          const int64_t stride = 1 + pick(3), low = pick(3);
          start.push_back(low);
          strides.push_back(stride);
          limit.push_back(low + (d - 1) * stride + 1);
          d = limit.back() + pick(2);
        }
        return g_.op(OpId::slice, {grow(t, from, depth - 1)}, Type(t, dims),
                     {{"limit_indices", ir::Attr(limit)},
                      {"start_indices", ir::Attr(start)},
                      {"strides", ir::Attr(strides)}});
      }
      case 11: {
        ir::Ints axes;
        for (size_t d = 0; d < dims.size(); ++d)
          if (pick(2)) axes.push_back(static_cast<int64_t>(d));
        return g_.op(OpId::reverse, {grow(t, dims, depth - 1)}, Type(t, dims),
                     {{"dimensions", ir::Attr(axes)}});
      }
      case 12: {
        Dims from = dims;
        ir::Ints low, high, interior(dims.size(), 0);
        for (int64_t& d : from) {
          low.push_back(d > 2 ? pick(3) - 1 : 0);
          high.push_back(d > 4 ? pick(3) - 1 : 0);
          d -= low.back() + high.back();
        }
        V x = grow(t, from, depth - 1);
        return g_.op(OpId::pad, {x, g_.arg(t, {})}, Type(t, dims),
                     {{"edge_padding_high", ir::Attr(high)},
                      {"edge_padding_low", ir::Attr(low)},
                      {"interior_padding", ir::Attr(interior)}});
      }
      case 13: {
        if (dims.empty()) break;
        const int dim = pick(static_cast<int>(dims.size()));
        const int64_t n = dims[static_cast<size_t>(dim)];
        if (n < 3) break;
        std::vector<V> pieces;
        for (int64_t part : {int64_t{1}, n / 2, n - 1 - n / 2}) {
          Dims from = dims;
          from[static_cast<size_t>(dim)] = part;
          if (part > 0) pieces.push_back(grow(t, from, depth - 1));
        }
        return g_.op(OpId::concatenate, pieces, Type(t, dims),
                     {{"dimension", ir::Attr(int64_t{dim})}});
      }
      case 14: {  // merge or split dimensions
        Dims flat = {ir::element_count(dims)};
        return g_.reshape(grow(t, flat, depth - 1), dims);
      }
      case 15:
        if (!dims.empty()) return gather(t, dims, depth);
        break;
      default:
        break;
    }
    return g_.same(real_float ? OpId::logistic : OpId::add,
                   real_float ? std::vector{grow(t, dims, depth - 1)}
                              : std::vector{grow(t, dims, 0), grow(t, dims, 0)});
  }

  // Slices, or single elements, of an array that is read as it is or converted; some starts lie
  // outside.
  V gather(DType t, const Dims& dims, int depth) {
    static constexpr DType kTypes[] = {DType::s32, DType::s32, DType::s64, DType::u8,
                                       DType::s8,  DType::u32, DType::u64};
    const DType index = kTypes[pick(7)];
    const int64_t rank = static_cast<int64_t>(dims.size()), along = pick(static_cast<int>(rank));
    const size_t d = static_cast<size_t>(along);
    Dims from = dims;
    from[d] = 1 + pick(30);
    auto source = [&](const Dims& of) {
      return pick(3) || t != DType::f32 ? g_.arg(t, of) : g_.convert(g_.arg(DType::s32, of), t);
    };
    const int form = pick(3);
    if (form == 0) return g_.take(source(from), grow(index, {dims[d]}, depth - 1), along);
    Dims of_indices = dims;
    ir::GatherDims n;
    n.slice_sizes.assign(dims.size(), 1);
    n.index_vector_dim = rank;
    if (form == 1) {  // along one dimension, the others go along
      of_indices.push_back(1);
      n.collapsed = n.index_map = {along};
      for (int64_t k = 0; k < rank; ++k) {
        if (k == along) continue;
        n.operand_batching.push_back(k);
        n.indices_batching.push_back(k);
      }
      return g_.gather(source(from), grow(index, of_indices, depth - 1), dims, n);
    }
    // Two components; slices of the last dimension that start anywhere.
    of_indices = {dims[0], 2};
    from = dims;
    from[0] = 5;
    n = {{}, {0}, {}, {}, {0}, 1, dims};
    n.slice_sizes[0] = 1;
    if (rank > 1) {
      from.back() += 4;
      n.index_map.push_back(rank - 1);
      for (int64_t k = 1; k < rank; ++k) n.window_dims.push_back(k);
    } else {
      of_indices[1] = 1;
    }
    return g_.gather(source(from), grow(index, of_indices, depth - 1), dims, n);
  }

  Dims dims() {
    static const Dims k[] = {{},          {1},      {7},       {1000},    {5000},
                             {3, 4},      {33, 65}, {4, 300},  {2, 3, 5}, {2, 3, 1, 5},
                             {16, 3, 31}, {1, 1},   {5, 1024}, {70, 1}};
    return k[pick(14)];
  }

 private:
  Graph& g_;
  std::mt19937 rng_;
};

}  // namespace

DType random_loop(Graph* g, uint32_t seed, bool with_float64) {
  Random random(g, seed);
  const Dims dims = random.dims();
  DType t = random.dtype();
  if (t == DType::f64 && !with_float64) t = DType::f32;
  g->ret({random.grow(t, dims, 1 + random.pick(4))});
  return t;
}

void random_reduction(Graph* g, uint32_t seed) {
  Random random(g, seed + 1000);
  static const Dims kShapes[] = {{10},         {5000},    {70000},   {6, 10},     {10, 3000},
                                 {3000, 10},   {300, 70}, {4, 5, 6}, {9, 4, 300}, {2, 40, 3, 50},
                                 {5, 2000, 3}, {1, 7},    {3, 1500}};
  const Dims dims = kShapes[random.pick(13)];
  const DType t = random.pick(4) == 0 ? DType::s32 : random.pick(6) == 0 ? DType::c64 : DType::f32;
  V x = random.grow(t, dims, 2);
  V y = random.grow(t, dims, 1);
  ir::Ints axes;
  for (size_t d = 0; d < dims.size(); ++d)
    if (random.pick(2)) axes.push_back(static_cast<int64_t>(d));
  V sum = g->reduce(OpId::add, x, g->arg(t, {}), axes);
  V other = g->reduce(t == DType::c64  ? OpId::add
                      : random.pick(2) ? OpId::maximum
                                       : OpId::minimum,
                      y, g->arg(t, {}), axes);
  std::vector<V> results = {sum};
  if (random.pick(2)) results.push_back(g->same(OpId::add, {g->same(OpId::negate, {other}), sum}));
  if (random.pick(2)) {  // back along what was reduced
    ir::Ints to;
    for (size_t d = 0; d < dims.size(); ++d)
      if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) == axes.end())
        to.push_back(static_cast<int64_t>(d));
    V z = g->same(OpId::subtract, {x, g->broadcast(other, dims, to)});
    results.push_back(g->same(OpId::multiply, {z, y}));
    if (random.pick(2))
      results.push_back(g->reduce(OpId::add, g->same(OpId::add, {z, z}), g->arg(t, {}), axes));
  }
  g->ret(results);
}

}  // namespace jaxmps::test
