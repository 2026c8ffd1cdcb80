#include <dlfcn.h>

#include <mutex>
#include <unordered_map>

#include "kernels/cuda.h"

namespace jaxmps::kernels {
namespace {

// NVRTC's C interface, as far as it is needed. Handles are opaque pointers, results are ints, and 0
// is success.
struct Nvrtc {
  using Program = void*;
  int (*create)(Program*, const char* source, const char* name, int headers,
                const char* const* texts, const char* const* names) = nullptr;
  int (*compile)(Program, int options, const char* const* texts) = nullptr;
  int (*cubin_size)(Program, size_t*) = nullptr;
  int (*cubin)(Program, char*) = nullptr;
  int (*log_size)(Program, size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;
  int (*destroy)(Program*) = nullptr;

  template <typename F>
  static bool find(void* library, const char* symbol, F* function) {
    *function = reinterpret_cast<F>(dlsym(library, symbol));
    return *function != nullptr;
  }

  bool load() {
    for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}) {
      void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (!library) continue;
      return find(library, "nvrtcCreateProgram", &create) &&
             find(library, "nvrtcCompileProgram", &compile) &&
             find(library, "nvrtcGetCUBINSize", &cubin_size) &&
             find(library, "nvrtcGetCUBIN", &cubin) &&
             find(library, "nvrtcGetProgramLogSize", &log_size) &&
             find(library, "nvrtcGetProgramLog", &log) &&
             find(library, "nvrtcDestroyProgram", &destroy);
    }
    return false;
  }
};

const Nvrtc* nvrtc() {
  static Nvrtc functions;
  static const bool loaded = functions.load();
  return loaded ? &functions : nullptr;
}

Result<std::string> compile(const std::string& source, const std::string& name,
                            const std::string& architecture) {
  const Nvrtc* n = nvrtc();
  if (!n)
    return Error(Code::failed_precondition, "libnvrtc.so is not found; install nvidia-cuda-nvrtc");
  Nvrtc::Program program = nullptr;
  if (n->create(&program, source.c_str(), "fusion.cu", 0, nullptr, nullptr) != 0) {
    return internal("NVRTC refused a program");
  }
  const std::string arch = "--gpu-architecture=" + architecture;
  const char* options[] = {arch.c_str(), "--std=c++17", "--fmad=false"};
  const int failed = n->compile(program, std::size(options), options);
  std::string result;
  size_t size = 0;
  if (failed) {
    n->log_size(program, &size);
    result.resize(size);
    n->log(program, result.data());
  } else if (n->cubin_size(program, &size) == 0) {
    result.resize(size);
    n->cubin(program, result.data());
  }
  n->destroy(&program);
  if (failed) return internal(str("NVRTC could not compile ", name, ": ", result));
  if (result.empty()) return internal(str("NVRTC gave no code for ", name));
  return result;
}

using Binary = std::shared_ptr<const std::string>;

// Machine code by architecture and the text of a kernel.
class Cache {
 public:
  static Cache& instance() {
    static auto* cache = new Cache;
    return *cache;
  }
  Binary find(const std::string& key) {
    std::lock_guard lock(mutex_);
    auto found = codes_.find(key);
    return found == codes_.end() ? nullptr : found->second;
  }
  Binary add(const std::string& key, Binary code) {
    std::lock_guard lock(mutex_);
    return codes_.emplace(key, std::move(code)).first->second;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, Binary> codes_;
};

std::string key_of(const GpuKernel& kernel, const std::string& architecture) {
  return str(architecture, '\n', kernel.source);
}

}  // namespace

bool has_cuda_compiler() { return nvrtc() != nullptr; }

void compile_cuda_together(std::span<const GpuKernel> kernels, const std::string& architecture) {
  std::string source(cuda_dialect().prelude);
  std::vector<const GpuKernel*> wanted;
  for (const GpuKernel& kernel : kernels) {
    if (Cache::instance().find(key_of(kernel, architecture))) continue;
    wanted.push_back(&kernel);
    source += std::string_view(kernel.source).substr(cuda_dialect().prelude.size());
  }
  if (wanted.empty()) return;
  auto code = compile(source, "kernels", architecture);
  if (!code.ok()) return;
  const auto shared = std::make_shared<const std::string>(std::move(code).value());
  for (const GpuKernel* kernel : wanted) {
    Cache::instance().add(key_of(*kernel, architecture), shared);
  }
}

Result<std::shared_ptr<const std::string>> compile_cuda(const GpuKernel& kernel,
                                                        const std::string& architecture) {
  const std::string key = key_of(kernel, architecture);
  if (Binary found = Cache::instance().find(key)) return found;
  TRY(std::string code, compile(kernel.source, kernel.name, architecture));
  return Cache::instance().add(key, std::make_shared<const std::string>(std::move(code)));
}

}  // namespace jaxmps::kernels
