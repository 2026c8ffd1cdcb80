#include "exec/device.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>

#include "base/interpreter.h"
#include "exec/interrupt.h"

namespace jaxmps::exec {
namespace {

std::atomic<bool> is_running{false};

// Runs until it is stopped.
class Endless : public Device::Work {
 public:
  Endless() : Work(false) { is_interruptible = true; }
  bool run() override {
    is_running = true;
    while (!is_stopped) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    is_running = false;
    return false;
  }
  bool is_ready() const noexcept override { return true; }
  void fail(const Error&) noexcept override {}
  void abandon(const Error&) noexcept override {}
};

class TooLate : public Device::Work {
 public:
  TooLate() : Work(false) {}
  bool run() override { _exit(4); }
  bool is_ready() const noexcept override { return true; }
  void fail(const Error&) noexcept override {}
  void abandon(const Error&) noexcept override {}
};

// What was there before the device is torn down after it has come to rest.
TEST(DeviceDeathTest, RestsBeforeAnythingIsTornDown) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        (void)std::atexit([] {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          if (is_running) _exit(3);
        });
        const auto made = devices();
        if (!made.ok()) _exit(5);
        (*made.value())[0]->enqueue(std::make_unique<Endless>());
        (*made.value())[0]->enqueue(std::make_unique<TooLate>());
        while (!is_running) std::this_thread::yield();
        std::exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(DeviceDeathTest, WithoutFilesThereAreNoInterrupts) {
  EXPECT_EXIT(
      {
        static const Interpreter none{};
        set_interpreter(&none);
        const rlimit files = {};
        setrlimit(RLIMIT_NOFILE, &files);
        const Status started = start_interrupts();
        if (!started.ok()) std::fprintf(stderr, "%s\n", started.error().text.c_str());
        _exit(started.ok());
      },
      ::testing::ExitedWithCode(0), "no pipe can be made for interrupts");
}

TEST(Device, WhateverIsThrownIsAnError) {
  try {
    throw 7;
  } catch (...) {
    EXPECT_EQ(current_exception_as_error().text, "an exception that is no std::exception");
  }
}

TEST(Device, KernelsOfGpusAreNoneOfTheCpus) {
  const auto encoder = make_cpu_encoder(mx::default_stream(mx::Device::cpu));
  ops::Launch launch;
  launch.name = "k";
  try {
    encoder->send(launch, {}, {}, {});
    FAIL();
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.error.text, "the kernel k is none of the CPU's");
  }
}

}  // namespace
}  // namespace jaxmps::exec
