#include "exec/fusion_tiers.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/log.h"
#include "kernels/cpu/threads.h"
#include "kernels/llvm/compiler.h"

namespace jaxmps::exec {
namespace {

using Clock = std::chrono::steady_clock;

// Nanoseconds of the tile machine: what is worth a thread, and in how many portions it is shared
// out, so that no thread waits long for the last.
constexpr double kWorthThreads = 60e3, kPortion = 15e3;
constexpr int kTimedRuns = 10;

double since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

void lower(std::atomic<double>* shortest, double took) {
  if (took < shortest->load(std::memory_order_relaxed)) {
    shortest->store(took, std::memory_order_relaxed);
  }
}

}  // namespace

FusionTiers::FusionTiers(cpu::TileKernel tile, std::shared_ptr<const kernels::Fusion> fusion)
    : tile_(std::move(tile)),
      nanoseconds_(tile_.nanoseconds()),
      fusion_(std::move(fusion)),
      tile_time_(std::numeric_limits<double>::infinity()),
      machine_time_(std::numeric_limits<double>::infinity()) {}

void FusionTiers::run(const void* const* in, void* const* out) {
  switch (state_.load(std::memory_order_acquire)) {
    case State::counting:
      return run_counted(in, out);
    case State::printed:
      return run_timed(code_->address(), in, out);
    case State::compared:
      return run_machine(code_->address(), in, out);
    case State::refused:
      break;
  }
  tile_.run(in, out);
}

void FusionTiers::run_counted(const void* const* in, void* const* out) {
  constexpr double kShort = 1e3;  // nanoseconds: the clock would take too large a part
  if (nanoseconds_ < kShort) {
    tile_.run(in, out);
    lower(&tile_time_, nanoseconds_);
  } else {
    const auto start = Clock::now();
    tile_.run(in, out);
    lower(&tile_time_, since(start));
  }
  const int runs = runs_.load(std::memory_order_relaxed) + 1;
  runs_.store(runs, std::memory_order_relaxed);
  if (runs * tile_time_.load(std::memory_order_relaxed) > kernels::MachineCode::kWorth)
    print(false);
}

// Whether more is to be won than the way to memory takes.
bool FusionTiers::is_slow() const {
  constexpr double kCache = 4 << 20, kMemory = 10;  // bytes; bytes per nanosecond
  double bytes = 0;
  for (const ir::Type& type : fusion_->inputs) bytes += static_cast<double>(type.byte_count());
  for (const auto& o : fusion_->outputs) bytes += static_cast<double>(o.type.byte_count());
  return bytes < kCache || bytes < kMemory * tile_time_;
}

void FusionTiers::print(bool always) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::counting) return;
  State next = State::refused;
  if ((always || is_slow()) && kernels::has_code_generator() && tile_.reduces_one_tile() &&
      kernels::can_print(*fusion_)) {
    std::vector<bool> kept(fusion_->inputs.size(), true);
    for (size_t i = 0; i < kept.size(); ++i) {
      for (size_t o = 0; o < fusion_->outputs.size(); ++o) {
        if (tile_.may_alias(static_cast<int>(i), static_cast<int>(o))) kept[i] = false;
      }
    }
    kernels::LlvmKernel kernel = kernels::print_kernel(*fusion_, kept);
    log(Level::debug, "a fusion as machine code, of ", kernel.module.text.size(), " bytes of text");
    parts_ = kernel.parts;
    code_ = kernels::MachineCode::of(std::move(kernel.module));
    if (!always) code_->request(kernels::MachineCode::When::later);
    next = State::printed;
  }
  fusion_ = nullptr;
  state_.store(next, std::memory_order_release);
}

Status FusionTiers::compile() {
  print(true);
  if (state_ == State::refused) return {};
  CHECK_OK(code_->compile());
  state_ = State::compared;
  return {};
}

void FusionTiers::run_machine(const void* address, const void* const* in, void* const* out) const {
  const auto function =
      // NOLINTNEXTLINE(performance-no-int-to-ptr): a function
      reinterpret_cast<kernels::LlvmKernel::Function>(reinterpret_cast<uintptr_t>(address));
  if (nanoseconds_ < kWorthThreads) return function(in, out, 0, parts_);
  const auto grain = static_cast<int64_t>(static_cast<double>(parts_) * kPortion / nanoseconds_);
  cpu::parallel_for(parts_, std::max<int64_t>(1, grain),
                    [&](int64_t begin, int64_t end) { function(in, out, begin, end); });
}

// While it is compiled, and some runs after that: the faster one stays.
void FusionTiers::run_timed(const void* address, const void* const* in, void* const* out) {
  const auto start = Clock::now();
  if (address) {
    run_machine(address, in, out);
  } else {
    tile_.run(in, out);
  }
  const double took = since(start);
  lower(address ? &machine_time_ : &tile_time_, took);
  if (address && machine_runs_.fetch_add(1, std::memory_order_relaxed) + 1 == kTimedRuns) {
    const bool is_faster = machine_time_ < tile_time_;
    log(Level::debug, "machine code takes ", machine_time_.load() / tile_time_.load(),
        " of the tile machine's time");
    state_.store(is_faster ? State::compared : State::refused, std::memory_order_release);
  }
}

}  // namespace jaxmps::exec
