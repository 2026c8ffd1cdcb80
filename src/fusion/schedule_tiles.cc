// How the tile machine cuts a fusion: tiles of about a thousand elements.
#include <algorithm>

#include "fusion/schedule.h"

namespace jaxmps::fusion {
namespace {

constexpr int64_t kTile = 1024;     // elements
constexpr int64_t kSmallRow = 512;  // inner axes below this share a tile among walked positions

int64_t product(const ir::Dims& dims, int begin, int end) {
  return ir::element_count({dims.begin() + begin, dims.begin() + end});
}

Tiling tiling_of(const Fusion& f) {
  Tiling t;
  t.dims = f.dims;
  const int rank = static_cast<int>(f.dims.size());
  t.has_reductions = f.kind != Fusion::Kind::loop;
  if (t.has_reductions) {
    t.red_begin = f.reduced_begin;
    t.red_end = f.reduced_end;
  } else {
    // A long innermost axis is walked alone, so that what varies along the others is one value.
    t.red_end = rank;
    t.red_begin = rank >= 2 && f.dims.back() >= 256 ? rank - 1 : 0;
  }
  t.outer_count = product(f.dims, 0, t.red_begin);
  t.red_count = product(f.dims, t.red_begin, t.red_end);
  t.inner_count = product(f.dims, t.red_end, rank);
  t.tile_begin = t.red_begin;
  if (t.red_end < rank) {
    const int64_t n = t.inner_count;
    t.rows = n <= kSmallRow && n > 0 ? std::max<int64_t>(1, std::min(kTile / n, t.red_count)) : 1;
    t.chunks = n <= kTile ? 1 : (n + kTile - 1) / kTile;
    t.chunk = std::max<int64_t>(1, (n + t.chunks - 1) / t.chunks);
    if (t.rows == 1) t.tile_begin = t.red_end;
    t.width = t.rows * t.chunk;
    return t;
  }
  int64_t extent = t.red_count;
  if (t.red_end - t.red_begin > 1 && f.dims.back() >= 128) {
    t.clip = extent = f.dims.back();
    t.tile_begin = rank - 1;
  }
  // Equal tiles rather than full ones and a rest.
  const int64_t tiles = std::max<int64_t>(1, (extent + kTile - 1) / kTile);
  const int64_t even = (extent + tiles - 1) / tiles;
  t.rows = std::clamp<int64_t>(t.clip || tiles < 4 ? (even + 15) / 16 * 16 : kTile, 1, kTile);
  t.width = t.rows = std::min(t.rows, std::max<int64_t>(1, t.red_count));
  return t;
}

}  // namespace

FusionSchedule FusionSchedule::for_tiles(const Fusion& fusion) {
  Tiling tiling = tiling_of(fusion);
  FusionSchedule schedule(fusion, tiling.red_begin, tiling.red_end);
  schedule.tiling_ = std::move(tiling);
  return schedule;
}

}  // namespace jaxmps::fusion
