// Scratch memory of the CPU kernels: blocks that go back to a small cache of the thread.
//
// A Scratch owns its block from construction to destruction, on one thread. The cache keeps at most
// 64 MiB a thread; larger needs are served by the system allocator each time. Throws
// std::bad_alloc.
#pragma once

#include <cstddef>

namespace jaxmps::cpu {

class Scratch {
 public:
  // 64-byte aligned, contents undefined; null for no bytes.
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  size_t bytes_;
};

}  // namespace jaxmps::cpu
