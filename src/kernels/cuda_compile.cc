#include <dlfcn.h>

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

}  // namespace

Result<std::string> compile_cuda(const std::string& source, const std::string& architecture) {
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
  if (failed) return internal(str("NVRTC could not compile kernels: ", result));
  if (result.empty()) return internal("NVRTC gave no code");
  return result;
}

bool has_cuda_compiler() { return nvrtc() != nullptr; }

}  // namespace jaxmps::kernels
