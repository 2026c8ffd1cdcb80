// Kinds of GPUs as the executor sees them: how the printed text of kernels becomes functions, and
// which encoder launches them. Kernels are compiled when a program is, several together, and kept
// by their text for the life of the process. Thread-safe; objects live as long as the process.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "exec/encoder.h"
#include "kernels/gpu.h"

namespace jaxmps::exec {

// What MLX calls its GPU. Throws Failure if MLX can't use it.
std::string gpu_name();

// An error that says what to do if the products are wrong that are in builds of MLX of which the
// kernels for the M5 were compiled by a faulty compiler (docs/apple.md).
using Product = std::function<mx::array(const mx::array&, const mx::array&)>;
Status check_products(const Product& product);

class Gpu {
 public:
  virtual ~Gpu() = default;

  virtual const kernels::Dialect& dialect() const = 0;
  const ir::Target& target() const { return dialect().target; }
  // Where MLX's primitives run, and what the device is called.
  virtual mx::Device device() const { return mx::Device::gpu; }
  virtual std::string kind() const { return gpu_name(); }
  // "9.0" of an NVIDIA GPU; empty for those that have none, and where MLX does not tell it.
  virtual std::string compute_capability() const { return ""; }
  // What is known to be wrong on some machines, looked for once, before the first device.
  virtual Status check() const { return {}; }
  // Why no kernels can be compiled here and what helps; empty if they can.
  virtual std::string why_no_compiler() const { return {}; }
  virtual std::unique_ptr<Encoder> make_encoder(mx::Stream stream) const = 0;

  // The fusion's kernels, or why it has none.
  Result<kernels::GpuFusion> print(const kernels::Fusion& description) const;
  // Compiles kernels on all cores. What fails is left to be met by lower().
  void compile(const std::vector<const kernels::GpuFusion*>& fusions);
  // The kernels of a fusion, ready to be launched.
  Result<ops::Lowering> lower(const kernels::GpuFusion& printed);

 protected:
  using Function = std::shared_ptr<const void>;
  using Kernels = std::vector<const kernels::GpuKernel*>;
  // The functions of the kernels, whose text `source` is; called from many threads.
  virtual Result<std::vector<Function>> build(const std::string& source,
                                              const Kernels& kernels) = 0;

 private:
  Function find(const kernels::GpuKernel& kernel);
  Status build_together(const Kernels& kernels);

  std::mutex mutex_;
  std::unordered_map<std::string, Function> functions_;  // by the kernel's source
};

// What runs a target's kernels; null for the CPU and for what this system cannot have.
Gpu* gpu_of(const ir::Target& target);
// Another one for the target, for tests; answers the one before.
Gpu* use_gpu(const ir::Target& target, Gpu* gpu);

// The system's own: an NVIDIA GPU on Linux, an Apple one on macOS.
Gpu* system_gpu();

}  // namespace jaxmps::exec
