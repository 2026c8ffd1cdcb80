// What the encoders of GPUs share: memory that work reads is kept until the commit that the work
// goes with has ended, and long programs are committed in pieces.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "exec/encoder.h"

namespace jaxmps::exec {

class GpuEncoder : public Encoder {
 public:
  explicit GpuEncoder(mx::Stream stream) : Encoder(stream, false) {}

  void release() final {
    if (!held_.empty()) commit(std::exchange(held_, {}));
  }

 protected:
  using Held = std::vector<std::shared_ptr<mx::allocator::Data>>;

  // Whether MLX would commit now.
  virtual bool needs_commit() = 0;
  // Commits what was encoded. `held` is let go when that has ended.
  virtual void commit(Held held) = 0;

 private:
  void hold(const mx::array& array) final { held_.push_back(array.data_shared_ptr()); }

  void sent() final {
    if (!needs_commit()) return;
    commit(std::exchange(held_, {}));
    // Not to run ahead of the memory that there is.
    if (mx::get_active_memory() > mx::get_memory_limit()) synchronize();
  }

  Held held_;
};

}  // namespace jaxmps::exec
