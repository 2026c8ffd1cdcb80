// The tile machine: runs a Fusion on the CPU, a block of about a thousand elements at a time
// through vectorised loops compiled ahead of time, on all cores.
//
// compile_tile is done once; a TileKernel is immutable and may run on many threads at once. The
// caller owns all memory. Results depend on shapes only, never on the number of threads.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "fusion/fusion.h"
#include "kernels/cpu/vec.h"

namespace jaxmps::cpu {

// Where an operand of a loop lies: bytes into an input, an output or the kernel's memory, or a
// constant.
struct TilePlace {
  enum class In : uint8_t { nothing, input, output, memory, constant };
  In in = In::nothing;
  int32_t index = -1;  // of the input or output
  int64_t offset = 0;
  uint64_t bits = 0;  // of the constant

  bool operator==(const TilePlace&) const = default;
};

// A call of a loop: fn(dst, a, b, c, n, imm).
struct TileCall {
  VecFn fn = nullptr;
  TilePlace dst, a, b, c;
  int64_t n = 0;
  uint64_t imm = 0;
};

struct TileCalls {
  std::vector<TileCall> calls;
  int64_t memory_bytes = 0;
};

class TileKernel {
 public:
  // inputs[i], outputs[i]: dense row-major buffers of the fusion's types. An output may be exactly
  // the memory of an input for which may_alias(input, output) holds. Throws std::bad_alloc.
  void run(const void* const* inputs, void* const* outputs) const;
  // Whether every element of the output may overwrite the input's element in place.
  bool may_alias(int input, int output) const;
  // Rough cost of one run on one thread, in nanoseconds. Short runs stay on the calling thread.
  double nanoseconds() const;
  // That of the loops alone.
  double loop_nanoseconds() const;

  // A kernel of one small tile can be set up once for many runs on one thread, which then cost
  // little more than the loops themselves. A session is `session_bytes` of memory aligned to 64
  // bytes, of the caller, who keeps the kernel alive as long.
  bool is_small() const;
  int64_t session_bytes() const;
  void begin_session(void* session) const;
  static void run_session(void* session, const void* const* inputs, void* const* outputs);
  // The calls that a run of a small kernel consists of; nothing if it does more than that.
  std::optional<TileCalls> calls() const;

  // Whether each reduction is over values of one tile: lanes of 256 bytes of a row, or the rows of
  // columns, then halves onto halves, then the initial value with the total.
  bool reduces_one_tile() const;

  struct Impl;
  explicit TileKernel(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<const Impl> impl_;
};

// Fails only for what the machine has no loop for, naming it. `table` chooses the instruction set
// (null: the best one).
Result<TileKernel> compile_tile(const kernels::Fusion& fusion, const VecTable* table = nullptr);

}  // namespace jaxmps::cpu
