#include <atomic>
#include <thread>

#include "pjrt/support.h"

namespace jaxmps::pjrt::test {
namespace {

PJRT_Event* make_event() {
  PJRT_Event_Create_Args args{};
  must(api()->PJRT_Event_Create, args);
  return args.event;
}

Outcome set(PJRT_Event* event, PJRT_Error_Code code = PJRT_Error_Code_OK,
            const std::string& text = {}) {
  PJRT_Event_Set_Args args{};
  args.event = event;
  args.error_code = code;
  args.error_message = text.data();
  args.error_message_size = text.size();
  return call(api()->PJRT_Event_Set, args);
}

void destroy(PJRT_Event* event) {
  PJRT_Event_Destroy_Args args{};
  args.event = event;
  must(api()->PJRT_Event_Destroy, args);
}

struct Seen {
  std::atomic<int> calls{0};
  Outcome outcome;
  std::thread::id thread;
};

void record(PJRT_Error* error, void* user) {
  auto* seen = static_cast<Seen*>(user);
  seen->outcome = consume(error);
  seen->thread = std::this_thread::get_id();
  seen->calls.fetch_add(1);
}

Outcome watch(PJRT_Event* event, Seen& seen) {
  PJRT_Event_OnReady_Args args{};
  args.event = event;
  args.callback = record;
  args.user_arg = &seen;
  return call(api()->PJRT_Event_OnReady, args);
}

void wait_for(Seen& seen) {
  for (int i = 0; i < 5000 && seen.calls.load() == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_EQ(seen.calls.load(), 1);
}

TEST(PjrtEvent, CallbackOutlivesTheHandle) {
  PJRT_Event* event = make_event();
  PJRT_Event_IsReady_Args ready{};
  ready.event = event;
  must(api()->PJRT_Event_IsReady, ready);
  EXPECT_FALSE(ready.is_ready);
  static Seen seen;
  ASSERT_TRUE(watch(event, seen).ok());
  EXPECT_EQ(seen.calls.load(), 0);
  EXPECT_TRUE(set(event).ok());
  destroy(event);
  wait_for(seen);
  EXPECT_TRUE(seen.outcome.ok());
  EXPECT_NE(seen.thread, std::this_thread::get_id());  // not on the thread that completes the work
}

TEST(PjrtEvent, ErrorsReachEveryDoor) {
  PJRT_Event* event = make_event();
  Seen before, after;
  ASSERT_TRUE(watch(event, before).ok());
  EXPECT_TRUE(set(event, PJRT_Error_Code_ABORTED, "stopped on purpose").ok());
  wait_for(before);
  ASSERT_TRUE(watch(event, after).ok());
  wait_for(after);
  for (const Outcome& outcome : {before.outcome, after.outcome, await(event, false)}) {
    EXPECT_FAILS(outcome, ABORTED, "stopped on purpose");
  }
  PJRT_Event_Error_Args error{};
  error.event = event;
  EXPECT_FAILS(call(api()->PJRT_Event_Error, error), ABORTED, "stopped on purpose");
  EXPECT_FAILS(set(event), FAILED_PRECONDITION, "PJRT_Event_Set: the event is set already");
  destroy(event);
}

TEST(PjrtEvent, AwaitBlocksUntilAnotherThreadSets) {
  PJRT_Event* event = make_event();
  std::thread setter([event] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_TRUE(set(event).ok());
  });
  EXPECT_TRUE(await(event, false).ok());
  setter.join();
  destroy(event);
}

}  // namespace
}  // namespace jaxmps::pjrt::test
