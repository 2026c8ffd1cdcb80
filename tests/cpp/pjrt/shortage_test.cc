// Want of memory, threads, libraries and files at any moment of a training step: an error or the
// right results, never the end of the process, and the next step is right.
#include <sys/wait.h>
#include <unistd.h>

#include <complex>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/thread.h"
#include "kernels/cpu/gemm.h"
#include "pjrt/executable.h"
#include "pjrt/faults.h"
#include "pjrt/support.h"

namespace jaxmps::pjrt::test {
namespace {

using faults::Exposed;
using faults::Kind;

std::string read_artifact() {
  std::ifstream in(JAXMPS_SOURCE_DIR "/tests/bytecode/artifacts/jax_train_step.1.16.0.bc",
                   std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Calls a slot with faults; reads the error without.
template <typename Args>
Outcome risk(PJRT_Error* (*slot)(Args*), Args& args) {
  args.struct_size = ArgsInfo<Args>::size;
  PJRT_Error* error;
  {
    const Exposed exposed;
    error = slot(&args);
  }
  return consume(error);
}

#define RISK(slot, args) \
  if (Outcome outcome_ = risk(api()->slot, args); !outcome_.ok()) return outcome_

Outcome settle(PJRT_Event* event) {
  PJRT_Event_Await_Args args{};
  args.event = event;
  Outcome outcome = risk(api()->PJRT_Event_Await, args);
  PJRT_Event_Destroy_Args gone{};
  gone.event = event;
  must(api()->PJRT_Event_Destroy, gone);
  return outcome;
}

// One training step: compiles, uploads, runs and reads.
class Step {
 public:
  Outcome run() {
    Outcome outcome = attempt();
    arguments_.clear();
    results_.clear();
    if (executable_) {
      PJRT_LoadedExecutable_Destroy_Args args{};
      args.executable = std::exchange(executable_, nullptr);
      must(api()->PJRT_LoadedExecutable_Destroy, args);
    }
    return outcome;
  }
  std::vector<std::vector<char>> read;  // the results of the last run that got so far

 private:
  Outcome attempt() {
    read.clear();
    PJRT_Program program{};
    program.struct_size = sizeof(program);
    program.code = artifact_.data();
    program.code_size = artifact_.size();
    program.format = format_.data();
    program.format_size = format_.size();
    PJRT_Client_Compile_Args compile{};
    compile.client = client();
    compile.program = &program;
    RISK(PJRT_Client_Compile, compile);
    executable_ = compile.executable;
    const exec::ProgramInfo& info = executable_->state()->info();
    std::vector<PJRT_Buffer*> list;
    for (const ir::Type& type : info.parameters) {
      const std::vector<float> data(type.size(), 0.25f + static_cast<float>(list.size()) / 8);
      auto args = host_args(data.data(), PJRT_Buffer_Type_F32, type.dims);
      RISK(PJRT_Client_BufferFromHostBuffer, args);
      arguments_.emplace_back(args.buffer);
      list.push_back(args.buffer);
      if (args.done_with_host_buffer) {
        if (Outcome done = settle(args.done_with_host_buffer); !done.ok()) return done;
      }
    }
    return execute(list, info.results.size());
  }

  Outcome execute(const std::vector<PJRT_Buffer*>& list, size_t count) {
    std::vector<PJRT_Buffer*> out(count);
    PJRT_Buffer* const* in = list.data();
    PJRT_Buffer** outputs = out.data();
    PJRT_Event* complete = nullptr;
    PJRT_LoadedExecutable_Execute_Args args{};
    args.executable = executable_;
    args.argument_lists = &in;
    args.num_devices = 1;
    args.num_args = list.size();
    args.output_lists = &outputs;
    args.device_complete_events = &complete;
    RISK(PJRT_LoadedExecutable_Execute, args);
    for (PJRT_Buffer* buffer : out) results_.emplace_back(buffer);
    if (Outcome done = settle(complete); !done.ok()) return done;
    for (const Handle& result : results_) {
      PJRT_Buffer_ToHostBuffer_Args copy{};
      copy.src = result.get();
      RISK(PJRT_Buffer_ToHostBuffer, copy);
      read.emplace_back(copy.dst_size);
      copy.dst = read.back().data();
      RISK(PJRT_Buffer_ToHostBuffer, copy);
      if (Outcome done = settle(copy.event); !done.ok()) return done;
    }
    return {};
  }

  std::string artifact_ = read_artifact(), format_ = "mlir";
  PJRT_LoadedExecutable* executable_ = nullptr;
  std::vector<Handle> arguments_, results_;
};

// JAX_MPS_EVERY_FAULT tries them all, else some.
int64_t stride_of(int64_t calls, int64_t tried) {
  if (std::getenv("JAX_MPS_EVERY_FAULT")) return 1;
  return std::max<int64_t>(1, calls / tried);
}

void expect_shortage(const Outcome& outcome, int64_t n) {
  if (outcome.ok()) return;
  EXPECT_NE(outcome.text.find("memory"), std::string::npos) << n << ": " << outcome.text;
  EXPECT_EQ(outcome.code, PJRT_Error_Code_RESOURCE_EXHAUSTED) << n << ": " << outcome.text;
}

void walk_memory(bool persist) {
  if (!faults::supported()) GTEST_SKIP() << "no faults in this build";
  const faults::Exempt exempt;
  Step step;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(step.run().ok());  // what is made once is made
  const auto want = step.read;
  faults::arm(Kind::memory, -1);
  ASSERT_TRUE(step.run().ok());
  const int64_t calls = faults::disarm();
  ASSERT_GT(calls, 1000);
  const int64_t before = faults::live_blocks();
  int64_t tried = 0, failed = 0;
  for (int64_t n = 1; n <= calls; n += stride_of(calls, 150)) {
    faults::arm(Kind::memory, n, persist);
    const Outcome outcome = step.run();
    faults::disarm();
    expect_shortage(outcome, n);
    if (outcome.ok()) {
      EXPECT_EQ(step.read, want) << n;
    }
    ++tried;
    failed += !outcome.ok();
    const Outcome again = step.run();
    ASSERT_TRUE(again.ok()) << n << ": " << again.text;
    ASSERT_EQ(step.read, want) << n;
  }
  EXPECT_GT(failed, tried / 2);
  // Each failure may leave caches fuller, but not each something more.
  EXPECT_LT(faults::live_blocks() - before, 60 + tried / 4) << tried << " tried";
}

TEST(Shortage, OneAllocation) { walk_memory(false); }
TEST(Shortage, AllAllocationsFromOneOn) { walk_memory(true); }

// The first use of everything, in a new process: a client starts, a step is compiled and run, and
// written to JAX_MPS_DUMP. 77: there were less calls than that.
int in_new_process(const char* kind, int64_t n, const std::string& folder) {
  const std::string command = "FAULT_KIND=" + std::string(kind) + " FAULT_AT=" + std::to_string(n) +
                              " JAX_MPS_DUMP=" + folder +
                              " GTEST_TOTAL_SHARDS=1 GTEST_SHARD_INDEX=0 /proc/" +
                              std::to_string(getpid()) +
                              "/exe --gtest_also_run_disabled_tests "
                              "--gtest_filter=Shortage.DISABLED_FirstUse > " +
                              folder + "/log 2>&1";
  return std::system(command.c_str());
}

Kind kind_of(const std::string& name) {
  return name == "thread"    ? Kind::thread
         : name == "library" ? Kind::library
         : name == "file"    ? Kind::file
                             : Kind::memory;
}

// A product that goes to the BLAS library, if that can be opened: ones, 32 of them each.
void multiply() {
  constexpr int64_t kSide = 32;
  const std::vector<std::complex<double>> ones(kSide * kSide, 1.0);
  std::vector<std::complex<double>> c(kSide * kSide);
  cpu::Gemm g;
  g.in = g.out = ir::DType::c128;
  g.m = g.n = g.k = g.a_row = g.b_row = g.c_row = kSide;
  bool done = false;
  {
    const Exposed exposed;
    try {
      cpu::gemm(g, ones.data(), ones.data(), c.data());
      done = true;
    } catch (const std::bad_alloc&) {
    }
  }
  for (const std::complex<double>& v : c) ASSERT_TRUE(!done || v == 32.0) << v;
}

TEST(Shortage, DISABLED_FirstUse) {
  const int64_t n = std::atoll(std::getenv("FAULT_AT"));
  const faults::Exempt exempt;
  faults::arm(kind_of(std::getenv("FAULT_KIND")), n);
  PJRT_Client_Create_Args args{};
  if (const Outcome outcome = risk(api()->PJRT_Client_Create, args); outcome.ok()) {
    PJRT_Client_Destroy_Args gone{};
    gone.client = args.client;
    must(api()->PJRT_Client_Destroy, gone);
  } else {
    EXPECT_EQ(outcome.code, PJRT_Error_Code_RESOURCE_EXHAUSTED) << outcome.text;
    EXPECT_FALSE(outcome.text.empty());
  }
  Step step;
  const Outcome outcome = step.run();
  const auto first = step.read;
  multiply();
  const int64_t calls = faults::disarm();
  expect_shortage(outcome, n);
  const Outcome again = step.run();
  EXPECT_TRUE(again.ok()) << again.text;
  if (outcome.ok()) {
    EXPECT_EQ(first, step.read);
  }
  multiply();
  // The caller learns that there was nothing left to fail.
  if (calls < n && !HasFailure()) std::_Exit(77);
}

// Tries the first `each` counts, then every `stride`th.
void walk_first_use(const char* kind, int64_t each, int64_t stride) {
  if (!faults::supported()) GTEST_SKIP() << "no faults in this build";
  std::string folder = ::testing::TempDir() + "shortageXXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  if (std::getenv("JAX_MPS_EVERY_FAULT")) stride = 1;
  int64_t tried = 0;
  for (int64_t n = 1;; n += n < each ? 1 : stride) {
    const int status = in_new_process(kind, n, folder);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) break;
    std::ifstream log(folder + "/log");
    const std::string text(std::istreambuf_iterator<char>(log), {});
    ASSERT_EQ(status, 0) << kind << " " << n << "\n" << text;
    ASSERT_NE(text.find("DISABLED_FirstUse"), std::string::npos) << text;
    ++tried;
  }
  EXPECT_GT(tried, 0) << "no " << kind << " was asked for";
  std::printf("%s: %lld tried\n", kind, static_cast<long long>(tried));
  std::filesystem::remove_all(folder);
}

TEST(Shortage, OfThreadsIsAnError) {
  if (!faults::supported()) GTEST_SKIP() << "no faults in this build";
  const faults::Exempt exempt;
  faults::arm(Kind::thread, 1);
  Status started;
  {
    const Exposed exposed;
    started = start_thread([] {});
  }
  faults::disarm();
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().text, "no new thread");
}

TEST(Shortage, ThreadsOfTheFirstStep) { walk_first_use("thread", 40, 1); }
TEST(Shortage, LibrariesOfTheFirstStep) { walk_first_use("library", 40, 1); }
TEST(Shortage, FilesOfTheFirstStep) { walk_first_use("file", 10, 7); }
TEST(Shortage, MemoryOfTheFirstStep) { walk_first_use("memory", 1, 997); }

}  // namespace
}  // namespace jaxmps::pjrt::test
