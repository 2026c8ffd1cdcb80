// What the host takes for a program on a GPU: plans run on an encoder that counts and sends
// nothing. A line for each program: microseconds of one run, its calls of the device, microseconds
// of each call behind the first. The quickest of many runs, on one thread.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "bytecode/reader.h"
#include "exec/fused.h"
#include "exec/plan.h"
#include "exec/program.h"
#include "ir/builder.h"
#include "passes/pass.h"
#include "support/null_gpu.h"

namespace jaxmps::exec {
namespace {

std::unique_ptr<Plan> plan_of(ir::Module& module) {
  std::vector<Error> refused;
  if (!fuse_module(module, ir::kCuda).ok()) return nullptr;
  auto plan = build_plan(module.main()->body, {}, ir::kCuda, &refused);
  return refused.empty() ? std::move(plan) : nullptr;
}

mx::array zeros(const ir::Type& type) {
  mx::array array = mx::zeros(ops::storage_shape(type), ops::storage_dtype(type.dtype));
  array.eval();
  array.set_status(mx::array::Status::available);
  return array;
}

// The quickest of many runs, in microseconds.
double run(const Plan& plan, const std::vector<ir::Type>& parameters, int64_t* sent) {
  constexpr int kRuns = 3000;
  std::vector<mx::array> arguments;
  for (const ir::Type& type : parameters) arguments.push_back(zeros(type));
  testing::NullEncoder null(mx::default_stream(mx::Device::cpu));
  double best = 1e9;
  for (int i = 0; i < kRuns; ++i) {
    std::vector<mx::array> given = arguments;
    const auto begin = std::chrono::steady_clock::now();
    {
      RunContext context(null);
      (void)run_plan(plan, std::move(given), context, true);
      null.release();
    }
    const std::chrono::duration<double, std::micro> taken =
        std::chrono::steady_clock::now() - begin;
    best = std::min(best, taken.count());
  }
  *sent = (null.launches + null.primitives) / kRuns;
  return best;
}

// `alone`: of a program of one launch.
double report(const char* name, ir::Module& module, double alone) {
  const auto plan = plan_of(module);
  if (!plan) return std::printf("%-24s no plan\n", name);
  int64_t sent = 0;
  const double taken = run(*plan, module.main()->type.elements, &sent);
  const Count calls = count(*plan);
  std::printf("%-24s %9.2f %6d %6d", name, taken,
              static_cast<int>(calls.launches + calls.calls), static_cast<int>(sent));
  if (sent > 1) std::printf(" %9.3f", (taken - alone) / static_cast<double>(sent - 1));
  std::printf("\n");
  return taken;
}

// Launches that read one another's results.
double chain(const char* name, int launches, double alone) {
  testing::Program p;
  const ir::Type type = testing::f32(64, 64);
  testing::Value* x = p.arg(type);
  for (int i = 0; i < launches; ++i) {
    x = p.unary(ir::OpId::exponential, x);
    x = p.ops(ir::OpId::optimization_barrier, {x}, {type})->result();
  }
  p.ret({x});
  return report(name, p.module, alone);
}

std::shared_ptr<const std::string> artifact(const char* name) {
  std::ifstream file(std::filesystem::path(JAXMPS_SOURCE_DIR "/tests/cpp/metal/programs") / name,
                     std::ios::binary);
  return std::make_shared<const std::string>(std::istreambuf_iterator<char>(file),
                                             std::istreambuf_iterator<char>());
}

// Of the calling thread, in microseconds; waiting is none.
double cpu_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

// A program as a client runs it: executions that are queued, each of which reads the results of the
// one before. Of the threads that take part the slowest counts.
Status executions(const char* name) {
  TRY(const std::vector<Device*>* all, devices());
  TRY(const ProgramPtr program, compile(artifact(name), {}, ir::kMetal));
  std::vector<BufferPtr> arguments;
  for (const ir::Type& type : program->info().parameters)
    arguments.push_back(Buffer::ready(all->front(), type, zeros(type)));
  constexpr int kQueued = 500;
  double best = 1e9, of_caller = 1e9;
  for (int round = 0; round < 50; ++round) {
    Event last;
    const auto begin = std::chrono::steady_clock::now();
    const double caller = cpu_time();
    for (int i = 0; i < kQueued; ++i) {
      TRY(const auto execution, program->execute(all->front(), arguments));
      last = execution.done;
    }
    of_caller = std::min(of_caller, (cpu_time() - caller) / kQueued);
    CHECK_OK(last.await());
    const std::chrono::duration<double, std::micro> taken =
        std::chrono::steady_clock::now() - begin;
    best = std::min(best, taken.count() / kQueued);
  }
  std::printf("%-24s %9.2f %9.2f\n", name, best, of_caller);
  return {};
}

}  // namespace

Status run_all() {
  const testing::NullGpuScope cuda(ir::kCuda, kernels::cuda_dialect());
  const testing::NullGpuScope metal(ir::kMetal, kernels::metal_dialect());
  std::printf("%-24s %9s %6s %6s %9s\n", "plan", "us / run", "calls", "sent", "us / sent");
  const double alone = chain("one launch", 1, 0);
  (void)chain("chain of 300", 300, alone);
  const auto programs = {"counted/decode.bc", "transformer_gradient.bc",
                         "counted/resnet18_step.bc"};
  for (const char* name : programs) {
    TRY(const auto module, bytecode::read_artifact(artifact(name)));
    CHECK_OK(passes::run_passes(*module));
    (void)report(name, *module, alone);
  }
  std::printf("\n%-24s %9s %9s\n", "program", "us / run", "us / call");
  for (const char* name : {"chain.bc", "counted/decode.bc"}) CHECK_OK(executions(name));
  return {};
}

}  // namespace jaxmps::exec

int main() {
  setenv("JAX_MPS_DEVICE", "simulated", 1);
  setenv("JAX_MPS_SMALL_ON_CPU", "0", 1);
  const jaxmps::Status done = jaxmps::exec::run_all();
  if (!done.ok()) std::fprintf(stderr, "%s\n", done.error().text.c_str());
  return done.ok() ? 0 : 1;
}
