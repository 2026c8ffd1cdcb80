// Encoders: where the device work of a plan goes, call by call, in order, on one MLX stream.
// Nothing of it is an MLX graph: primitives of MLX are called as MLX's own evaluation would call
// them, and kernels of ours are encoded beside them. What is sent runs later; what it reads and
// writes is kept until it has ended.
// An encoder belongs to its device's thread.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "exec/call.h"
#include "mlx/mlx.h"
#include "ops/op.h"

namespace jaxmps::exec {

class Encoder {
 public:
  // `on_cpu`: results are in memory of the CPU, which may read them after wait().
  // `in_place`: so may it what others read meanwhile; otherwise its look may move the memory.
  Encoder(mx::Stream stream, bool on_cpu, bool in_place)
      : stream_(stream), on_cpu_(on_cpu), in_place_(in_place) {}
  virtual ~Encoder() = default;
  Encoder(const Encoder&) = delete;

  mx::Stream stream() const { return stream_; }
  bool on_cpu() const { return on_cpu_; }
  bool in_place() const { return in_place_; }

  // One call of MLX, made for this stream; its inputs are laid out as it says. One that is moved in
  // and that nobody else holds may give its memory to the result. The results have memory, but not
  // yet their values. `overwritten` (none, or as many as inputs): the caller keeps the memory of
  // the input until it has sent what may write it in place, which comes behind this.
  ops::Arrays send(const Call& call, std::vector<mx::array> inputs,
                   std::span<const mx::Shape> shapes, std::span<const mx::Dtype> dtypes,
                   const std::vector<bool>& overwritten = {});
  // One kernel of ours; inputs of any layout. What it updates is taken as above, else copied
  // before.
  ops::Arrays send(const ops::Launch& launch, std::vector<mx::array> inputs,
                   std::span<const mx::Shape> shapes, std::span<const mx::Dtype> dtypes,
                   const std::vector<bool>& overwritten = {});
  // The array, or a dense row-major copy.
  mx::array dense(mx::array array);

  // A dense row-major copy of an array that sees a small part of its memory.
  mx::array copy_of_part(mx::array array);

  // A dense row-major copy in memory of its own.
  mx::array copy(mx::array array);

  // Waits for all that was sent. Throws what went wrong there.
  void wait();
  // Copies from the dense data of an array whose values are there, while work that was sent may
  // read it: so it stays where it is, which at a look of the CPU's it might not.
  virtual void read(const mx::array& array, int64_t offset, size_t bytes, void* destination);
  // Marks the end of all that was sent. What is answered waits until that has ended, on any thread,
  // and tells what went wrong.
  using End = std::function<Status()>;
  virtual End mark();
  // Before the stream is committed by others: hands over what must live until the work has ended.
  virtual void release() {}
  // Keeps the memory until what was sent so far has ended.
  virtual void hold(const mx::array& array) = 0;
  // What becomes of all that was sent since the last time, to be read behind a marker that is sent
  // next; null where MLX tells it at the marker.
  virtual std::shared_ptr<const Status> outcome() { return nullptr; }
  // In the child of a fork, where the stream is gone: from now on everything fails.
  void lose() { is_lost_ = true; }

 protected:
  // Gives the outputs their memory. `inputs` stays as it is while the call lasts.
  virtual void encode(mx::Primitive& primitive, const std::vector<mx::array>& inputs,
                      std::vector<mx::array>& outputs) = 0;
  virtual void encode_launch(const ops::Launch& launch, const std::vector<mx::array>& inputs,
                             std::vector<mx::array>& outputs) = 0;
  // Of work that was just encoded: what writes the memory of `read` from now on comes behind it.
  virtual void precede_writes(const mx::array& /*read*/,
                              const std::vector<mx::array>& /*outputs*/) {}
  // After each piece of work: what it takes, where that is not yet known.
  virtual void sent(double /*nanoseconds*/) {}
  virtual void synchronize();

  // That the outputs of launches have while they are encoded.
  std::shared_ptr<mx::Primitive> allocation_;

 private:
  void begin();
  // Gives the inputs the layouts that the call asks for.
  void lay_out(const Call& call, std::vector<mx::array>& inputs);
  void align(std::vector<mx::array>& inputs);
  // A call that copies one array.
  mx::array send_alike(const Call& call, mx::array array);
  ops::Arrays make(std::span<const mx::Shape> shapes, std::span<const mx::Dtype> dtypes,
                   const std::shared_ptr<mx::Primitive>& primitive) const;
  ops::Arrays finish(const std::vector<mx::array>& inputs, std::vector<mx::array> outputs,
                     const std::vector<bool>& overwritten, double nanoseconds);

  const mx::Stream stream_;
  const bool on_cpu_, in_place_;
  Call contiguous_, concatenate_;
  bool is_idle_ = true;  // nothing was sent since the last wait()
  bool is_lost_ = false;
};

// For MLX's CPU. Those of GPUs: exec/gpu.h.
std::unique_ptr<Encoder> make_cpu_encoder(mx::Stream stream);

}  // namespace jaxmps::exec
