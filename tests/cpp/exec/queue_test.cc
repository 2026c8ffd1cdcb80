// Work that is queued on a GPU's device: in which order it runs, and when its end is told.
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "exec/device.h"
#include "support/null_gpu.h"

namespace jaxmps::exec {
namespace {

constexpr double kEndless = std::numeric_limits<double>::infinity();

// What was done, in order; by two threads.
struct Record {
  std::mutex mutex;
  std::vector<int> run, ended, failed;

  void note(std::vector<int> Record::*list, int number) {
    std::lock_guard lock(mutex);
    (this->*list).push_back(number);
  }
};

struct Piece : Device::Work {
  enum class Fate { sent, refused, thrown };
  Piece(Record* record, int number, double estimate, Fate fate = Fate::sent)
      : Work(true), record(record), number(number), fate(fate) {
    nanoseconds = estimate;
  }
  bool run() override {
    (void)wait_for.await();
    record->note(&Record::run, number);
    if (fate == Fate::thrown) throw std::bad_alloc();
    return fate == Fate::sent;
  }
  bool is_ready() const noexcept override { return wait_for.is_set(); }
  void finish() noexcept override {
    record->note(&Record::ended, number);
    done.set();
  }
  void fail(const Error&) noexcept override {
    record->note(&Record::failed, number);
    done.set();
  }
  void abandon(const Error&) noexcept override {}

  Record* const record;
  const int number;
  const Fate fate;
  Event wait_for = Event::ready();
  Event done;
};

class QueueTest : public ::testing::Test {
 protected:
  QueueTest() : metal_(ir::kMetal, kernels::metal_dialect()), device_(new Device(90, ir::kMetal)) {
    EXPECT_TRUE(device_->start().ok());
    auto gate = std::make_unique<Piece>(&record_, 0, kEndless, Piece::Fate::refused);
    gate->wait_for = open_;
    device_->enqueue(std::move(gate));
  }

  Event add(std::unique_ptr<Piece> piece) {
    Event done = piece->done;
    device_->enqueue(std::move(piece));
    return done;
  }
  Event add(int number, double estimate, Piece::Fate fate = Piece::Fate::sent) {
    return add(std::make_unique<Piece>(&record_, number, estimate, fate));
  }
  int64_t marks() { return static_cast<testing::NullEncoder&>(device_->encoder()).marks; }

  const testing::NullGpuScope metal_;
  Record record_;
  Event open_;            // what is queued behind the first piece waits for it
  Device* const device_;  // lives for ever
};

using Numbers = std::vector<int>;

TEST_F(QueueTest, OneMarkerForAllThatIsShort) {
  for (int i = 1; i < 10; ++i) add(i, 1e3);
  const Event last = add(10, 1e3);
  open_.set();
  EXPECT_TRUE(last.await().ok());
  EXPECT_EQ(marks(), 1);
  EXPECT_EQ(record_.run, (Numbers{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(record_.ended, (Numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST_F(QueueTest, AMarkerBeforeAndBehindWhatIsLong) {
  add(1, 1e3);
  add(2, 1e3);
  add(3, kEndless);
  const Event last = add(4, 1e3);
  open_.set();
  EXPECT_TRUE(last.await().ok());
  EXPECT_EQ(marks(), 3);
  EXPECT_EQ(record_.ended, (Numbers{1, 2, 3, 4}));
}

TEST_F(QueueTest, ShortWorkAddsUp) {
  for (int i = 1; i < 20; ++i) add(i, 100e3);
  const Event last = add(20, 100e3);
  open_.set();
  EXPECT_TRUE(last.await().ok());
  EXPECT_EQ(marks(), 4);
}

// What the second piece waits for may itself wait for the end of the first.
TEST_F(QueueTest, AMarkerBeforeWhatHasToWait) {
  const Event first = add(1, 1e3);
  auto second = std::make_unique<Piece>(&record_, 2, 1e3);
  second->wait_for = Event();
  const Event wanted = second->wait_for;
  const Event last = add(std::move(second));
  open_.set();
  EXPECT_TRUE(first.await().ok());
  wanted.set();
  EXPECT_TRUE(last.await().ok());
  EXPECT_EQ(marks(), 2);
}

TEST_F(QueueTest, AMarkerBehindWhatFails) {
  const Event first = add(1, 1e3);
  const Event second = add(2, 1e3, Piece::Fate::thrown);
  open_.set();
  EXPECT_TRUE(first.await().ok());
  EXPECT_TRUE(second.await().ok());
  EXPECT_EQ(marks(), 1);
  EXPECT_EQ(record_.ended, Numbers{1});
  EXPECT_EQ(record_.failed, Numbers{2});
}

}  // namespace
}  // namespace jaxmps::exec
