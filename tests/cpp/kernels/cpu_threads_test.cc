#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

class Threads : public ::testing::Test {
 protected:
  void TearDown() override { set_thread_count(0); }
};

TEST_F(Threads, EveryIndexOnce) {
  for (int threads : {1, 2, 5}) {
    set_thread_count(threads);
    EXPECT_EQ(thread_count(), threads);
    for (int64_t n : {0, 1, 7, 64, 1000}) {
      for (int64_t grain : {0, 1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> hits(n);
        parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) hits[i].fetch_add(1);
        });
        for (int64_t i = 0; i < n; ++i) EXPECT_EQ(hits[i].load(), 1);
      }
    }
  }
}

TEST_F(Threads, ChunksDoNotDependOnTheThreadCount) {
  std::vector<std::set<std::pair<int64_t, int64_t>>> seen;
  for (int threads : {1, 2, 5}) {
    set_thread_count(threads);
    std::mutex mutex;
    auto& chunks = seen.emplace_back();
    parallel_for(103, 10, [&](int64_t begin, int64_t end) {
      std::lock_guard<std::mutex> lock(mutex);
      chunks.emplace(begin, end);
    });
  }
  EXPECT_EQ(seen[0].size(), 11u);
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(seen[0], seen[2]);
}

TEST_F(Threads, NestedCallsRunInline) {
  set_thread_count(3);
  std::atomic<int> total{0};
  std::atomic<bool> moved{false};
  parallel_for(8, 1, [&](int64_t, int64_t) {
    const auto self = std::this_thread::get_id();
    parallel_for(10, 1, [&](int64_t, int64_t) {
      total.fetch_add(1);
      if (std::this_thread::get_id() != self) moved = true;
    });
  });
  EXPECT_EQ(total.load(), 80);
  EXPECT_FALSE(moved.load());
}

TEST_F(Threads, ManyCallersAtOnce) {
  set_thread_count(4);
  std::atomic<int64_t> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 6; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        parallel_for(50, 7, [&](int64_t begin, int64_t end) { total.fetch_add(end - begin); });
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(total.load(), 6 * 200 * 50);
}

TEST_F(Threads, AThrowIsReportedAndThePoolSurvives) {
  for (int threads : {1, 3}) {
    set_thread_count(threads);
    const auto fail = [](int64_t begin, int64_t) {
      if (begin == 5) throw std::bad_alloc();
    };
    EXPECT_THROW(parallel_for(100, 1, fail), std::bad_alloc);
    EXPECT_THROW(parallel_for(6, 6, [](int64_t, int64_t) { throw std::bad_alloc(); }),
                 std::bad_alloc);
    std::atomic<int> count{0};
    parallel_for(100, 1, [&](int64_t, int64_t) { count.fetch_add(1); });
    EXPECT_EQ(count.load(), 100);
  }
}

TEST_F(Threads, WorksInAChildAfterFork) {
  set_thread_count(3);
  const auto sum = [] {
    std::atomic<int64_t> total{0};
    parallel_for(1000, 10, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) total.fetch_add(i);
    });
    return total.load();
  };
  ASSERT_EQ(sum(), 499500);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);  // a hang must fail the test, not stall it
    _exit(sum() == 499500 && thread_count() == 3 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(sum(), 499500);
}

}  // namespace
}  // namespace jaxmps::cpu
