// Metal run on the CPU, for tests: the text of kernels is compiled by clang against headers of our
// own and its threads are interleaved on one thread of the CPU.
//
// Compilation refuses what Apple's compiler refuses, as far as it is looked for: pointers into
// other address spaces, double, recursion, parameters of kernels without an attribute, more than 31
// buffers, more than 32 KiB of threadgroup memory. Threads run from barrier to barrier, one after
// the other, forwards and backwards by turns; a simdgroup has 32 of them. Threadgroup memory holds
// NaNs when a group begins.
//
// A library may be used from any thread, but runs one launch at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace jaxmps::metal {

struct Size {
  uint32_t x = 1, y = 1, z = 1;
};

// Memory of the caller, bound to the parameter [[buffer(k)]] by its place k among the others.
struct Buffer {
  void* data = nullptr;
  size_t bytes = 0;
};

class Library {
 public:
  struct Options {
    // Every access to memory is looked at: outside of the buffers, or in conflict with another
    // thread that no barrier separates, it ends the launch. Some hundred times slower.
    bool checks_accesses = false;
    // float32 numbers below the normal range are zero, as on Apple's GPUs.
    bool flushes_denormals = false;
  };
  static Result<std::shared_ptr<Library>> compile(const std::string& text, const Options& options);

  // Names of the kernels, in the order of the text.
  virtual std::vector<std::string> kernels() const = 0;
  virtual Status launch(const std::string& kernel, Size groups, Size threads,
                        std::span<const Buffer> buffers) = 0;
  virtual ~Library() = default;
};

// Why nothing can be compiled here; empty if it can.
std::string why_unavailable();

}  // namespace jaxmps::metal
