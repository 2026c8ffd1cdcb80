// The encoder of Apple GPUs. MLX encodes into command buffers; the memory that one uses is kept by
// the completion that goes with its commit.
// The few names of MLX that are needed are declared here, because its own header needs Metal's.
#ifdef __APPLE__

#include <dlfcn.h>

#include "exec/encoder_gpu.h"
#include "mlx/primitives.h"

namespace mlx::core::metal {

class CommandEncoder {
 public:
  bool needs_commit() const;
  void end_encoding(bool wait_in_flight);
  void commit(std::function<void()> completion);
};

CommandEncoder& get_command_encoder(Stream stream);

}  // namespace mlx::core::metal

namespace jaxmps::exec {
namespace {

// What Objective-C objects made meanwhile are released at the end of. libmlx has loaded the
// runtime.
class AutoreleasePool {
 public:
  AutoreleasePool() : pool_(push() ? push()() : nullptr) {}
  ~AutoreleasePool() {
    if (pop()) pop()(pool_);
  }
  AutoreleasePool(const AutoreleasePool&) = delete;

 private:
  using Push = void* (*)();
  using Pop = void (*)(void*);
  static Push push() {
    static const auto function =
        reinterpret_cast<Push>(dlsym(RTLD_DEFAULT, "objc_autoreleasePoolPush"));
    return function;
  }
  static Pop pop() {
    static const auto function =
        reinterpret_cast<Pop>(dlsym(RTLD_DEFAULT, "objc_autoreleasePoolPop"));
    return function;
  }

  void* const pool_;
};

class MetalEncoder final : public GpuEncoder {
 public:
  using GpuEncoder::GpuEncoder;

 private:
  void encode(mx::Primitive& primitive, const std::vector<mx::array>& inputs,
              std::vector<mx::array>& outputs) override {
    const AutoreleasePool pool;
    primitive.eval_gpu(inputs, outputs);
  }

  void encode(const ops::Launch& launch, const std::vector<mx::array>&,
              std::vector<mx::array>&) override {
    throw Failure{internal(str("the kernel ", launch.name, " is none of Metal's"))};
  }

  bool needs_commit() override { return mx::metal::get_command_encoder(stream()).needs_commit(); }

  void commit(Held held) override {
    const AutoreleasePool pool;
    mx::metal::CommandEncoder& commands = mx::metal::get_command_encoder(stream());
    commands.end_encoding(false);
    commands.commit([held = std::move(held)] {});
  }
};

}  // namespace

std::unique_ptr<Encoder> make_gpu_encoder(mx::Stream stream) {
  return std::make_unique<MetalEncoder>(stream);
}

Result<std::shared_ptr<const void>> load_cuda_kernel(const std::shared_ptr<const std::string>&,
                                                     const std::string& name) {
  return unimplemented(str("the kernel ", name, " is CUDA's, and this system has none"));
}

}  // namespace jaxmps::exec

#endif
