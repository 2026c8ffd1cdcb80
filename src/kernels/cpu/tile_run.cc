// Runs tile kernels: reductions, and how the work is cut for threads.
#include <new>

#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/tile_context.h"

namespace jaxmps::cpu {
namespace {

using Impl = TileKernel::Impl;

constexpr int64_t kBlock =
    64;  // tiles summed one after the other before a partial sum is set aside
constexpr double kInline = 30e3;  // nanoseconds

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

// Folds the rows of an accumulator pairwise into its first `chunk` elements.
void fold_rows(Context& c, const Reduction& r, char* acc, int64_t live) {
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
  if (chunk == 1)
    std::memcpy(result, &bits, r.size);
  else
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
        if (c.ahead_count > 0) c.look_ahead();
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
  if (k.batch_steps.empty()) return;
  c.outer = group / k.chunks;
  if (c.outer < c.batch_begin || c.outer >= c.batch_end) c.fill_batch();
  c.select_in_batch();
}

int64_t group_width(const Context& c) {
  const bool row = c.k.red_end == static_cast<int>(c.k.dims.size());
  return row ? 1 : c.k.rows * c.chunk_length;
}

// The tile of a stage that has no other.
void run_tile(Context& c, const Stage& stage, int64_t n, bool row) {
  c.execute(stage.steps, n);
  for (const Reduction& r : stage.reductions) {
    accumulate(c, r, n, row, true);
    if (!row) fold_rows(c, r, c.tile + r.inner, n);
    finish(c, r, c.tile + r.inner, true);
    if (c.ahead_count > 0) c.look_ahead();
  }
}

void run_group(Context& c, int64_t group) {
  const Impl& k = c.k;
  enter_group(c, group);
  const bool row = k.red_end == static_cast<int>(k.dims.size());
  for (const Stage& stage : k.stages) {
    c.set_axes(k.red_begin, k.red_end, 0);
    if (!k.panels.empty()) c.fill_panels();
    c.execute(stage.group_steps, group_width(c));
    if (k.is_one_tile) {
      for (const Binding& b : stage.bindings) c.bind(b, 0);
      run_tile(c, stage, row ? k.red_count : k.red_count * c.chunk_length, row);
      continue;
    }
    const int64_t live = run_range(c, stage, 0, k.red_count);
    for (const Reduction& r : stage.reductions) {
      fold_rows(c, r, c.tile + r.outer, live);
      finish(c, r, c.tile + r.outer, live > 0);
    }
  }
  c.set_axes(k.red_begin, k.red_end, 0);
  c.execute(k.final_steps, c.chunk_length);
}

// The only group of a small kernel; the same arithmetic as run_group.
void run_small(Context& c) {
  const Impl& k = c.k;
  const bool row = k.red_end == static_cast<int>(k.dims.size());
  const int64_t n = row ? k.red_count : k.red_count * k.inner_count;
  if (!k.uniform_steps.empty()) c.execute(k.uniform_steps, 1);
  for (const Stage& stage : k.stages) {
    if (!stage.group_steps.empty()) c.execute(stage.group_steps, group_width(c));
    for (const Binding& b : stage.bindings) {
      if (b.kind == Binding::Kind::input) {
        c.at[b.entry] = static_cast<char*>(const_cast<void*>(c.inputs[b.buffer])) + b.first +
                        c.shifted(b.shift, 0) * b.size;
      } else if (b.kind == Binding::Kind::output) {
        c.at[b.entry] = static_cast<char*>(c.outputs[b.buffer]) + b.first;
      } else {
        c.at[b.entry] = c.tile + b.offset;
      }
    }
    run_tile(c, stage, n, row);
  }
  if (!k.final_steps.empty()) c.execute(k.final_steps, c.chunk_length);
}

// --- the whole run ------------------------------------------------------------------------------

struct TileRun {
  const Impl& k;
  const void* const* inputs;
  void* const* outputs;
  char* uniform;

  int64_t context_bytes() const {
    return whole_lines(k.group_bytes) + whole_lines(k.tile_bytes) +
           whole_lines(static_cast<int64_t>(k.entries.size() * sizeof(char*)));
  }
  // A context in `memory`; with `shared`, its group area is another context's.
  Context context(char* memory, Context* shared) const {
    char* group = shared ? shared->group : memory;
    char* tile = memory + whole_lines(k.group_bytes);
    char** at = reinterpret_cast<char**>(tile + whole_lines(k.tile_bytes));
    Context c{k, inputs, outputs, uniform, group, tile, at, {}};
    c.init();
    if (shared) {
      std::memcpy(c.i, shared->i, sizeof c.i);
      c.chunk_length = shared->chunk_length;
      for (const Batched& b : k.batched) c.at[b.entry] = shared->at[b.entry];
    }
    return c;
  }

  void set_constants(Context& c) const {
    for (auto [entry, bits] : k.constants) std::memcpy(c.at[entry], &bits, 8);
  }

  void over_groups() const {
    const int64_t cost = std::max<int64_t>(
        1, static_cast<int64_t>(k.element_cost * static_cast<double>(k.red_count * k.chunk)));
    int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(kInline * 2) / cost);
    if (!k.panels.empty()) grain = (grain + kPanel - 1) / kPanel * kPanel;
    parallel_for(k.groups(), grain, [&](int64_t begin, int64_t end) {
      Scratch scratch(static_cast<size_t>(context_bytes()));
      Context c = context(scratch.as<char>(), nullptr);
      c.outer_end = (end + k.chunks - 1) / k.chunks;
      for (int64_t g = begin; g < end; ++g) run_group(c, g);
    });
  }

  // Loops: every segment of every group is on its own.
  void over_loop_segments() const {
    const int64_t segments = (k.red_count + k.segment - 1) / k.segment;
    parallel_for(k.groups() * segments, 1, [&](int64_t begin, int64_t end) {
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
  void over_segments(Context& c, char* partials) const {
    const int64_t segments = (k.red_count + k.segment - 1) / k.segment;
    std::vector<int64_t> live(static_cast<size_t>(segments));
    for (int64_t g = 0; g < k.groups(); ++g) {
      enter_group(c, g);
      for (const Stage& stage : k.stages) {
        c.set_axes(k.red_begin, k.red_end, 0);
        c.execute(stage.group_steps, group_width(c));
        parallel_for(segments, 1, [&](int64_t begin, int64_t end) {
          Scratch scratch(static_cast<size_t>(context_bytes()));
          Context mine = context(scratch.as<char>(), &c);
          for (int64_t s = begin; s < end; ++s) {
            const int64_t start = s * k.segment;
            const int64_t n =
                run_range(mine, stage, start, std::min(start + k.segment, k.red_count));
            for (const Reduction& r : stage.reductions) {
              fold_rows(mine, r, mine.tile + r.outer, n);
              std::memcpy(partials + s * k.partial_bytes + r.partial, mine.tile + r.outer,
                          static_cast<size_t>(c.chunk_length * r.size));
            }
          }
        });
        combine_partials(c, stage, partials, segments);
      }
      c.set_axes(k.red_begin, k.red_end, 0);
      c.execute(k.final_steps, c.chunk_length);
    }
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

// Axes that are all zero need no further set-up: the group is the first one.
void enter_small(const TileRun& run, Context& c) {
  c.chunk_length = c.k.red_end < static_cast<int>(c.k.dims.size()) ? c.k.inner_count : 1;
  run.set_constants(c);
}

void run_all(const TileRun& run, Context& c, double cost) {
  const Impl& k = run.k;
  if (k.is_small) {
    enter_small(run, c);
    return run_small(c);
  }
  run.set_constants(c);
  c.execute(k.uniform_steps, 1);
  const int64_t segments = k.red_count > k.segment ? (k.red_count + k.segment - 1) / k.segment : 1;
  if (cost < kInline || (k.groups() == 1 && segments == 1)) {
    for (int64_t g = 0; g < k.groups(); ++g) run_group(c, g);
    return;
  }
  if (segments == 1 || !k.panels.empty() || (k.has_reductions && k.groups() >= 16))
    return run.over_groups();
  if (!k.has_reductions) return run.over_loop_segments();
  Scratch partials(static_cast<size_t>(std::max<int64_t>(64, segments * k.partial_bytes)));
  run.over_segments(c, partials.as<char>());
}

}  // namespace

double TileKernel::nanoseconds() const {
  return loop_nanoseconds() + 10.0 * static_cast<double>(impl_->groups());
}

double TileKernel::loop_nanoseconds() const {
  const Impl& k = *impl_;
  return k.element_cost * static_cast<double>(k.outer_count * k.red_count * k.inner_count);
}

bool TileKernel::is_small() const { return impl_->is_small; }

bool TileKernel::reduces_one_tile() const { return !impl_->has_reductions || impl_->is_one_tile; }

int64_t TileKernel::session_bytes() const {
  const TileRun run{*impl_, nullptr, nullptr, nullptr};
  return whole_lines(static_cast<int64_t>(sizeof(Context))) + whole_lines(impl_->uniform_bytes) +
         run.context_bytes();
}

void TileKernel::begin_session(void* session) const {
  char* memory = static_cast<char*>(session) + whole_lines(static_cast<int64_t>(sizeof(Context)));
  const TileRun run{*impl_, nullptr, nullptr, memory};
  static_assert(std::is_trivially_destructible_v<Context>);
  Context* c =
      new (session) Context(run.context(memory + whole_lines(impl_->uniform_bytes), nullptr));
  enter_small(run, *c);
}

void TileKernel::run_session(void* session, const void* const* inputs, void* const* outputs) {
  Context& c = *static_cast<Context*>(session);
  c.inputs = inputs;
  c.outputs = outputs;
  run_small(c);
}

bool TileKernel::may_alias(int input, int output) const {
  return impl_->aliases[static_cast<size_t>(input)][static_cast<size_t>(output)];
}

void TileKernel::run(const void* const* inputs, void* const* outputs) const {
  const Impl& k = *impl_;
  if (is_empty(k)) return;
  TileRun run{k, inputs, outputs, nullptr};
  const int64_t bytes = whole_lines(k.uniform_bytes) + run.context_bytes();
  constexpr int64_t kStack = 16384;
  const double cost = nanoseconds();
  if (bytes <= kStack) {
    alignas(64) char memory[kStack];
    run.uniform = memory;
    Context c = run.context(memory + whole_lines(k.uniform_bytes), nullptr);
    return run_all(run, c, cost);
  }
  Scratch scratch(static_cast<size_t>(bytes));
  run.uniform = scratch.as<char>();
  Context c = run.context(scratch.as<char>() + whole_lines(k.uniform_bytes), nullptr);
  run_all(run, c, cost);
}

}  // namespace jaxmps::cpu
