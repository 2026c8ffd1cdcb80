// The encoder of Apple GPUs. MLX encodes into command buffers; the memory that one uses is kept by
// the completion that goes with its commit. Pipelines are made when a program is compiled and kept
// by MLX.
// The few names of MLX and Metal that are needed are declared here, because their own headers need
// those of Objective-C.
#ifdef __APPLE__

#include <dlfcn.h>

#include <optional>
#include <string_view>
#include <tuple>

#include "exec/encoder_gpu.h"
#include "exec/gpu.h"
#include "mlx/backend/common/metal_kernel.h"
#include "mlx/primitives.h"

namespace MTL {

class ComputeCommandEncoder;
class ComputePipelineState;
class Function;
class Library;
enum class DataType : unsigned long;
struct Size {
  unsigned long width, height, depth;
};

}  // namespace MTL

namespace mlx::core::metal {

class CommandEncoder {
 public:
  void set_input_array(const array& array, int index, int64_t offset);
  void set_output_array(array& array, int index, int64_t offset);
  void register_output_array(const array& array);
  void dispatch_threadgroups(MTL::Size groups, MTL::Size threads);
  MTL::ComputeCommandEncoder* get_command_encoder();
  bool needs_commit() const;
  void end_encoding(bool wait_in_flight);
  void commit(std::function<void()> completion);
};

class Device {
 public:
  MTL::Library* get_library(const std::string& name, const CompileOptions& options,
                            const std::function<std::string()>& text);
  MTL::ComputePipelineState* get_kernel(
      const std::string& name, MTL::Library* library, const std::string& hash,
      const std::vector<std::tuple<const void*, MTL::DataType, unsigned long>>& constants,
      const std::vector<MTL::Function*>& linked);
};

CommandEncoder& get_command_encoder(Stream stream);
Device& device(mlx::core::Device device);

}  // namespace mlx::core::metal

namespace jaxmps::exec {
namespace {

// Of Objective-C's runtime, which libmlx has loaded.
template <typename F>
F objective_c(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name));
}

// What Objective-C objects made meanwhile are released at the end of.
class AutoreleasePool {
 public:
  AutoreleasePool() : pool_(push()()) {}
  ~AutoreleasePool() { pop()(pool_); }
  AutoreleasePool(const AutoreleasePool&) = delete;

 private:
  using Push = void* (*)();
  using Pop = void (*)(void*);
  static Push push() {
    static const auto function = objective_c<Push>("objc_autoreleasePoolPush");
    return function;
  }
  static Pop pop() {
    static const auto function = objective_c<Pop>("objc_autoreleasePoolPop");
    return function;
  }

  void* const pool_;
};

template <typename R, typename... Argument>
R send_message(const void* object, const char* name, Argument... argument) {
  static const auto selector = objective_c<const void* (*)(const char*)>("sel_registerName");
  static const auto call =
      objective_c<R (*)(const void*, const void*, Argument...)>("objc_msgSend");
  return call(object, selector(name), argument...);
}

class MetalEncoder final : public GpuEncoder {
 public:
  explicit MetalEncoder(mx::Stream stream) : GpuEncoder(stream, ir::kMetal) {}

 private:
  mx::metal::CommandEncoder& commands() { return mx::metal::get_command_encoder(stream()); }

  void encode(mx::Primitive& primitive, const std::vector<mx::array>& inputs,
              std::vector<mx::array>& outputs) override {
    const AutoreleasePool pool;
    primitive.eval_gpu(inputs, outputs);
  }

  void encode_blocks(const ops::Launch& launch, const Blocks& blocks,
                     const std::vector<mx::array>& inputs,
                     std::vector<mx::array>& outputs) override {
    const AutoreleasePool pool;
    mx::metal::CommandEncoder& commands = this->commands();
    const auto* metal = commands.get_command_encoder();
    send_message<void>(metal, "setComputePipelineState:", launch.function.get());
    int index = 0;
    for (const mx::array& input : inputs) commands.set_input_array(input, index++, 0);
    for (mx::array& output : outputs) commands.set_output_array(output, index++, 0);
    if (launch.pieces > 1) {
      send_message<void>(metal, "setBytes:length:atIndex:", &blocks.first,
                         static_cast<unsigned long>(sizeof blocks.first),
                         static_cast<unsigned long>(index));
    }
    commands.dispatch_threadgroups({blocks.count, 1, 1},
                                   {static_cast<unsigned long>(launch.threads), 1, 1});
  }

  // MLX orders a write behind reads of the same command buffer, but behind writes alone of those
  // before it.
  void precede_writes(const mx::array& read, const std::vector<mx::array>& /*outputs*/) override {
    commands().register_output_array(read);
  }

  bool needs_commit() override { return commands().needs_commit(); }

  void commit(Held held) override {
    const AutoreleasePool pool;
    mx::metal::CommandEncoder& commands = this->commands();
    commands.end_encoding(false);
    commands.commit([held = std::move(held)] {});
  }
};

class Metal final : public Gpu {
 public:
  const kernels::Dialect& dialect() const override { return kernels::metal_dialect(); }
  Status check() const override {
    const AutoreleasePool pool;
    return check_products([](const auto& a, const auto& b) { return mx::matmul(a, b); });
  }
  std::unique_ptr<Encoder> make_encoder(mx::Stream stream) const override {
    return std::make_unique<MetalEncoder>(stream);
  }

 private:
  // MLX throws what Apple's compiler says.
  Result<std::vector<Function>> build(const std::string& source, const Kernels& kernels) override {
    const AutoreleasePool pool;
    std::vector<Function> functions;
    try {
      mx::metal::Device& device = mx::metal::device(mx::Device::gpu);
      std::string all = "mps";
      for (const kernels::GpuKernel* kernel : kernels) all += str(' ', kernel->name);
      MTL::Library* const library =
          device.get_library(all, mx::CompileOptions(), [&] { return source; });
      for (const kernels::GpuKernel* kernel : kernels) {
        MTL::ComputePipelineState* const pipeline =
            device.get_kernel(kernel->name, library, kernel->name, {}, {});
        const auto most = send_message<unsigned long>(pipeline, "maxTotalThreadsPerThreadgroup");
        if (most < static_cast<unsigned long>(kernel->threads)) {
          return internal(str("the kernel ", kernel->name, " needs ", kernel->threads,
                              " threads, of which the GPU has registers for ", most));
        }
        functions.emplace_back(std::shared_ptr<void>(), pipeline);
      }
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      return internal(error.what());
    }
    return functions;
  }
};

}  // namespace

Gpu* system_gpu() {
  static auto* metal = new Metal;
  return metal;
}

}  // namespace jaxmps::exec

#endif
