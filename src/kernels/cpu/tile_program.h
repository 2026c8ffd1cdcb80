// What compile_tile makes of a fusion and what run() walks. Internal to the tile machine.
//
// Within a group of the tiling the walked axes are walked in tiles, once per stage; a stage ends in
// reductions whose results the next ones use. A loop is the case without reductions, whose walked
// axes are its innermost ones. Immutable after compile_tile; all memory that changes belongs to a
// run.
#pragma once

#include <string>
#include <vector>

#include "fusion/schedule.h"
#include "kernels/cpu/tile.h"
#include "kernels/cpu/vec.h"

namespace jaxmps::cpu {

using kernels::Access;
using kernels::Fusion;
using kernels::FusionOutput;
using kernels::ScalarInstr;

// A buffer that steps name by number; every context of a run has a table of their addresses.
struct Entry {
  // uniform: same for the whole run; group: for one group; tile: scratch of one thread; bound: set
  // for each tile (direct loads and stores, row buffers).
  enum class Area : uint8_t { uniform, group, tile, bound };
  Area area;
  int64_t offset = 0;  // bytes into the area
};

// The operand of a load that gathers: where each element is moved to.
struct Shift {
  int32_t entry = -1;    // none
  bool wide = false;     // of 64 bits
  bool single = false;   // one number for a whole tile,
  bool runs = false;     // for each run along the last axis, or for each element
  bool batched = false;  // single, the one of the next group behind it
};

struct Step {
  enum class Kind : uint8_t { compute, threefry, load, store };
  Kind kind = Kind::compute;
  bool single = false;  // of one element
  uint8_t size = 4;     // bytes of an element that load and store move
  VecFn fn = nullptr;
  uint64_t imm = 0;
  int32_t dst = -1, a = -1, b = -1, c = -1, d = -1;  // entries
  int32_t dst2 = -1;                                 // threefry's second word
  uint8_t singles = 0;                               // threefry: which words are single
  int32_t access = -1;                               // load: the access; store: the output part
  Shift shift = {};                                  // load: how much further on it reads
};

// Sets an entry to where the tile starts in an input, an output part or a row buffer.
struct Binding {
  // panel: an input whose elements lie along the last outer axis rather than along the tile; a
  // panel of kPanel groups is turned around at once.
  enum class Kind : uint8_t { input, output, row, panel };
  Kind kind;
  int32_t entry;
  int32_t index;  // access or output part
  uint8_t size;
  int64_t offset = 0;  // row, panel: bytes into the tile area
  // input, output: the buffer, and where in it the tile of the first point starts, in bytes
  int32_t buffer = -1;
  int64_t first = 0;
  Shift shift = {};  // input: single, and known before the tiles of a group
  // What is far away: bytes of a tile, and from there to the next one's.
  int64_t tile_bytes = 0, to_next = 0;
};
inline constexpr int64_t kPanel = 16;
// Elements from one line of a panel to the next: off by a cache line or more, so that lines of a
// power of two do not fall on the same cache sets.
inline int64_t panel_pitch(int64_t length) { return (length + 127) / 64 * 64 + 16; }

// A value that depends on the outer axes only is computed for this many groups at once.
inline constexpr int64_t kBatch = 64;
struct Batched {
  int32_t entry;
  uint8_t size;
};

struct Reduction {
  int32_t operand, init, result;  // entries; result in the group area
  bool operand_single;
  uint8_t size;
  VecFn fold;            // a vector into one element
  VecFn combine;         // two vectors (or elements) into one
  int64_t inner, outer;  // accumulators, bytes into the tile area
  int64_t spread;        // scratch for a single operand, bytes into the tile area
  int64_t partial;       // bytes into one segment's partial results
};

struct Stage {
  std::vector<Step> group_steps;  // before the tiles
  std::vector<Binding> bindings;
  std::vector<Step> steps;  // for each tile
  std::vector<Reduction> reductions;
};

struct OutputPart : kernels::OutputPart {
  uint8_t size;  // of its elements, in bytes
};

struct TileKernel::Impl : kernels::Tiling {
  const VecTable* table = nullptr;
  int64_t segment = 0;      // red positions in one unit of parallel work
  double element_cost = 0;  // nanoseconds

  std::vector<Access> accesses;
  std::vector<OutputPart> parts;
  std::vector<Entry> entries;
  std::vector<std::pair<int32_t, uint64_t>> constants;  // entry, bits
  std::vector<Step> uniform_steps;
  std::vector<Step> batch_steps;
  std::vector<Batched> batched;  // what other steps read of their results
  std::vector<Stage> stages;
  std::vector<Step> final_steps;  // after the last stage of a group: its values and its outputs
  std::vector<Binding> panels;
  bool is_one_tile = false;   // each group
  bool is_small = false;      // and there is one group
  int64_t ahead_by_step = 0;  // bytes of next tiles that are asked for with each step
  int64_t uniform_bytes = 0, group_bytes = 0, tile_bytes = 0, partial_bytes = 0;
  std::vector<std::vector<bool>> aliases;  // [input][output]

  int64_t groups() const { return outer_count * chunks; }
};

// Bytes in whole lines of the cache.
inline int64_t whole_lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace jaxmps::cpu
