#include "exec/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <mutex>
#include <thread>
#include <utility>

#include "base/fork.h"
#include "base/interpreter.h"
#include "base/thread.h"
#include "exec/device.h"

namespace jaxmps::exec {
namespace {

std::atomic<int> read_end{-1}, write_end{-1};  // of a pipe from the handler to the thread
struct sigaction python_action;                // written once, before our handler is installed
std::atomic<bool> is_known{false};

void on_signal(int number, siginfo_t* info, void* context) {
  const int saved = errno;
  // What is asked for from now on may be asked for behind the exception.
  const uint64_t last = Device::last_number;
  if (python_action.sa_flags & SA_SIGINFO) {
    python_action.sa_sigaction(number, info, context);
  } else {
    python_action.sa_handler(number);
  }
  [[maybe_unused]] const auto written = write(write_end, &last, sizeof last);
  errno = saved;
}

bool is_ours(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) && action.sa_sigaction == on_signal;
}

// Puts our handler before Python's, and before no other: one that itself calls the handler that it
// found might find ours.
void install() {
  struct sigaction now;
  if (sigaction(SIGINT, nullptr, &now) != 0 || is_ours(now)) return;
  if (!(now.sa_flags & SA_SIGINFO) && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN)) {
    return;
  }
  if (!is_known.exchange(true)) python_action = now;
  if (now.sa_handler != python_action.sa_handler) return;
  struct sigaction ours = now;
  ours.sa_flags |= SA_SIGINFO;
  ours.sa_sigaction = on_signal;
  sigaction(SIGINT, &ours, nullptr);
}

// JAX looks for signals a few times in a second while it waits, but not while it reads.
constexpr auto kLongestLook = std::chrono::milliseconds(600);

// Waits until Python's main thread has its exception: JAX cannot bear that what it waits for fails
// at the same time. The interpreter makes pending calls on that thread, after it has raised what is
// due for signals. One that takes so long looks for no signals and waits for what is stopped.
void await_exception(const Interpreter& python) {
  const auto latest = std::chrono::steady_clock::now() + kLongestLook;
  static std::atomic<uintptr_t> asked{0}, answered{0};
  const auto answer = [](void* number) {
    answered = reinterpret_cast<uintptr_t>(number);
    return 0;
  };
  // NOLINTNEXTLINE(performance-no-int-to-ptr): a number, which never is an address
  const bool is_asked = python.add_pending_call(answer, reinterpret_cast<void*>(++asked)) == 0;
  while (!(is_asked && answered == asked) && std::chrono::steady_clock::now() < latest) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void stop_all(uint64_t last) {
  const auto all = devices();
  if (!all.ok()) return;
  {
    const Visit visit;
    if (!visit || !interpreter()->raises_interrupt()) return;
    await_exception(*interpreter());
  }
  for (Device* device : **all) device->interrupt(last);
}

void serve(int from) {
  for (;;) {
    uint64_t last = 0;
    const ssize_t count = read(from, &last, sizeof last);
    if (count == sizeof last) stop_all(last);
    if (count == 0 || (count < 0 && errno != EINTR)) return;
  }
}

Status start() {
  std::array<int, 2> ends;
  if (pipe(ends.data()) != 0) {
    return Error(Code::resource_exhausted, "no pipe can be made for interrupts");
  }
  for (const int end : ends) fcntl(end, F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  if (Status started = start_thread([end = ends[0]] { serve(end); }); !started.ok()) {
    for (const int end : ends) close(end);
    return started;
  }
  read_end = ends[0];
  write_end = ends[1];
  return {};
}

// The pipe is the parent's.
void restart_in_child() {
  close(read_end);
  close(write_end.exchange(-1));
  (void)start();  // without a thread nothing is stopped
}

}  // namespace

Status start_interrupts() {
  static std::mutex mutex;
  static bool registered = false;
  std::lock_guard lock(mutex);
  if (write_end >= 0 || !interpreter()) return {};
  CHECK_OK(start());
  if (!std::exchange(registered, true)) after_fork_in_child(restart_in_child);
  return {};
}

bool watch_interrupts() {
  const Interpreter* python = interpreter();
  if (write_end < 0 || !python || python->main_thread != this_thread()) return false;
  install();
  return true;
}

}  // namespace jaxmps::exec
