// What the encoders of GPUs share: memory that work reads is kept until the commit that the work
// goes with has ended; long programs are committed in pieces, and so are long launches where a GPU
// ends what runs long (ir::Pace).
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "exec/encoder.h"

namespace jaxmps::exec {

// A part of a launch's blocks.
struct Blocks {
  uint32_t first, count;
};

class GpuEncoder : public Encoder {
 public:
  GpuEncoder(mx::Stream stream, const ir::Target& target)
      : Encoder(stream, false, target.host_memory), pace_(target.pace) {}

  void release() final {
    if (!held_.empty()) commit_all();
  }

 protected:
  using Held = std::vector<std::shared_ptr<mx::allocator::Data>>;
  void hold(const mx::array& array) final { held_.push_back(array.data_shared_ptr()); }
  // Gives an output of a launch its memory.
  virtual void allocate(mx::array& output) {
    output.set_data(mx::allocator::malloc(output.nbytes()));
  }
  // Of a launch in pieces, the number of the first block is the last parameter. Launches with
  // counters (kernels::GpuKernel) come one behind the other.
  virtual void encode_blocks(const ops::Launch& launch, const Blocks& blocks,
                             const std::vector<mx::array>& inputs,
                             std::vector<mx::array>& outputs) = 0;

  // Whether MLX would commit now.
  virtual bool needs_commit() = 0;
  // Commits what was encoded. `held` is let go when that has ended.
  virtual void commit(Held held) = 0;

 private:
  // All of them have memory before the first is named to MLX: the calls that give memory would take
  // what is named for theirs.
  void encode_launch(const ops::Launch& launch, const std::vector<mx::array>& inputs,
                     std::vector<mx::array>& outputs) final {
    for (mx::array& output : outputs) {
      if (!output.data_shared_ptr()) allocate(output);
    }
    const auto begin_of = [&](int64_t piece) {
      return static_cast<uint32_t>(launch.blocks * piece / launch.pieces);
    };
    for (int64_t piece = 0; piece < launch.pieces; ++piece) {
      if (piece > 0) commit_if_needed();
      const uint32_t first = begin_of(piece);
      encode_blocks(launch, {first, begin_of(piece + 1) - first}, inputs, outputs);
      nanoseconds_ += launch.nanoseconds / static_cast<double>(launch.pieces);
    }
  }

  void sent(double nanoseconds) final {
    nanoseconds_ += nanoseconds;
    commit_if_needed();
  }

  void commit_if_needed() {
    if (pace_.pieces(nanoseconds_) == 1 && !needs_commit()) return;
    commit_all();
    // Not to run ahead of the memory that there is.
    if (mx::get_active_memory() > mx::get_memory_limit()) synchronize();
  }

  void commit_all() {
    commit(std::exchange(held_, {}));
    nanoseconds_ = 0;
  }

  const ir::Pace pace_;
  Held held_;
  double nanoseconds_ = 0;  // estimated, of what was encoded since the last commit
};

}  // namespace jaxmps::exec
