// Several threads at one client: they compile, run, donate, delete and wait at the same time, while
// what they use is still pending. What each program answers when it is alone is the oracle. Built
// with -fsanitize=thread this is the test for data races.
#include <atomic>
#include <fstream>
#include <random>
#include <thread>

#include "pjrt/support.h"

namespace jaxmps::pjrt::test {
namespace {

constexpr int kThreads = 4;

template <typename Body>
void on_threads(Body body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([i, &body] { body(i); });
  for (std::thread& thread : threads) thread.join();
}

std::string read_file(const std::string& name) {
  std::ifstream in(JAXMPS_SOURCE_DIR "/tests/bytecode/artifacts/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

using Dims = std::vector<int64_t>;
using Bytes = std::vector<uint8_t>;

// An artifact, the types of its parameters and the number of its results.
struct Source {
  std::string file;
  PJRT_Buffer_Type type;
  std::vector<Dims> parameters;
  size_t results;
};

const Source kDonation{
    "jax_donation.1.16.0.bc", PJRT_Buffer_Type_F32, {{256, 1024}, {256, 1024}}, 3};
const Source kTrainStep{"jax_train_step.1.16.0.bc",
                        PJRT_Buffer_Type_F32,
                        {{16}, {8, 16}, {16, 4}, {32, 8}, {32, 4}},
                        4};
const Source kScan{"jax_scan.1.16.0.bc", PJRT_Buffer_Type_F32, {{10, 4}, {4, 4}}, 2};
const Source kRandom{"jax_random.1.10.0.bc", PJRT_Buffer_Type_U32, {{2}}, 3};

class Executable {
 public:
  explicit Executable(const Source& source) {
    EXPECT_TRUE(compile(read_file(source.file), &executable_).ok());
    results_ = source.results;
  }
  Executable(const Executable&) = delete;
  ~Executable() {
    PJRT_LoadedExecutable_Destroy_Args args{};
    args.executable = executable_;
    must(api()->PJRT_LoadedExecutable_Destroy, args);
  }

  // Returns at once; the results may be pending. An error leaves `results` empty.
  Outcome execute(const std::vector<PJRT_Buffer*>& arguments, std::vector<Handle>& results) const {
    results.clear();
    PJRT_ExecuteOptions options{};
    options.struct_size = sizeof(options);
    std::vector<PJRT_Buffer*> out(results_);
    PJRT_Buffer* const* argument_list = arguments.data();
    PJRT_Buffer** output_list = out.data();
    PJRT_Event* done = nullptr;
    PJRT_LoadedExecutable_Execute_Args args{};
    args.executable = executable_;
    args.options = &options;
    args.argument_lists = &argument_list;
    args.num_devices = 1;
    args.num_args = arguments.size();
    args.output_lists = &output_list;
    args.device_complete_events = &done;
    Outcome outcome = call(api()->PJRT_LoadedExecutable_Execute, args);
    if (!outcome.ok()) return outcome;
    for (PJRT_Buffer* buffer : out) results.emplace_back(buffer);
    PJRT_Event_Destroy_Args gone{};
    gone.event = done;
    must(api()->PJRT_Event_Destroy, gone);
    return outcome;
  }

 private:
  PJRT_LoadedExecutable* executable_ = nullptr;
  size_t results_ = 0;
};

// The same numbers for the same position, in [-1, 1) for floats.
Handle upload_argument(const Source& source, size_t position) {
  const Dims& dims = source.parameters[position];
  int64_t count = 1;
  for (const int64_t dim : dims) count *= dim;
  std::mt19937 random(static_cast<unsigned>(position + 1));
  if (source.type == PJRT_Buffer_Type_U32) {
    std::vector<uint32_t> data(count);
    for (uint32_t& x : data) x = random();
    auto args = host_args(data.data(), source.type, dims);
    must(api()->PJRT_Client_BufferFromHostBuffer, args);
    if (args.done_with_host_buffer) {
      EXPECT_TRUE(await(args.done_with_host_buffer).ok());
    }
    return Handle(args.buffer);
  }
  std::vector<float> data(count);
  for (float& x : data) x = static_cast<float>(random() >> 8) / (1 << 23) - 1;
  return upload(data, dims);
}

std::vector<Handle> upload_arguments(const Source& source) {
  std::vector<Handle> handles;
  for (size_t i = 0; i < source.parameters.size(); ++i) {
    handles.push_back(upload_argument(source, i));
  }
  return handles;
}

std::vector<PJRT_Buffer*> pointers(const std::vector<Handle>& handles) {
  std::vector<PJRT_Buffer*> out;
  for (const Handle& handle : handles) out.push_back(handle.get());
  return out;
}

void delete_buffer(PJRT_Buffer* buffer) {
  PJRT_Buffer_Delete_Args args{};
  args.buffer = buffer;
  must(api()->PJRT_Buffer_Delete, args);
}

PJRT_Event* ready_event(PJRT_Buffer* buffer) {
  PJRT_Buffer_ReadyEvent_Args args{};
  args.buffer = buffer;
  must(api()->PJRT_Buffer_ReadyEvent, args);
  return args.event;
}

// Counts callbacks, which arrive on other threads.
class Counter {
 public:
  void watch(PJRT_Event* event) {
    ++expected_;
    PJRT_Event_OnReady_Args args{};
    args.event = event;
    args.callback = [](PJRT_Error* error, void* self) {
      EXPECT_TRUE(consume(error).ok());
      static_cast<Counter*>(self)->seen_.fetch_add(1);
    };
    args.user_arg = this;
    must(api()->PJRT_Event_OnReady, args);
    PJRT_Event_Destroy_Args gone{};
    gone.event = event;
    must(api()->PJRT_Event_Destroy, gone);
  }
  ~Counter() {
    for (int i = 0; i < 20'000 && seen_.load() != expected_; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(seen_.load(), expected_);
  }

 private:
  std::atomic<int> seen_{0};
  int expected_ = 0;
};

std::vector<Bytes> run_alone(const Source& source) {
  const Executable executable(source);
  const auto arguments = upload_arguments(source);
  std::vector<Handle> results;
  EXPECT_TRUE(executable.execute(pointers(arguments), results).ok());
  std::vector<Bytes> out;
  for (const Handle& result : results) out.push_back(download<uint8_t>(result.get()));
  return out;
}

// Programs of all kinds, each compiled by every thread itself: small ones run on the thread that
// asks, large ones on the device's and on the workers.
TEST(Stress, ThreadsCompileAndRun) {
  const std::vector<Source> sources{kDonation, kTrainStep, kScan, kRandom};
  std::vector<std::vector<Bytes>> want;
  for (const Source& source : sources) want.push_back(run_alone(source));
  on_threads([&](int thread) {
    Counter counter;
    for (size_t step = 0; step < 10 * sources.size(); ++step) {
      const size_t chosen = (step + thread) % sources.size();
      std::vector<Handle> results;
      {
        const Executable executable(sources[chosen]);  // goes while its execution may be pending
        const auto arguments = upload_arguments(sources[chosen]);
        ASSERT_TRUE(executable.execute(pointers(arguments), results).ok());
      }
      counter.watch(ready_event(results[0].get()));
      for (size_t i = 0; i < results.size(); ++i) {
        EXPECT_EQ(download<uint8_t>(results[i].get()), want[chosen][i]) << sources[chosen].file;
      }
    }
  });
}

// Each thread carries a state through a chain of donations without ever waiting, longer than the
// device's queue, and deletes results on the way.
TEST(Stress, ChainsOfPendingDonations) {
  const Executable executable(kDonation);
  const Handle shared = upload_argument(kDonation, 1);
  constexpr int kLength = 40;
  std::vector<Bytes> ends(kThreads);
  on_threads([&](int thread) {
    Counter counter;
    Handle state = upload_argument(kDonation, 0);
    for (int step = 0; step < kLength; ++step) {
      std::vector<Handle> results;
      ASSERT_TRUE(executable.execute({state.get(), shared.get()}, results).ok());
      state = std::move(results[0]);
      if (step % 3 == thread % 3) delete_buffer(results[1].get());
      if (step % 8 == 0) counter.watch(ready_event(state.get()));
    }
    ends[thread] = download<uint8_t>(state.get());
  });
  Handle state = upload_argument(kDonation, 0);
  for (int step = 0; step < kLength; ++step) {
    std::vector<Handle> results;
    ASSERT_TRUE(executable.execute({state.get(), shared.get()}, results).ok());
    EXPECT_TRUE(await(ready_event(results[0].get())).ok());
    state = std::move(results[0]);
  }
  const Bytes want = download<uint8_t>(state.get());
  for (const Bytes& end : ends) EXPECT_EQ(end, want);
}

// All threads want to donate the same pending array, read and delete it: one gets it, and whatever
// the others are answered, it is an error or the right value.
TEST(Stress, OneArrayForAll) {
  const std::vector<Bytes> first = run_alone(kDonation);
  const Executable executable(kDonation);
  const Handle x = upload_argument(kDonation, 1);
  for (int round = 0; round < 40; ++round) {
    const Handle start = upload_argument(kDonation, 0);
    std::vector<Handle> pending;
    ASSERT_TRUE(executable.execute({start.get(), x.get()}, pending).ok());
    PJRT_Buffer* const shared = pending[0].get();
    std::atomic<int> donated{0};
    on_threads([&](int thread) {
      std::vector<Handle> results;
      if (thread < 2) {
        const Outcome outcome = executable.execute({shared, x.get()}, results);
        donated += outcome.ok() ? 1 : 0;
        if (outcome.ok()) {
          EXPECT_TRUE(await(ready_event(results[0].get())).ok());
        }
      } else if (thread == 2) {
        Bytes data(first[0].size());
        PJRT_Buffer_ToHostBuffer_Args args{};
        args.src = shared;
        args.dst = data.data();
        args.dst_size = data.size();
        if (call(api()->PJRT_Buffer_ToHostBuffer, args).ok() && await(args.event).ok()) {
          EXPECT_EQ(data, first[0]);
        }
      } else if (round % 2 == 0) {
        delete_buffer(shared);
      }
    });
    EXPECT_LE(donated.load(), 1);
    EXPECT_GE(donated.load(), round % 2);
  }
}

// Events of the client: set by one thread, awaited and watched by others.
TEST(Stress, EventsBetweenThreads) {
  for (int round = 0; round < 200; ++round) {
    PJRT_Event_Create_Args made{};
    must(api()->PJRT_Event_Create, made);
    on_threads([&](int thread) {
      if (thread == 0) {
        PJRT_Event_Set_Args args{};
        args.event = made.event;
        args.error_code = PJRT_Error_Code_ABORTED;
        args.error_message = "on purpose";
        args.error_message_size = 10;
        must(api()->PJRT_Event_Set, args);
      } else {
        EXPECT_FAILS(await(made.event, false), ABORTED, "on purpose");
      }
    });
    PJRT_Event_Destroy_Args gone{};
    gone.event = made.event;
    must(api()->PJRT_Event_Destroy, gone);
  }
}

}  // namespace
}  // namespace jaxmps::pjrt::test
