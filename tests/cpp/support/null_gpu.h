// A GPU that takes every kernel and compiles none, and an encoder that counts what it is sent and
// computes nothing: what a program asks of a GPU, without one. Any thread.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "exec/encoder_gpu.h"
#include "exec/gpu.h"

namespace jaxmps::testing {

class NullEncoder final : public exec::GpuEncoder {
 public:
  explicit NullEncoder(mlx::core::Stream stream, const ir::Target& target = ir::kCuda)
      : GpuEncoder(stream, target) {}
  int64_t primitives = 0, launches = 0, held = 0, commits = 0, marks = 0;
  // Reads that later writes were to come behind.
  int64_t preceded = 0;
  // How often the memory of a result was given back before what writes it was committed. Results
  // must not outlive the encoder.
  int64_t given_back_early = 0;
  // What was not sent has ended.
  End mark() override {
    ++marks;
    release();
    return [] { return Status(); };
  }

 private:
  using Arrays = std::vector<mlx::core::array>;
  // All of them see one byte.
  void allocate(mlx::core::array& output) override {
    const auto give_back = [this, then = commits](mlx::core::allocator::Buffer) {
      if (commits == then) ++given_back_early;
    };
    output.set_data(mlx::core::allocator::Data(memory_, give_back));
  }
  void encode(mlx::core::Primitive&, const Arrays&, Arrays& outputs) override {
    ++primitives;
    for (auto& output : outputs) allocate(output);
  }
  void encode_blocks(const ops::Launch&, const exec::Blocks&, const Arrays&, Arrays&) override {
    ++launches;
    ++since_commit_;
  }
  void precede_writes(const mlx::core::array&, const Arrays&) override { ++preceded; }
  bool needs_commit() override { return since_commit_ >= 50; }
  void commit(Held memory) override {
    held += static_cast<int64_t>(memory.size());
    ++commits;
    since_commit_ = 0;
  }
  void synchronize() override {}

  mlx::core::allocator::Buffer memory_{&byte_};
  char byte_ = 0;
  int since_commit_ = 0;
};

class NullGpu final : public exec::Gpu {
 public:
  explicit NullGpu(const kernels::Dialect& dialect) : dialect_(dialect) {}
  const kernels::Dialect& dialect() const override { return dialect_; }
  mlx::core::Device device() const override { return mlx::core::Device::cpu; }
  std::string kind() const override { return "nothing"; }
  std::unique_ptr<exec::Encoder> make_encoder(mlx::core::Stream stream) const override {
    return std::make_unique<NullEncoder>(stream, target());
  }
  std::atomic<size_t> kernels_built{0};

 private:
  Result<std::vector<Function>> build(const std::string&, const Kernels& kernels) override {
    kernels_built += kernels.size();
    return std::vector<Function>(kernels.size(), std::make_shared<const int>(0));
  }
  const kernels::Dialect& dialect_;
};

// Takes the place of a target's GPU while it lives.
class NullGpuScope {
 public:
  NullGpuScope(const ir::Target& target, const kernels::Dialect& dialect)
      : target_(target), null_(dialect), before_(exec::use_gpu(target, &null_)) {}
  ~NullGpuScope() { exec::use_gpu(target_, before_); }
  NullGpuScope(const NullGpuScope&) = delete;
  size_t kernels_built() const { return null_.kernels_built; }

 private:
  const ir::Target& target_;
  NullGpu null_;
  exec::Gpu* const before_;
};

}  // namespace jaxmps::testing
