// The encoder of NVIDIA GPUs. MLX adds each call to a CUDA graph, whose edges it finds by the
// memory that calls read and write, and launches that graph at a commit. MLX's CPU library has none
// of this, and CUDA's headers are not needed for it: the few names of both are declared here, weak,
// for the libraries that have them.
#ifndef __APPLE__

#include <dlfcn.h>

#include <optional>

#include "exec/encoder_gpu.h"
#include "exec/gpu.h"
#include "exec/memory.h"
#include "kernels/cuda.h"
#include "mlx/primitives.h"

// As CUDA's C interface has them.
struct CUfunc_st;
struct CUmod_st;
struct dim3 {
  unsigned x, y, z;
};

#define WEAK __attribute__((weak, visibility("default")))

namespace mlx::core::cu {

class CommandEncoder {
 public:
  WEAK void set_input_array(const array& array);
  WEAK void set_output_array(const array& array);
  WEAK void add_kernel_node_raw(CUfunc_st* function, dim3 grid, dim3 block, dim3 cluster,
                                unsigned shared_bytes, void** parameters);
  WEAK void add_completed_handler(std::function<void()> task);
  WEAK bool needs_commit();
  WEAK void commit();
};

class Device {
 public:
  WEAK void make_current();
};

WEAK CommandEncoder& get_command_encoder(Stream stream);
WEAK Device& device(mlx::core::Device device);

}  // namespace mlx::core::cu

namespace jaxmps::exec {
namespace {

// CUDA's driver, as far as it is needed. Results are ints, and 0 is success.
struct Driver {
  int (*load)(CUmod_st**, const void* image) = nullptr;
  int (*function)(CUfunc_st**, CUmod_st*, const char* name) = nullptr;
  int (*copy_to_host)(void* destination, uintptr_t source, size_t bytes) = nullptr;
  int (*error_text)(int code, const char** text) = nullptr;

  static Result<const Driver*> instance() {
    static const Driver driver = [] {
      Driver loaded;
      if (void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {
        find(library, "cuModuleLoadData", &loaded.load);
        find(library, "cuModuleGetFunction", &loaded.function);
        find(library, "cuMemcpyDtoH_v2", &loaded.copy_to_host);
        find(library, "cuGetErrorString", &loaded.error_text);
      }
      return loaded;
    }();
    if (driver.load && driver.function && driver.copy_to_host && driver.error_text) return &driver;
    return Error(Code::failed_precondition, "libcuda.so.1, NVIDIA's driver, cannot be loaded");
  }

  Status check(int code, std::string_view what) const {
    if (code == 0) return {};
    const char* text = nullptr;
    error_text(code, &text);
    return internal(str("CUDA: ", what, ": ", text ? text : "error ", text ? "" : str(code)));
  }

 private:
  template <typename F>
  static void find(void* library, const char* symbol, F* function) {
    *function = reinterpret_cast<F>(dlsym(library, symbol));
  }
};

const CudaBuffer& buffer_of(const mx::array& array) {
  return *static_cast<const CudaBuffer*>(array.buffer().ptr());
}

// Where an array begins in the GPU's memory.
void* address(const mx::array& array) {
  return static_cast<char*>(buffer_of(array).data) + array.offset();
}

class CudaEncoder final : public GpuEncoder {
 public:
  explicit CudaEncoder(mx::Stream stream) : GpuEncoder(stream, ir::kCuda) {
    allocation_ = mx::abs(mx::array(0.0f), stream).primitive_ptr();
    nothing_.emplace_back(mx::Shape{0}, mx::float32, nullptr, std::vector<mx::array>());
    nothing_[0].set_data(mx::allocator::malloc(1), 0, {1}, {false, false, false});
    const CudaBuffer& known = buffer_of(nothing_[0]);  // of memory that the CPU reads
    if (known.data != nothing_[0].data<void>() || known.size < 1 || known.device != -1) {
      throw std::runtime_error(
          "MLX's CUDA buffers are not laid out as those of the version that jax-mps is built for");
    }
  }

  // MLX's data() copies to memory that the CPU reads and frees the GPU's, under the work that reads
  // it and beside the order of its stream.
  void read(const mx::array& array, int64_t offset, size_t bytes, void* destination) override {
    if (buffer_of(array).device < 0) return Encoder::read(array, offset, bytes, destination);
    (void)commands();
    const auto driver = Driver::instance();
    if (!driver.ok()) throw Failure{driver.error()};
    const auto from = reinterpret_cast<uintptr_t>(address(array)) + static_cast<uintptr_t>(offset);
    const Status copied = (*driver)->check((*driver)->copy_to_host(destination, from, bytes),
                                           "cannot read the GPU's memory");
    if (!copied.ok()) throw Failure{copied.error()};
  }

 private:
  mx::cu::CommandEncoder& commands() {
    if (!commands_) {
      mx::cu::device(stream().device).make_current();  // of this thread
      commands_ = &mx::cu::get_command_encoder(stream());
    }
    return *commands_;
  }

  void encode(mx::Primitive& primitive, const std::vector<mx::array>& inputs,
              std::vector<mx::array>& outputs) override {
    (void)commands();
    primitive.eval_gpu(inputs, outputs);
  }

  void encode_blocks(const ops::Launch& launch, const Blocks& blocks,
                     const std::vector<mx::array>& inputs,
                     std::vector<mx::array>& outputs) override {
    mx::cu::CommandEncoder& commands = this->commands();
    if (launch.has_counters && !counters_) {
      constexpr uint32_t kZeros[kernels::GpuKernel::kCounters] = {};
      counters_ = copy(mx::array(kZeros, {kernels::GpuKernel::kCounters}, mx::uint32));
    }
    addresses_.clear();
    parameters_.clear();
    for (const mx::array& input : inputs) {
      commands.set_input_array(input);
      addresses_.push_back(address(input));
    }
    for (const mx::array& output : outputs) {
      commands.set_output_array(output);
      addresses_.push_back(address(output));
    }
    if (launch.has_counters) {
      commands.set_output_array(*counters_);  // MLX puts writers one behind the other
      addresses_.push_back(address(*counters_));
      hold(*counters_);
    }
    for (void*& address : addresses_) parameters_.push_back(&address);
    if (launch.pieces > 1) parameters_.push_back(const_cast<uint32_t*>(&blocks.first));
    auto* function = const_cast<CUfunc_st*>(static_cast<const CUfunc_st*>(launch.function.get()));
    commands.add_kernel_node_raw(function, {blocks.count, 1, 1},
                                 {static_cast<unsigned>(launch.threads), 1, 1}, {1, 1, 1}, 0,
                                 parameters_.data());
  }

  // MLX orders a write behind the write before it, not behind reads. What it adds to the graph next
  // comes behind these outputs, and counts as what has written the memory.
  void precede_writes(const mx::array& read, const std::vector<mx::array>& outputs) override {
    mx::cu::CommandEncoder& commands = this->commands();
    for (const mx::array& output : outputs) commands.set_input_array(output);
    commands.set_output_array(read);
  }

  // MLX's allocator in the order of the stream is not exported, but a unary primitive asks it for
  // its output, and has nothing else to do for an input that has no elements and is not contiguous.
  void allocate(mx::array& output) override {
    std::vector<mx::array> one{output};
    allocation_->eval_gpu(nothing_, one);
  }

  bool needs_commit() override { return commands().needs_commit(); }

  void commit(Held held) override {
    commands().add_completed_handler([held = std::move(held)] {});
    commands().commit();
  }

  mx::cu::CommandEncoder* commands_ = nullptr;
  std::vector<mx::array> nothing_;
  std::vector<void*> addresses_, parameters_;
  std::optional<mx::array> counters_;  // made by the first launch that has some
};

class Cuda final : public Gpu {
 public:
  const kernels::Dialect& dialect() const override { return kernels::cuda_dialect(); }
  std::string why_no_compiler() const override {
    return kernels::has_cuda_compiler()
               ? ""
               : "libnvrtc.so is not found; install nvidia-cuda-nvrtc to fuse them";
  }
  std::unique_ptr<Encoder> make_encoder(mx::Stream stream) const override {
    return std::make_unique<CudaEncoder>(stream);
  }
  std::string compute_capability() const override {
    const auto& info = mx::device_info(mx::Device(mx::Device::gpu));
    std::string version;
    for (const char* part : {"compute_capability_major", "compute_capability_minor"}) {
      const auto found = info.find(part);
      const auto* number = found == info.end() ? nullptr : std::get_if<size_t>(&found->second);
      if (!number) return "";
      version += str(version.empty() ? "" : ".", *number);
    }
    return version;
  }

 private:
  // "sm_90" of the device.
  Result<std::string> architecture() const {
    std::string version = compute_capability();
    if (version.empty()) return internal("MLX does not tell the GPU's compute capability");
    version.erase(version.find('.'), 1);
    return "sm_" + version;
  }

  // Code that is loaded stays for the life of the process.
  Result<std::vector<Function>> build(const std::string& source, const Kernels& kernels) override {
    TRY(const std::string arch, architecture());
    TRY(const std::string code, kernels::compile_cuda(source, arch));
    TRY(const Driver* driver, Driver::instance());
    mx::cu::device(mx::Device::gpu).make_current();  // of this thread
    CUmod_st* module = nullptr;
    CHECK_OK(driver->check(driver->load(&module, code.data()), "cannot load kernels"));
    std::vector<Function> functions;
    for (const kernels::GpuKernel* kernel : kernels) {
      CUfunc_st* function = nullptr;
      CHECK_OK(driver->check(driver->function(&function, module, kernel->name.c_str()),
                             str("cannot find the kernel ", kernel->name)));
      functions.emplace_back(std::shared_ptr<void>(), function);
    }
    return functions;
  }
};

}  // namespace

Gpu* system_gpu() {
  static auto* cuda = new Cuda;
  return cuda;
}

}  // namespace jaxmps::exec

#endif
