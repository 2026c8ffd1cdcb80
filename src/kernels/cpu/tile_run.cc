#include <algorithm>
#include <cstring>
#include <new>

#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/tile_program.h"

namespace jaxmps::cpu {
namespace {

using Impl = TileKernel::Impl;

constexpr int kMaxAxes = 60;
constexpr int64_t kBlock =
    64;  // tiles summed one after the other before a partial sum is set aside
constexpr double kInline = 30e3;  // nanoseconds

// One thread's view of a run.
struct Context {
  const Impl& k;
  const void* const* inputs;
  void* const* outputs;
  char* uniform;
  char* group;
  char* tile;
  char** at;            // address per entry
  int64_t i[kMaxAxes];  // the point where the tile or group starts
  int64_t chunk_length = 1;
  int64_t panel = -1;  // the panel of groups that is in memory

  void init() {
    char* areas[] = {uniform, group, tile, nullptr};
    for (size_t e = 0; e < k.entries.size(); ++e) {
      const Entry& entry = k.entries[e];
      at[e] = areas[static_cast<int>(entry.area)] + entry.offset;
    }
    for (size_t a = 0; a < k.dims.size(); ++a) i[a] = 0;
  }

  void set_axes(int begin, int end, int64_t linear) {
    for (int a = end - 1; a >= begin; --a) {
      const int64_t extent = k.dims[static_cast<size_t>(a)];
      if (a == begin) {
        i[a] = linear;
        break;
      }
      i[a] = linear % extent;
      linear /= extent;
    }
  }

  int64_t position(int64_t offset, const std::vector<int64_t>& strides) const {
    for (size_t a = 0; a < strides.size(); ++a) offset += strides[a] * i[a];
    return offset;
  }

  void bind(const Binding& b, int64_t red_start) {
    if (b.kind == Binding::Kind::input) {
      const Access& access = k.accesses[static_cast<size_t>(b.index)];
      at[b.entry] = static_cast<char*>(const_cast<void*>(inputs[access.input])) +
                    position(access.offset, access.strides) * b.size;
    } else if (b.kind == Binding::Kind::output) {
      const OutputPart& part = k.parts[static_cast<size_t>(b.index)];
      at[b.entry] =
          static_cast<char*>(outputs[part.output]) + position(part.offset, part.strides) * b.size;
    } else if (b.kind == Binding::Kind::row) {
      at[b.entry] = tile + b.offset + red_start * b.size;
    } else {
      const int64_t line = i[k.red_begin - 1] % kPanel;
      at[b.entry] = tile + b.offset + (line * panel_pitch(k.red_count) + red_start) * b.size;
    }
  }

  void fill_panels();

  // Calls run(points, positions along the last axis) for each straight run of n tile elements.
  template <typename Run>
  void walk(int64_t n, Run run) {
    const int rank = static_cast<int>(k.dims.size());
    if (rank == 0) return run(i, int64_t{1});
    int64_t at_axis[kMaxAxes];
    std::memcpy(at_axis, i, sizeof(int64_t) * static_cast<size_t>(rank));
    const int last = rank - 1;
    // The result of a reduction over nothing is one point of an axis without any.
    if (n == 1 || k.tile_begin == rank) return run(at_axis, int64_t{1});
    while (n > 0) {
      const int64_t length = std::min(n, k.dims[static_cast<size_t>(last)] - at_axis[last]);
      run(at_axis, length);
      n -= length;
      at_axis[last] += length;
      for (int a = last; a > k.tile_begin && at_axis[a] == k.dims[static_cast<size_t>(a)]; --a) {
        at_axis[a] = 0;
        ++at_axis[a - 1];
      }
    }
  }

  void load(const Step& step, int64_t n);
  void store(const Step& step, int64_t n);
  void execute(const std::vector<Step>& steps, int64_t n);
};

void fill_index(char* dst, bool wide, int64_t start, int64_t stride, int64_t n) {
  if (wide) {
    int64_t* d = reinterpret_cast<int64_t*>(dst);
    for (int64_t j = 0; j < n; ++j) d[j] = start + stride * j;
  } else {
    int32_t* d = reinterpret_cast<int32_t*>(dst);
    const int32_t first = static_cast<int32_t>(start), by = static_cast<int32_t>(stride);
    for (int32_t j = 0; j < static_cast<int32_t>(n); ++j) d[j] = first + by * j;
  }
}

// One straight run of an access: lo and hi are the part of it that lies inside the bounds.
void load_run(Context& c, const Access& access, int size, const int64_t* point, int64_t lo,
              int64_t hi, int64_t length, char* dst) {
  const int64_t stride = access.strides.empty() ? 0 : access.strides.back();
  if (access.kind == Access::Kind::inside) {
    std::memset(dst, 0, static_cast<size_t>(length));
    std::memset(dst + lo, 1, static_cast<size_t>(hi - lo));
    return;
  }
  int64_t position = access.offset;
  for (size_t a = 0; a < access.strides.size(); ++a) position += access.strides[a] * point[a];
  if (access.kind == Access::Kind::index)
    return fill_index(dst, size == 8, position, stride, length);
  if (lo > 0) std::memset(dst, 0, static_cast<size_t>(lo * size));
  if (hi < length) std::memset(dst + hi * size, 0, static_cast<size_t>((length - hi) * size));
  if (hi <= lo) return;
  const char* src =
      static_cast<const char*>(c.inputs[access.input]) + (position + lo * stride) * size;
  char* to = dst + lo * size;
  if (stride == 1) {
    std::memcpy(to, src, static_cast<size_t>((hi - lo) * size));
  } else if (stride == 0) {
    uint64_t bits = 0;
    std::memcpy(&bits, src, static_cast<size_t>(size));
    c.k.table->fill(to, bits, hi - lo, size);
  } else {
    c.k.table->gather(to, src, stride, hi - lo, size);
  }
}

void Context::load(const Step& step, int64_t n) {
  const Access& access = k.accesses[static_cast<size_t>(step.access)];
  const int size = ir::byte_size(access.type);
  const int last = static_cast<int>(k.dims.size()) - 1;
  char* dst = at[step.dst];
  auto run = [&](const int64_t* point, int64_t length) {
    int64_t lo = 0, hi = length;
    for (const kernels::Bound& b : access.bounds) {
      if (b.axis == last && !step.single) {
        lo = std::max(lo, b.lo - point[last]);
        hi = std::min(hi, b.hi - point[last]);
      } else if (point[b.axis] < b.lo || point[b.axis] >= b.hi) {
        hi = 0;
      }
    }
    lo = std::min(lo, length);
    hi = std::max(hi, lo);
    load_run(*this, access, size, point, lo, hi, length, dst);
    dst += length * size;
  };
  if (step.single)
    run(i, 1);
  else
    walk(n, run);
}

template <typename T>
void scatter(char* dst, const char* src, int64_t stride, int64_t n) {
  T* d = reinterpret_cast<T*>(dst);
  const T* s = reinterpret_cast<const T*>(src);
  for (int64_t j = 0; j < n; ++j) d[j * stride] = s[j];
}

void Context::store(const Step& step, int64_t n) {
  const OutputPart& part = k.parts[static_cast<size_t>(step.access)];
  const int64_t stride = part.strides.empty() ? 1 : part.strides.back();
  const char* src = at[step.a];
  const int size = part.size;
  uint64_t bits = 0;
  if (step.single) std::memcpy(&bits, src, static_cast<size_t>(size));
  walk(n, [&](const int64_t* point, int64_t length) {
    int64_t position = part.offset;
    for (size_t a = 0; a < part.strides.size(); ++a) position += part.strides[a] * point[a];
    char* dst = static_cast<char*>(outputs[part.output]) + position * size;
    if (step.single && (stride == 1 || length == 1)) {
      k.table->fill(dst, bits, length, size);
    } else if (step.single) {
      for (int64_t j = 0; j < length; ++j) {
        std::memcpy(dst + j * stride * size, &bits, static_cast<size_t>(size));
      }
    } else if (stride == 1) {
      if (dst != src) std::memcpy(dst, src, static_cast<size_t>(length * size));
    } else {
      switch (size) {
        case 1:
          scatter<uint8_t>(dst, src, stride, length);
          break;
        case 2:
          scatter<uint16_t>(dst, src, stride, length);
          break;
        case 4:
          scatter<uint32_t>(dst, src, stride, length);
          break;
        default:
          scatter<uint64_t>(dst, src, stride, length);
          break;
      }
    }
    if (!step.single) src += length * size;
  });
}

template <typename T>
void turn(T* panel, const T* source, int64_t stride, int64_t lines, int64_t length) {
  const int64_t pitch = panel_pitch(length);
  if (lines < kPanel) {
    for (int64_t line = 0; line < lines; ++line) {
      for (int64_t r = 0; r < length; ++r) panel[line * pitch + r] = source[r * stride + line];
    }
    return;
  }
  constexpr int64_t kAhead = 16;  // strides of pages are beyond what the hardware foresees
  for (int64_t r = 0; r < length; ++r) {
    __builtin_prefetch(source + std::min(r + kAhead, length - 1) * stride);
    for (int64_t line = 0; line < kPanel; ++line)
      panel[line * pitch + r] = source[r * stride + line];
  }
}

// Makes the panels of the current group present.
void Context::fill_panels() {
  const int axis = k.red_begin - 1;
  const int64_t extent = k.dims[static_cast<size_t>(axis)];
  int64_t wanted = 0;
  for (int a = 0; a < axis; ++a) wanted = wanted * k.dims[static_cast<size_t>(a)] + i[a];
  wanted = wanted * ((extent + kPanel - 1) / kPanel) + i[axis] / kPanel;
  if (wanted == panel) return;
  panel = wanted;
  const int64_t here = i[axis], start = here / kPanel * kPanel, red = i[k.red_begin];
  i[axis] = start;
  i[k.red_begin] = 0;
  const int64_t lines = std::min(kPanel, extent - start);
  for (const Binding& b : k.panels) {
    const Access& access = k.accesses[static_cast<size_t>(b.index)];
    const char* source = static_cast<const char*>(inputs[access.input]) +
                         position(access.offset, access.strides) * b.size;
    char* to = tile + b.offset;
    const int64_t stride = access.strides.back();
    switch (b.size) {
      case 1:
        turn(reinterpret_cast<uint8_t*>(to), reinterpret_cast<const uint8_t*>(source), stride,
             lines, k.red_count);
        break;
      case 2:
        turn(reinterpret_cast<uint16_t*>(to), reinterpret_cast<const uint16_t*>(source), stride,
             lines, k.red_count);
        break;
      case 4:
        turn(reinterpret_cast<uint32_t*>(to), reinterpret_cast<const uint32_t*>(source), stride,
             lines, k.red_count);
        break;
      default:
        turn(reinterpret_cast<uint64_t*>(to), reinterpret_cast<const uint64_t*>(source), stride,
             lines, k.red_count);
        break;
    }
  }
  i[axis] = here;
  i[k.red_begin] = red;
}

void Context::execute(const std::vector<Step>& steps, int64_t n) {
  for (const Step& s : steps) {
    const int64_t count = s.single ? 1 : n;
    switch (s.kind) {
      case Step::Kind::compute:
        s.fn(at[s.dst], s.a < 0 ? nullptr : at[s.a], s.b < 0 ? nullptr : at[s.b],
             s.c < 0 ? nullptr : at[s.c], count, s.imm);
        break;
      case Step::Kind::splat: {
        uint64_t bits = 0;
        std::memcpy(&bits, at[s.a], s.size);
        k.table->fill(at[s.dst], bits, n, s.size);
        break;
      }
      case Step::Kind::threefry: {
        const uint32_t* words[4];
        bool single[4];
        const int32_t entries[] = {s.a, s.b, s.c, s.d};
        for (int w = 0; w < 4; ++w) {
          words[w] = reinterpret_cast<const uint32_t*>(at[entries[w]]);
          single[w] = (s.singles >> w) & 1;
        }
        k.table->threefry(reinterpret_cast<uint32_t*>(at[s.dst]),
                          reinterpret_cast<uint32_t*>(at[s.dst2]), words, single, count);
        break;
      }
      case Step::Kind::load:
        load(s, n);
        break;
      case Step::Kind::store:
        store(s, n);
        break;
    }
  }
}

// --- reductions ---------------------------------------------------------------------------------

// How much of the accumulators of one walk is in use; the same for all reductions of a stage.
struct Progress {
  int64_t inner = 0, outer = 0;  // elements
  int64_t tiles = 0;             // in inner
};

void accumulate(Context& c, const Reduction& r, int64_t n, bool row, bool first) {
  const char* x = c.at[r.operand];
  if (r.operand_single) {
    uint64_t bits = 0;
    std::memcpy(&bits, x, r.size);
    c.k.table->fill(c.tile + r.spread, bits, n, r.size);
    x = c.tile + r.spread;
  }
  char* acc = c.tile + r.inner;
  if (!row) {
    if (first)
      std::memcpy(acc, x, static_cast<size_t>(n * r.size));
    else
      r.combine(acc, acc, x, nullptr, n, 0);
    return;
  }
  uint64_t folded;
  r.fold(&folded, x, nullptr, nullptr, n, 0);
  if (first)
    std::memcpy(acc, &folded, r.size);
  else
    r.combine(acc, acc, &folded, nullptr, 1, 0);
}

void set_aside(Context& c, const Stage& stage, Progress* p) {
  if (p->tiles == 0) return;
  for (const Reduction& r : stage.reductions) {
    char* inner = c.tile + r.inner;
    char* outer = c.tile + r.outer;
    if (p->outer == 0)
      std::memcpy(outer, inner, static_cast<size_t>(p->inner * r.size));
    else
      r.combine(outer, outer, inner, nullptr, p->inner, 0);
  }
  p->outer = std::max(p->outer, p->inner);
  p->inner = p->tiles = 0;
}

// Folds the rows of the outer accumulator pairwise into its first `chunk` elements.
void fold_rows(Context& c, const Reduction& r, int64_t live) {
  char* acc = c.tile + r.outer;
  const int64_t chunk = c.chunk_length;
  for (int64_t rows = live / chunk; rows > 1;) {
    const int64_t half = (rows + 1) / 2;
    r.combine(acc, acc, acc + half * chunk * r.size, nullptr, (rows - half) * chunk, 0);
    rows = half;
  }
}

void finish(Context& c, const Reduction& r, const void* total, bool any) {
  char* result = c.at[r.result];
  const int64_t chunk = c.chunk_length;
  uint64_t bits = 0;
  std::memcpy(&bits, c.at[r.init], r.size);
  c.k.table->fill(result, bits, chunk, r.size);
  if (any) r.combine(result, result, total, nullptr, chunk, 0);
  for (int64_t row = 1; row < c.k.rows && c.k.red_end < static_cast<int>(c.k.dims.size()); ++row) {
    std::memcpy(result + row * chunk * r.size, result, static_cast<size_t>(chunk * r.size));
  }
}

// Red positions [begin, end) of the current group; leaves sums in the outer accumulators and says
// how many of their elements are in use.
int64_t run_range(Context& c, const Stage& stage, int64_t begin, int64_t end) {
  const Impl& k = c.k;
  const bool row = k.red_end == static_cast<int>(k.dims.size());
  Progress p;
  for (int64_t r = begin; r < end;) {
    int64_t count = std::min(k.rows, end - r);
    if (k.clip) count = std::min(count, k.clip - r % k.clip);
    c.set_axes(k.red_begin, k.red_end, r);
    const int64_t n = row ? count : count * c.chunk_length;
    for (const Binding& b : stage.bindings) c.bind(b, r);
    c.execute(stage.steps, n);
    if (!stage.reductions.empty()) {
      for (const Reduction& reduction : stage.reductions) {
        accumulate(c, reduction, n, row, p.tiles == 0);
      }
      p.inner = row ? 1 : std::max(p.inner, n);
      if (++p.tiles == kBlock) set_aside(c, stage, &p);
    }
    r += count;
  }
  set_aside(c, stage, &p);
  return p.outer;
}

void enter_group(Context& c, int64_t group) {
  const Impl& k = c.k;
  const int rank = static_cast<int>(k.dims.size());
  const int64_t chunk = group % k.chunks;
  c.set_axes(0, k.red_begin, group / k.chunks);
  for (int a = k.red_begin; a < k.red_end; ++a) c.i[a] = 0;
  if (k.red_end < rank) {
    c.set_axes(k.red_end, rank, chunk * k.chunk);
    c.chunk_length = std::min(k.chunk, k.inner_count - chunk * k.chunk);
  }
}

int64_t group_width(const Context& c) {
  const bool row = c.k.red_end == static_cast<int>(c.k.dims.size());
  return row ? 1 : c.k.rows * c.chunk_length;
}

void run_group(Context& c, int64_t group) {
  const Impl& k = c.k;
  enter_group(c, group);
  for (const Stage& stage : k.stages) {
    c.set_axes(k.red_begin, k.red_end, 0);
    if (!k.panels.empty()) c.fill_panels();
    c.execute(stage.group_steps, group_width(c));
    const int64_t live = run_range(c, stage, 0, k.red_count);
    for (const Reduction& r : stage.reductions) {
      fold_rows(c, r, live);
      finish(c, r, c.tile + r.outer, live > 0);
    }
  }
  c.set_axes(k.red_begin, k.red_end, 0);
  c.execute(k.final_steps, c.chunk_length);
}

// --- the whole run ------------------------------------------------------------------------------

int64_t up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

struct Run {
  const Impl& k;
  const void* const* inputs;
  void* const* outputs;
  char* uniform;

  int64_t context_bytes() const {
    return up(k.group_bytes) + up(k.tile_bytes) +
           up(static_cast<int64_t>(k.entries.size() * sizeof(char*)));
  }
  // A context in `memory`; with `shared`, its group area is another context's.
  Context context(char* memory, Context* shared) const {
    char* group = shared ? shared->group : memory;
    char* tile = memory + up(k.group_bytes);
    char** at = reinterpret_cast<char**>(tile + up(k.tile_bytes));
    Context c{k, inputs, outputs, uniform, group, tile, at, {}, 1, -1};
    c.init();
    if (shared) {
      std::memcpy(c.i, shared->i, sizeof c.i);
      c.chunk_length = shared->chunk_length;
    }
    return c;
  }

  void run_uniform(Context& c) const {
    for (auto [entry, bits] : k.constants) std::memcpy(c.at[entry], &bits, 8);
    c.execute(k.uniform_steps, 1);
  }

  bool over_groups() const {
    const int64_t cost = std::max<int64_t>(
        1, static_cast<int64_t>(k.element_cost * static_cast<double>(k.red_count * k.chunk)));
    int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(kInline * 2) / cost);
    if (!k.panels.empty()) grain = (grain + kPanel - 1) / kPanel * kPanel;
    return parallel_for(k.groups(), grain, [&](int64_t begin, int64_t end) {
      Scratch scratch(static_cast<size_t>(context_bytes()));
      Context c = context(scratch.as<char>(), nullptr);
      for (int64_t g = begin; g < end; ++g) run_group(c, g);
    });
  }

  // Loops: every segment of every group is on its own.
  bool over_loop_segments() const {
    const int64_t segments = (k.red_count + k.segment - 1) / k.segment;
    return parallel_for(k.groups() * segments, 1, [&](int64_t begin, int64_t end) {
      Scratch scratch(static_cast<size_t>(context_bytes()));
      Context c = context(scratch.as<char>(), nullptr);
      for (int64_t item = begin; item < end; ++item) {
        enter_group(c, item / segments);
        c.execute(k.stages[0].group_steps, group_width(c));
        const int64_t start = item % segments * k.segment;
        run_range(c, k.stages[0], start, std::min(start + k.segment, k.red_count));
      }
    });
  }

  // Few long groups: the segments of a stage run in parallel, and their results are combined in a
  // tree whose shape depends on their number only.
  bool over_segments(Context& c, char* partials) const {
    const int64_t segments = (k.red_count + k.segment - 1) / k.segment;
    std::vector<int64_t> live(static_cast<size_t>(segments));
    for (int64_t g = 0; g < k.groups(); ++g) {
      enter_group(c, g);
      for (const Stage& stage : k.stages) {
        c.set_axes(k.red_begin, k.red_end, 0);
        c.execute(stage.group_steps, group_width(c));
        const bool ok = parallel_for(segments, 1, [&](int64_t begin, int64_t end) {
          Scratch scratch(static_cast<size_t>(context_bytes()));
          Context mine = context(scratch.as<char>(), &c);
          for (int64_t s = begin; s < end; ++s) {
            const int64_t start = s * k.segment;
            const int64_t n =
                run_range(mine, stage, start, std::min(start + k.segment, k.red_count));
            for (const Reduction& r : stage.reductions) {
              fold_rows(mine, r, n);
              std::memcpy(partials + s * k.partial_bytes + r.partial, mine.tile + r.outer,
                          static_cast<size_t>(c.chunk_length * r.size));
            }
          }
        });
        if (!ok) return false;
        combine_partials(c, stage, partials, segments);
      }
      c.set_axes(k.red_begin, k.red_end, 0);
      c.execute(k.final_steps, c.chunk_length);
    }
    return true;
  }

  void combine_partials(Context& c, const Stage& stage, char* partials, int64_t segments) const {
    for (int64_t live = segments; live > 1;) {
      const int64_t half = (live + 1) / 2;
      for (int64_t s = 0; s + half < live; ++s) {
        for (const Reduction& r : stage.reductions) {
          char* a = partials + s * k.partial_bytes + r.partial;
          r.combine(a, a, a + half * k.partial_bytes, nullptr, c.chunk_length, 0);
        }
      }
      live = half;
    }
    for (const Reduction& r : stage.reductions) finish(c, r, partials + r.partial, segments > 0);
  }
};

bool is_empty(const Impl& k) {
  if (k.has_reductions) return k.outer_count == 0 || k.inner_count == 0;
  return k.outer_count == 0 || k.red_count == 0;
}

bool run_all(const Run& run, Context& c, double cost) {
  const Impl& k = run.k;
  run.run_uniform(c);
  const int64_t segments = k.red_count > k.segment ? (k.red_count + k.segment - 1) / k.segment : 1;
  if (cost < kInline || (k.groups() == 1 && segments == 1)) {
    for (int64_t g = 0; g < k.groups(); ++g) run_group(c, g);
    return true;
  }
  if (segments == 1 || !k.panels.empty() || (k.has_reductions && k.groups() >= 16))
    return run.over_groups();
  if (!k.has_reductions) return run.over_loop_segments();
  Scratch partials(static_cast<size_t>(std::max<int64_t>(64, segments * k.partial_bytes)));
  return run.over_segments(c, partials.as<char>());
}

}  // namespace

double TileKernel::nanoseconds() const {
  const Impl& k = *impl_;
  return k.element_cost * static_cast<double>(k.outer_count * k.red_count * k.inner_count) +
         10.0 * static_cast<double>(k.groups());
}

bool TileKernel::may_alias(int input, int output) const {
  return impl_->aliases[static_cast<size_t>(input)][static_cast<size_t>(output)];
}

bool TileKernel::run(const void* const* inputs, void* const* outputs) const {
  const Impl& k = *impl_;
  if (is_empty(k)) return true;
  Run run{k, inputs, outputs, nullptr};
  const int64_t bytes = up(k.uniform_bytes) + run.context_bytes();
  constexpr int64_t kStack = 16384;
  const double cost = nanoseconds();
  if (bytes <= kStack) {
    alignas(64) char memory[kStack];
    run.uniform = memory;
    Context c = run.context(memory + up(k.uniform_bytes), nullptr);
    return run_all(run, c, cost);
  }
  try {
    Scratch scratch(static_cast<size_t>(bytes));
    run.uniform = scratch.as<char>();
    Context c = run.context(scratch.as<char>() + up(k.uniform_bytes), nullptr);
    return run_all(run, c, cost);
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace jaxmps::cpu
