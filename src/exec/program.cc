#include "exec/program.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "base/fork.h"
#include "base/log.h"
#include "base/stop.h"
#include "exec/interrupt.h"
#include "exec/memory.h"
#include "exec/plan.h"

namespace jaxmps::exec {
namespace {

constexpr std::chrono::milliseconds kInlineWait{2};

double now() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double, std::nano>(Clock::now().time_since_epoch()).count();
}

Status check_argument(const Buffer& buffer, const ir::Type& expected, const Device* device,
                      size_t position, const std::string& program) {
  if (buffer.device() != device) {
    return invalid(str("argument ", position, " of ", program, " is on device ",
                       buffer.device()->id(), ", but the program runs on device ", device->id()));
  }
  if (!(buffer.type() == expected)) {
    return invalid(str("argument ", position, " of ", program, " is ", ir::brief(buffer.type()),
                       ", but the program was compiled for ", ir::brief(expected)));
  }
  return {};
}

// Results in the memory of arguments that are borrowed become copies.
void copy_borrowed(const std::vector<mx::array>& borrowed, ops::Arrays& results) {
  std::unordered_set<const mx::allocator::Data*> memory;
  for (const mx::array& array : borrowed) memory.insert(array.data_shared_ptr().get());
  for (mx::array& result : results) {
    if (memory.count(result.data_shared_ptr().get())) result = copy_of(result);
  }
}

// Another thread may have taken one meanwhile: then those that this one took go back.
Status donate_all(std::span<const BufferPtr> arguments, const std::vector<bool>& donated,
                  const std::vector<PayloadPtr>& payloads, const std::string& program) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!donated[i]) continue;
    auto taken = arguments[i]->donate();
    if (taken.ok()) continue;
    for (size_t k = 0; k < i; ++k) {
      if (donated[k]) arguments[k]->give_back(payloads[k]);
    }
    return std::move(taken).error().in(str("argument ", i, " of ", program));
  }
  return {};
}

}  // namespace

Program::~Program() = default;

uint64_t content_hash(std::string_view bytes, uint64_t seed) {
  uint64_t hash = seed;
  for (const char byte : bytes) {
    hash ^= static_cast<uint8_t>(byte);
    hash *= 0x100000001b3ull;
  }
  return hash;
}

// One execution on its way: what it reads, and what it must set.
struct Program::Run {
  const Program* program;
  const Plan* plan;
  Device* device;
  std::vector<PayloadPtr> arguments;
  std::vector<PayloadPtr> results;
  Event done;  // of the results as well

  // On a GPU the device's own results are there before they are ready. Whatever another thread
  // writes is there only when it is ready.
  bool is_there(const Payload& argument) const {
    return !program->is_on_cpu_ && argument.is_published() && !argument.ready.is_error();
  }

  bool is_ready() const noexcept {
    return std::all_of(arguments.begin(), arguments.end(), [this](const PayloadPtr& argument) {
      return is_there(*argument) || argument->ready.is_set();
    });
  }

  Status compute() {
    std::vector<mx::array> values;
    values.reserve(arguments.size());
    std::vector<mx::array> borrowed;
    for (auto& argument : arguments) {
      if (!is_there(*argument)) CHECK_OK(argument->ready.await());
      values.push_back(Payload::take(argument, borrowed));
      // Native steps need not wait for it.
      if (program->is_on_cpu_ || (program->target_->host_memory && argument->ready.is_set())) {
        values.back().set_status(mx::array::Status::available);
      }
    }
    RunContext context(device->encoder());
    const double start = program->is_timed() ? now() : 0;
    try {
      check_stopped();
      ops::Arrays out = run_plan(*plan, std::move(values), context, true);
      if (!borrowed.empty()) copy_borrowed(borrowed, out);
      for (size_t i = 0; i < results.size(); ++i) results[i]->publish(std::move(out[i]));
    } catch (...) {
      return context.locate(current_exception_as_error(), program->info_.name);
    }
    if (program->is_timed()) program->took_.store(now() - start, std::memory_order_relaxed);
    return {};
  }
};

struct Program::Task : Device::Work {
  Task(Run run, std::shared_ptr<const Program> program)
      : Work(!run.plan->is_native), execution(std::move(run)), program(std::move(program)) {}
  bool run() override {
    const bool is_on_cpu = program->is_on_cpu_;
    const Status status = execution.compute();
    execution.arguments.clear();
    if (is_on_cpu) execution.device->left_mlx();
    if (!status.ok()) {
      fail(status.error());
    } else if (is_on_cpu) {
      finish();
    }
    return status.ok() && !is_on_cpu;
  }
  void finish() noexcept override {
    execution.results.clear();
    execution.done.set();
  }
  bool is_ready() const noexcept override { return execution.is_ready(); }
  void fail(const Error& error) noexcept override { execution.done.fail(error); }
  void abandon(const Error& error) noexcept override { execution.done.abandon(error); }

  Run execution;
  const std::shared_ptr<const Program> program;  // keeps it while it runs
};

void Program::add_results(Run& run, Execution& execution) const {
  execution.done = run.done;
  execution.results.reserve(info_.results.size());
  run.results.reserve(info_.results.size());
  for (const ir::Type& type : info_.results) {
    run.results.push_back(std::make_shared<Payload>(run.done));
    execution.results.push_back(std::make_shared<Buffer>(run.device, type, run.results.back()));
  }
}

template <typename Donate>
bool Program::execute_inline(Run& run, Execution& execution, const Donate& donate,
                             Status& refused) const {
  return run.device->run_inline(is_timed() && watch_interrupts(), [&] {
    add_results(run, execution);
    if (Status given = donate(run); !given.ok()) {
      refused = std::move(given);
      return;
    }
    Status status = run.compute();
    run.arguments.clear();
    if (status.ok()) return;
    execution.done = Event::failed(status.error());
    for (size_t i = 0; i < info_.results.size(); ++i) {
      execution.results[i] = Buffer::failed(run.device, info_.results[i], status.error());
    }
  });
}

bool Program::is_timed() const {
  return is_on_cpu_ && plan_->is_native && plan_->nanoseconds >= Device::kShort;
}

double Program::nanoseconds(bool is_unique) const {
  constexpr double kEndless = std::numeric_limits<double>::infinity();
  if (!is_on_cpu_) return gpu_nanoseconds_;
  if (!is_timed()) return plan_->is_native ? plan_->nanoseconds : kEndless;
  return is_unique ? kEndless : took_.load(std::memory_order_relaxed);
}

// Primitives of MLX belong to a stream: another virtual device has a plan of its own, and so has
// the child of a fork.
Result<const Plan*> Program::plan_for(const Device& device) const {
  if (plan_->is_native) return plan_.get();
  const int stream = device.stream().index;
  if (stream == stream_) return plan_.get();
  static std::mutex& mutex = lasting_mutex();
  {
    std::lock_guard lock(mutex);
    if (const auto found = plans_.find(stream); found != plans_.end()) return found->second.get();
  }
  std::vector<Error> refused;
  const StreamScope scope(device);
  auto plan = build_plan(module_->main()->body, {}, *target_, &refused);
  if (!refused.empty()) return refused.front();
  std::lock_guard lock(mutex);
  return plans_.try_emplace(stream, std::move(plan)).first->second.get();
}

Result<std::vector<bool>> Program::check_arguments(const Device* device,
                                                   std::span<const BufferPtr> arguments,
                                                   std::span<const int64_t> no_donation) const {
  std::vector<bool> donated(arguments.size());
  for (size_t i = 0; i < arguments.size(); ++i) {
    CHECK_OK(check_argument(*arguments[i], info_.parameters[i], device, i, info_.name));
    donated[i] = info_.donated[i] && std::find(no_donation.begin(), no_donation.end(),
                                               static_cast<int64_t>(i)) == no_donation.end();
    if (!donated[i]) continue;
    for (size_t k = 0; k < arguments.size(); ++k) {
      if (k != i && arguments[k] == arguments[i]) {
        return invalid(str("argument ", i, " of ", info_.name,
                           " is donated, but the same buffer is also argument ", k,
                           "; it cannot be donated twice or used beside its donation"));
      }
    }
  }
  return donated;
}

Result<Program::Execution> Program::execute(Device* device, std::span<const BufferPtr> arguments,
                                            std::span<const int64_t> no_donation) const {
  if (arguments.size() != info_.parameters.size()) {
    return invalid(str(info_.name, " takes ", info_.parameters.size(), " arguments, but ",
                       arguments.size(), " were given"));
  }
  if (&device->target() != target_) {
    return invalid(str(info_.name, " was compiled for another kind of device"));
  }
  CHECK_OK(device->check_usable(!plan_->is_native));
  TRY(const std::vector<bool> donated, check_arguments(device, arguments, no_donation));
  TRY(const Plan* const plan, plan_for(*device));
  Run run{this, plan, device, {}, {}, Event::ready()};
  run.arguments.reserve(arguments.size());
  // First look at all of them, then take: an error must not leave some donated.
  for (size_t i = 0; i < arguments.size(); ++i) {
    auto payload = arguments[i]->payload();
    if (!payload.ok()) {
      return std::move(payload).error().in(str("argument ", i, " of ", info_.name));
    }
    run.arguments.push_back(std::move(payload).value());
  }
  // Once everything has its memory, so that want of it cannot cost the client its arguments.
  const auto donate = [&](const Run& taker) {
    return donate_all(arguments, donated, taker.arguments, info_.name);
  };

  Execution execution;
  const bool is_unique = std::find(donated.begin(), donated.end(), true) != donated.end();
  const double nanoseconds = this->nanoseconds(is_unique);
  const bool is_brief = is_on_cpu_ && nanoseconds < Device::kShort;
  const bool cheap = is_brief && std::all_of(run.arguments.begin(), run.arguments.end(),
                                             [](const PayloadPtr& p) { return p->ready.is_set(); });
  if (Status refused; cheap && execute_inline(run, execution, donate, refused)) {
    if (!refused.ok()) return refused.error();
    return execution;
  }
  run.done = Event();
  add_results(run, execution);
  auto task = std::make_unique<Task>(std::move(run), shared_from_this());
  task->is_interruptible = watch_interrupts();
  task->is_unique = is_unique;
  task->nanoseconds = nanoseconds;
  CHECK_OK(donate(task->execution));
  // The client may write its memory as soon as this returns.
  for (const PayloadPtr& argument : task->execution.arguments) {
    if (Status owned = argument->own(); !owned.ok()) {
      task->fail(std::move(owned).error().in(info_.name));
      return execution;
    }
  }
  const bool soon = is_brief && device->is_soon_idle();
  device->enqueue(std::move(task));
  if (calls_python_) CHECK_OK(execution.done.await());
  // The next one finds the device idle; a client that stays ahead would hand over each. Not for
  // ever: an argument may be what the client gives only later.
  if (soon) (void)execution.done.await_for(kInlineWait);
  return execution;
}

}  // namespace jaxmps::exec
