// A GPU that takes every kernel and compiles none, and an encoder that counts what it is sent and
// computes nothing: what a program asks of a GPU, without one. Any thread.
#pragma once

#include <memory>
#include <vector>

#include "exec/gpu.h"

namespace jaxmps::testing {

class NullEncoder final : public exec::Encoder {
 public:
  explicit NullEncoder(mlx::core::Stream stream) : Encoder(stream, true, true) {}
  int primitives = 0, launches = 0, held = 0;

 private:
  using Arrays = std::vector<mlx::core::array>;
  static void allocate(Arrays& outputs) {
    for (auto& output : outputs) output.set_data(mlx::core::allocator::malloc(output.nbytes()));
  }
  void encode(mlx::core::Primitive&, const Arrays&, Arrays& outputs) override {
    ++primitives;
    allocate(outputs);
  }
  void encode_launch(const ops::Launch&, const Arrays&, Arrays& outputs) override {
    ++launches;
    allocate(outputs);
  }
  void hold(const mlx::core::array&) override { ++held; }
  void synchronize() override {}
};

class NullGpu final : public exec::Gpu {
 public:
  explicit NullGpu(const kernels::Dialect& dialect) : dialect_(dialect) {}
  const kernels::Dialect& dialect() const override { return dialect_; }
  std::unique_ptr<exec::Encoder> make_encoder(mlx::core::Stream stream) const override {
    return std::make_unique<NullEncoder>(stream);
  }

 private:
  Result<std::vector<Function>> build(const std::string&, const Kernels& kernels) override {
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

 private:
  const ir::Target& target_;
  NullGpu null_;
  exec::Gpu* const before_;
};

}  // namespace jaxmps::testing
