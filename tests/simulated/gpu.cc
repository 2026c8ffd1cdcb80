// The simulated Metal as a GPU of the executor: launches and MLX's CPU primitives follow each other
// on one stream of MLX's CPU backend, later than they are encoded. It takes the place of Metal
// where it is linked, and is chosen by JAX_MPS_DEVICE=simulated.
// Results of launches hold NaNs until they are written. The first launch that fails ends what was
// sent with it: its error is that of the execution. Primitives of MLX other than copies, and
// convolutions, which begin with one, are refused arrays with negative strides, which MLX's Metal
// kernels have often read wrongly.
#include "simulated/gpu.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
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
  Blocks blocks;
  bool is_piece = false;
  metal::Size threads;
  std::vector<metal::Buffer> buffers;
  size_t inputs = 0;
  std::string place;  // the op and the user's line

  Status run() const {
    const auto is_input = [&](const metal::Buffer& output) {
      return std::any_of(buffers.begin(), buffers.begin() + static_cast<std::ptrdiff_t>(inputs),
                         [&](const metal::Buffer& input) { return input.data == output.data; });
    };
    for (size_t k = inputs; k < buffers.size() && blocks.first == 0; ++k) {
      if (buffers[k].bytes && !is_input(buffers[k]))
        std::memset(buffers[k].data, 0xff, buffers[k].bytes);
    }
    const auto& called = *static_cast<const SimulatedFunction*>(function.get());
    std::vector<metal::Buffer> all = buffers;
    uint32_t first = blocks.first;
    if (is_piece) all.push_back({&first, sizeof first});
    Status done = called.library->launch(called.name, {blocks.count}, threads, all);
    if (done.ok() || place.empty()) return done;
    return Error(done.error()).in(place);
  }
};

const Status kFine;

std::atomic<int64_t> commits{0}, waits{0};

class SimulatedEncoder final : public GpuEncoder {
 public:
  SimulatedEncoder(mx::Stream stream, const ir::Target& target) : GpuEncoder(stream, target) {}

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
    for (const mx::array& input : inputs) {
      const auto& strides = input.strides();
      const bool backwards = std::ranges::any_of(strides, [](auto s) { return s < 0; });
      const std::string_view name = primitive.name();
      if (backwards && name != "Contiguous" && name != "Convolution")
        throw Failure{internal(str(name, " of an array that lies backwards"))};
    }
    primitive.eval_cpu(inputs, outputs);
    ++encoded_;
  }

  void encode_blocks(const ops::Launch& launch, const Blocks& blocks,
                     const std::vector<mx::array>& inputs,
                     std::vector<mx::array>& outputs) override {
    PendingLaunch pending{
        launch.function, blocks, launch.pieces > 1, {static_cast<uint32_t>(launch.threads)}, {},
        inputs.size(),   {}};
    for (const mx::array& input : inputs) {
      pending.buffers.push_back({const_cast<void*>(input.data<void>()), input.nbytes()});
    }
    for (mx::array& output : outputs) {
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
    ++commits;
    commands().dispatch([held = std::move(held), more = std::move(commands().temporaries())] {});
  }

  void synchronize() override {
    ++waits;
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
  explicit Simulated(const kernels::Dialect& dialect) : dialect_(dialect) {}

  const kernels::Dialect& dialect() const override { return dialect_; }
  mx::Device device() const override { return mx::Device::cpu; }
  std::string kind() const override { return "simulated Metal"; }
  Status check() const override {
    return check_products([](const auto& a, const auto& b) { return mx::matmul(a, b); });
  }
  std::string why_no_compiler() const override { return metal::why_unavailable(); }
  std::unique_ptr<Encoder> make_encoder(mx::Stream stream) const override {
    return std::make_unique<SimulatedEncoder>(stream, target());
  }

 private:
  Result<std::vector<Function>> build(const std::string& source, const Kernels& kernels) override {
    const char* word = std::getenv("JAX_MPS_SIMULATED_REFUSES");
    if (word && source.find(word, dialect_.prelude.size()) != std::string::npos) {
      return internal(str("error: use of undeclared identifier '", word, "'"));
    }
    TRY(auto library,
        metal::Library::compile(source, {.checks_accesses = true, .flushes_denormals = true}));
    std::vector<Function> functions;
    for (const kernels::GpuKernel* kernel : kernels) {
      functions.push_back(
          std::make_shared<const SimulatedFunction>(SimulatedFunction{library, kernel->name}));
    }
    return functions;
  }

  const kernels::Dialect& dialect_;
};

[[maybe_unused]] const bool kIsMetal =
    (use_gpu(ir::kMetal, new Simulated(kernels::metal_dialect())), true);

}  // namespace

std::unique_ptr<Gpu> simulated_gpu(const kernels::Dialect& dialect) {
  return std::make_unique<Simulated>(dialect);
}

SimulatedCounts simulated_counts() { return {commits, waits}; }

}  // namespace jaxmps::exec
