#include "simulated/group.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstring>
#include <memory>
#include <mutex>

#include "base/result.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace jaxmps::metal {
namespace {

constexpr size_t kStack = 64 << 10;
constexpr uint32_t kLanes = 32;
// Races are looked for in buffers of so many bytes together.
constexpr size_t kMaxShadow = 1 << 20;

// A stack that may be left and entered again.
struct Context {
  ucontext_t at;
  const void* stack = nullptr;
  size_t bytes = 0;
  void* frames = nullptr;  // ASan's
};

// Goes on in `to`; comes back when somebody goes on in `from`. ASan has to know which stack is
// used.
void switch_stack(Context* from, Context* to) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from->frames, to->stack, to->bytes);
  swapcontext(&from->at, &to->at);
  __sanitizer_finish_switch_fiber(from->frames, nullptr, nullptr);
#else
  swapcontext(&from->at, &to->at);
#endif
}

// At the begin of a new stack: where the one that it was entered from lies.
void begin_stack([[maybe_unused]] Context* from) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &from->stack, &from->bytes);
#endif
}

// Who touched a byte of memory last, and when. Times are counted in barriers of the group.
struct Shadow {
  static constexpr int32_t kNobody = -1, kSeveral = -2;
  int32_t writer = kNobody, reader = kNobody;  // threads of the grid
  uint32_t write_time = 0, read_time = 0;
};

struct Memory {
  char* begin;
  size_t bytes;
  std::string name;
  bool is_shared;
  std::vector<Shadow> shadow;
};

struct Fiber {
  enum class State { ready, at_barrier, at_simd_barrier, at_exchange, done };
  State state = State::ready;
  bool is_started = false;
  Context context;
  Position position;
  // Of an exchange.
  const void* value = nullptr;
  void* result = nullptr;
  uint32_t bytes = 0, source = 0;
};

class Runner;
Runner* running = nullptr;  // guarded by `one_at_a_time`
std::mutex one_at_a_time;

// Memory for the stacks of a launch; guarded by `one_at_a_time`.
char* stacks_of(size_t bytes) {
  static std::unique_ptr<char[]> memory;
  static size_t size = 0;
  if (size < bytes) {
    memory = std::make_unique_for_overwrite<char[]>(bytes);
    size = bytes;
  }
  return memory.get();
}

class Runner {
 public:
  explicit Runner(const Launch& launch) : launch_(launch) {
    count_ = launch.threads.x * launch.threads.y * launch.threads.z;
    if (launch.meets) {
      fibers_.resize(count_);
      stacks_ = stacks_of(count_ * kStack);
      stack_bytes_ = count_ * kStack;
    }
    if (!launch.checks_accesses) return;
    size_t total = 0;
    for (const Buffer& b : launch.buffers) total += b.bytes;
    for (size_t k = 0; k < launch.buffers.size(); ++k) {
      const Buffer& b = launch.buffers[k];
      memory_.push_back({static_cast<char*>(b.data), b.bytes, str("buffer ", k), false,
                         std::vector<Shadow>(total > kMaxShadow ? 0 : b.bytes)});
    }
    memory_.push_back({launch.shared, launch.shared_bytes, "threadgroup memory", true,
                       std::vector<Shadow>(launch.shared_bytes)});
  }

  std::string run() {
    const Size& g = launch_.groups;
    for (uint32_t z = 0; z < g.z; ++z) {
      for (uint32_t y = 0; y < g.y; ++y) {
        for (uint32_t x = 0; x < g.x && error_.empty(); ++x) run_group(x, y, z);
      }
    }
    return error_;
  }

  void meet(Fiber::State state) {
    Fiber& fiber = fibers_[current_];
    fiber.state = state;
    switch_stack(&fiber.context, &scheduler_);
  }
  void exchange(const void* value, void* result, uint32_t bytes, uint32_t source) {
    Fiber& fiber = fibers_[current_];
    fiber.value = value, fiber.result = result, fiber.bytes = bytes, fiber.source = source;
    meet(Fiber::State::at_exchange);
  }
  uint32_t lane() const { return current_ % kLanes; }
  void access(const void* address, uint32_t bytes, bool is_write);
  void enter() {
    begin_stack(&scheduler_);
    launch_.body(fibers_[current_].position);
    meet(Fiber::State::done);
  }

 private:
  Position position_of(uint32_t thread, uint32_t x, uint32_t y, uint32_t z) const;
  void run_group(uint32_t x, uint32_t y, uint32_t z);
  void run_alone(const Position& position);
  void interleave();
  bool release();
  void exchange_in(uint32_t first, uint32_t end);
  void resume(uint32_t thread);
  bool touch(Memory* memory, size_t at, bool is_write);
  // Leaves the thread that runs, for good.
  void give_up() {
    if (!launch_.meets) _longjmp(alone_, 1);
    meet(Fiber::State::done);
  }
  void fail(std::string text) {
    if (error_.empty()) error_ = std::move(text);
  }
  int32_t thread_of_grid() const { return static_cast<int32_t>(group_ * count_ + current_); }

  const Launch& launch_;
  uint32_t count_ = 0, current_ = 0, group_ = 0, time_ = 0, group_begin_ = 0;
  std::vector<Fiber> fibers_;
  char* stacks_ = nullptr;
  size_t stack_bytes_ = 0;
  std::vector<Memory> memory_;
  Context scheduler_;
  jmp_buf alone_;
  std::string error_;
};

Position Runner::position_of(uint32_t thread, uint32_t x, uint32_t y, uint32_t z) const {
  const Size &t = launch_.threads, &g = launch_.groups;
  const uint32_t at[3] = {thread % t.x, thread / t.x % t.y, thread / (t.x * t.y)};
  const uint32_t group[3] = {x, y, z}, threads[3] = {t.x, t.y, t.z}, groups[3] = {g.x, g.y, g.z};
  Position p{};
  for (int a = 0; a < 3; ++a) {
    p.threadgroup_position_in_grid[a] = group[a];
    p.thread_position_in_threadgroup[a] = at[a];
    p.threads_per_threadgroup[a] = threads[a];
    p.threadgroups_per_grid[a] = groups[a];
    p.thread_position_in_grid[a] = group[a] * threads[a] + at[a];
    p.threads_per_grid[a] = groups[a] * threads[a];
  }
  p.thread_index_in_threadgroup = thread;
  p.thread_index_in_simdgroup = thread % kLanes;
  p.simdgroup_index_in_threadgroup = thread / kLanes;
  p.threads_per_simdgroup = kLanes;
  p.simdgroups_per_threadgroup = (count_ + kLanes - 1) / kLanes;
  return p;
}

// A thread that meets no others. What fails in it comes back here.
void Runner::run_alone(const Position& position) {
  if (_setjmp(alone_) == 0) launch_.body(position);
}

void Runner::run_group(uint32_t x, uint32_t y, uint32_t z) {
  group_ = (z * launch_.groups.y + y) * launch_.groups.x + x;
  group_begin_ = ++time_;
  if (launch_.shared) std::memset(launch_.shared, 0xff, launch_.shared_bytes);
  for (uint32_t t = 0; t < count_ && !launch_.meets && error_.empty(); ++t) {
    current_ = t;
    run_alone(position_of(t, x, y, z));
  }
  if (!launch_.meets) return;
  for (uint32_t t = 0; t < count_; ++t) {
    fibers_[t].state = Fiber::State::ready;
    fibers_[t].is_started = false;
    fibers_[t].position = position_of(t, x, y, z);
  }
  interleave();
}

void enter_fiber() { running->enter(); }

void Runner::resume(uint32_t thread) {
  current_ = thread;
  Fiber& fiber = fibers_[thread];
  if (!fiber.is_started) {
    fiber.is_started = true;
    fiber.context.stack = stacks_ + thread * kStack;
    fiber.context.bytes = kStack;
    getcontext(&fiber.context.at);
    fiber.context.at.uc_stack.ss_sp = stacks_ + thread * kStack;
    fiber.context.at.uc_stack.ss_size = kStack;
    fiber.context.at.uc_link = nullptr;
    makecontext(&fiber.context.at, enter_fiber, 0);
  }
  switch_stack(&scheduler_, &fiber.context);
}

// Until all are done: each that can go on does, up to where it waits.
void Runner::interleave() {
  bool backwards = false;
  for (;;) {
    bool all_done = true;
    for (uint32_t k = 0; k < count_ && error_.empty(); ++k) {
      const uint32_t t = backwards ? count_ - 1 - k : k;
      if (fibers_[t].state == Fiber::State::ready) resume(t);
      all_done = all_done && fibers_[t].state == Fiber::State::done;
    }
    if (!error_.empty() || all_done) return;
    backwards = !backwards;
    if (!release()) return fail("threads do not meet at one barrier or simd function");
  }
}

// Lets those go on that have met; false if none have.
bool Runner::release() {
  using State = Fiber::State;
  auto all = [&](uint32_t first, uint32_t end, State state) {
    for (uint32_t t = first; t < end; ++t) {
      if (fibers_[t].state != state) return false;
    }
    return true;
  };
  bool any = false;
  for (uint32_t first = 0; first < count_; first += kLanes) {
    const uint32_t end = std::min(first + kLanes, count_);
    const bool exchanges = all(first, end, State::at_exchange);
    if (exchanges) exchange_in(first, end);
    if (!exchanges && !all(first, end, State::at_simd_barrier)) continue;
    for (uint32_t t = first; t < end; ++t) fibers_[t].state = State::ready;
    any = true;
  }
  if (!any && all(0, count_, State::at_barrier)) {
    ++time_;
    for (Fiber& fiber : fibers_) fiber.state = State::ready;
    return true;
  }
  return any;
}

void Runner::exchange_in(uint32_t first, uint32_t end) {
  uint64_t values[kLanes] = {};
  for (uint32_t t = first; t < end; ++t) {
    std::memcpy(&values[t - first], fibers_[t].value, fibers_[t].bytes);
  }
  for (uint32_t t = first; t < end; ++t) {
    // Beyond the simdgroup there is garbage.
    const bool exists = fibers_[t].source < end - first;
    const uint64_t value = exists ? values[fibers_[t].source] : ~0ull;
    std::memcpy(fibers_[t].result, &value, fibers_[t].bytes);
  }
}

void Runner::access(const void* address, uint32_t bytes, bool is_write) {
  const char* p = static_cast<const char*>(address);
  for (Memory& m : memory_) {
    if (p < m.begin || p >= m.begin + m.bytes) continue;
    const size_t at = static_cast<size_t>(p - m.begin);
    bool ok = at + bytes <= m.bytes;
    if (!ok) fail(str("an access beyond the end of ", m.name));
    for (uint32_t k = 0; k < bytes && ok; ++k) {
      ok = m.shadow.empty() || touch(&m, at + k, is_write);
      if (!ok) fail(str("threads race for byte ", at + k, " of ", m.name));
    }
    if (!ok) give_up();
    return;
  }
  const bool is_stack =
      launch_.meets
          ? p >= stacks_ && p < stacks_ + stack_bytes_
          : std::abs(p - static_cast<const char*>(__builtin_frame_address(0))) < (1 << 20);
  if (is_stack || (!is_write && launch_.is_constant(address))) return;
  fail(str(is_write ? "a write" : "a read", " outside of all memory"));
  give_up();
}

// Notes an access; false if another thread's is in its way.
bool Runner::touch(Memory* memory, size_t at, bool is_write) {
  Shadow& s = memory->shadow[at];
  const int32_t self = thread_of_grid();
  // Groups are never ordered, threads of one by barriers. Threadgroup memory is new in each.
  auto conflicts = [&](int32_t other, uint32_t time) {
    if (other == Shadow::kNobody || other == self) return false;
    if (memory->is_shared && time < group_begin_) return false;
    return time >= time_ || time < group_begin_;
  };
  if (conflicts(s.writer, s.write_time) || (is_write && conflicts(s.reader, s.read_time)))
    return false;
  if (is_write) {
    s.writer = self, s.write_time = time_;
  } else {
    const bool is_other = s.reader != Shadow::kNobody && s.reader != self && s.read_time == time_;
    // Readers of other groups stay in the way of writers.
    const bool is_older = s.reader != Shadow::kNobody && s.read_time < group_begin_;
    if (!is_older || memory->is_shared) {
      s.reader = is_other ? Shadow::kSeveral : self;
      s.read_time = time_;
    } else if (s.reader != self) {
      s.reader = Shadow::kSeveral;
    }
  }
  return true;
}

}  // namespace

std::string run_groups(const Launch& launch) {
  std::lock_guard lock(one_at_a_time);
  Runner runner(launch);
  running = &runner;
  std::string error = runner.run();
  running = nullptr;
  return error;
}

const Host& host() {
  static const Host functions = {
      [](bool of_simdgroup) {
        running->meet(of_simdgroup ? Fiber::State::at_simd_barrier : Fiber::State::at_barrier);
      },
      [](const void* value, void* result, uint32_t bytes, uint32_t source) {
        running->exchange(value, result, bytes, source);
      },
      [] { return running->lane(); },
      [](const void* address, uint32_t bytes, bool is_write) {
        running->access(address, bytes, is_write);
      },
  };
  return functions;
}

}  // namespace jaxmps::metal
