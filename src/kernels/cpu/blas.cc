#include "kernels/cpu/blas.h"

#include <dlfcn.h>

#include <vector>

#include "base/env.h"

namespace jaxmps::cpu {
namespace {

std::string& chosen_path() {
  static std::string* const path = new std::string;
  return *path;
}

// Where the package lies seen from this library, which is somewhere in the same site-packages.
std::vector<std::string> candidates() {
#if defined(__APPLE__)
  return {"/System/Library/Frameworks/Accelerate.framework/Accelerate"};
#else
  constexpr const char* kFile = "scipy_openblas32/lib/libscipy_openblas.so";
  std::vector<std::string> paths;
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&candidates), &self) != 0 && self.dli_fname != nullptr) {
    std::string folder = self.dli_fname;
    for (int level = 0; level < 4; ++level) {
      const size_t slash = folder.rfind('/');
      if (slash == std::string::npos) break;
      folder.resize(slash);
      paths.push_back(folder + "/" + kFile);
    }
  }
  paths.emplace_back("libscipy_openblas.so");
  return paths;
#endif
}

struct Library {
  void* handle = nullptr;
  std::string error;
  Blas functions{};

  Library() {
    std::vector<std::string> paths;
    if (!chosen_path().empty()) {
      paths = {chosen_path()};
    } else if (!env::text(env::Var::JAX_MPS_BLAS_LIBRARY).empty()) {
      paths = {env::text(env::Var::JAX_MPS_BLAS_LIBRARY)};
    } else {
      paths = candidates();
    }
    for (const std::string& path : paths) {
      handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle != nullptr) break;
      const char* reason = dlerror();
      error += (error.empty() ? "" : "; ") + std::string(reason != nullptr ? reason : path.c_str());
    }
    if (handle != nullptr) bind();
  }

  void* symbol(const std::string& name) const {
    if (handle == nullptr) return nullptr;
    if (void* found = dlsym(handle, ("scipy_" + name).c_str())) return found;
    return dlsym(handle, name.c_str());
  }

  void bind() {
    functions.sgemm = reinterpret_cast<Blas::Gemm*>(symbol("cblas_sgemm"));
    functions.dgemm = reinterpret_cast<Blas::GemmF64*>(symbol("cblas_dgemm"));
    functions.cgemm = reinterpret_cast<Blas::GemmComplex*>(symbol("cblas_cgemm"));
    functions.zgemm = reinterpret_cast<Blas::GemmComplex*>(symbol("cblas_zgemm"));
    if (functions.sgemm == nullptr || functions.dgemm == nullptr || functions.cgemm == nullptr ||
        functions.zgemm == nullptr) {
      error = "the BLAS library lacks a cblas function";
      handle = nullptr;
      return;
    }
    error.clear();
    if (void* found = symbol("openblas_set_num_threads")) {
      reinterpret_cast<void (*)(int)>(found)(1);
    }
  }
};

const Library& library() {
  static const Library* const loaded = new Library;
  return *loaded;
}

}  // namespace

void set_blas_library(const std::string& path) { chosen_path() = path; }

const Blas* blas() { return library().handle != nullptr ? &library().functions : nullptr; }

const std::string& blas_error() { return library().error; }

void* blas_symbol(const char* name) { return library().symbol(name); }

}  // namespace jaxmps::cpu
