// The simulated Metal as a GPU of the executor: launches and MLX's CPU primitives follow each other
// on one stream of MLX's CPU backend, later than they are encoded. It takes the place of Metal
// where it is linked, and is chosen by JAX_MPS_DEVICE=simulated.
// Results of launches hold NaNs until they are written. The first launch that fails ends what was
// sent with it: its error is that of the execution.
#include "exec/gpu.h"

#include <cstring>
#include <utility>

#include "exec/encoder_gpu.h"
#include "exec/run_context.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/primitives.h"
#include "simulated/metal.h"

namespace jaxmps::exec {
namespace {

// What a launch names.
struct SimulatedFunction {
  std::shared_ptr<metal::Library> library;
  std::string name;
};

// One launch on its way.
struct PendingLaunch {
  std::shared_ptr<const void> function;  // a SimulatedFunction
  metal::Size groups, threads;
  std::vector<metal::Buffer> buffers;
  size_t inputs = 0;
  std::string place;  // the op and the user's line

  Status run() const {
    for (size_t k = inputs; k < buffers.size(); ++k) {
      if (buffers[k].bytes) std::memset(buffers[k].data, 0xff, buffers[k].bytes);
    }
    const auto& called = *static_cast<const SimulatedFunction*>(function.get());
    Status done = called.library->launch(called.name, groups, threads, buffers);
    if (done.ok() || place.empty()) return done;
    return Error(done.error()).in(place);
  }
};

const Status kFine;

class SimulatedEncoder final : public GpuEncoder {
 public:
  explicit SimulatedEncoder(mx::Stream stream) : GpuEncoder(stream) {}

  std::shared_ptr<const Status> outcome() override {
    auto result = std::make_shared<Status>();
    commands().dispatch([result, failure = failure_] {
      *result = *failure;
      *failure = kFine;
    });
    return result;
  }

 private:
  mx::cpu::CommandEncoder& commands() { return mx::cpu::get_command_encoder(stream()); }

  void encode(mx::Primitive& primitive, const std::vector<mx::array>& inputs,
              std::vector<mx::array>& outputs) override {
    primitive.eval_cpu(inputs, outputs);
    ++encoded_;
  }

  void encode(const ops::Launch& launch, const std::vector<mx::array>& inputs,
              std::vector<mx::array>& outputs) override {
    PendingLaunch pending{launch.function,
                          {static_cast<uint32_t>(launch.blocks)},
                          {static_cast<uint32_t>(launch.threads)},
                          {},
                          inputs.size(),
                          {}};
    for (const mx::array& input : inputs) {
      pending.buffers.push_back({const_cast<void*>(input.data<void>()), input.nbytes()});
    }
    for (mx::array& output : outputs) {
      output.set_data(mx::allocator::malloc(output.nbytes()));
      pending.buffers.push_back({output.data<void>(), output.nbytes()});
    }
    if (const RunContext* run = RunContext::current(); run && run->op) {
      pending.place = str(ir::brief(*run->op), " at ", ir::brief(run->op->location));
    }
    commands().dispatch([pending = std::move(pending), failure = failure_] {
      if (failure->ok()) *failure = pending.run();
    });
    ++encoded_;
  }

  // As often as MLX does it on small Apple GPUs.
  bool needs_commit() override { return encoded_ >= 20; }

  void commit(Held held) override {
    encoded_ = 0;
    commands().dispatch([held = std::move(held), more = std::move(commands().temporaries())] {});
  }

  void synchronize() override {
    GpuEncoder::synchronize();
    if (failure_->ok()) return;
    Failure failure{failure_->error()};
    *failure_ = kFine;
    throw failure;
  }

  int encoded_ = 0;  // since the last commit
  // Of what was sent; the stream's thread has it until the stream is idle.
  const std::shared_ptr<Status> failure_ = std::make_shared<Status>();
};

class Simulated final : public Gpu {
 public:
  const kernels::Dialect& dialect() const override { return kernels::metal_dialect(); }
  mx::Device device() const override { return mx::Device::cpu; }
  std::string kind() const override { return "simulated Metal"; }
  std::string why_no_compiler() const override { return metal::why_unavailable(); }
  std::unique_ptr<Encoder> make_encoder(mx::Stream stream) const override {
    return std::make_unique<SimulatedEncoder>(stream);
  }

 private:
  Result<std::vector<Function>> build(const std::string& source, const Kernels& kernels) override {
    TRY(auto library,
        metal::Library::compile(source, {.checks_accesses = true, .flushes_denormals = true}));
    std::vector<Function> functions;
    for (const kernels::GpuKernel* kernel : kernels) {
      functions.push_back(
          std::make_shared<const SimulatedFunction>(SimulatedFunction{library, kernel->name}));
    }
    return functions;
  }
};

[[maybe_unused]] const bool kIsMetal = (use_gpu(ir::kMetal, new Simulated), true);

}  // namespace
}  // namespace jaxmps::exec
