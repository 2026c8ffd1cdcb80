#include "exec/encoder.h"

#include <algorithm>
#include <cstring>

#include "exec/device.h"
#include "exec/memory.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/primitives.h"

namespace jaxmps::exec {
namespace {

using ops::Arrays;

// Of an array without data that becomes available when everything sent before it has ended.
// Evaluating it starts no kernel.
class EndMarker : public mx::Primitive {
 public:
  using mx::Primitive::Primitive;
  void eval_cpu(const std::vector<mx::array>&, std::vector<mx::array>& out) override {
    allocate(out);
  }
  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>& out) override {
    allocate(out);
  }
  const char* name() const override { return "EndMarker"; }

 private:
  static void allocate(std::vector<mx::array>& out) { out[0].set_data(mx::allocator::malloc(0)); }
};

// MLX's CPU primitives queue their work on the stream's thread.
class CpuEncoder final : public Encoder {
 public:
  explicit CpuEncoder(mx::Stream stream) : Encoder(stream, true, true) {}

 private:
  void encode(mx::Primitive& primitive, const std::vector<mx::array>& inputs,
              std::vector<mx::array>& outputs) override {
    primitive.eval_cpu(inputs, outputs);
  }

  void encode_launch(const ops::Launch& launch, const std::vector<mx::array>&,
                     std::vector<mx::array>&) override {
    throw Failure{internal(str("the kernel ", launch.name, " is none of the CPU's"))};
  }

  void hold(const mx::array& array) override {
    mx::cpu::get_command_encoder(stream()).add_temporary(array);
  }

  void sent(double) override {
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.dispatch([held = std::move(encoder.temporaries())] {});
  }
};

// What was sent before may read inputs that only this holds (Step::overwritten).
template <typename Send>
Arrays or_wait(Encoder& encoder, const Send& send) {
  try {
    return send();
  } catch (...) {
    try {
      encoder.wait();
    } catch (...) {  // the first failure is told
    }
    throw;
  }
}

}  // namespace

void Encoder::lay_out(const Call& call, std::vector<mx::array>& inputs) {
  for (size_t i = 0; i < call.layouts.size(); ++i) {
    if (call.layouts[i]) inputs[i] = call.layouts[i]->on(dense(std::move(inputs[i])));
  }
  if (call.operation == Operation::transform) align(inputs);
}

// cuFFT takes rows of real numbers only at addresses of complex ones.
void Encoder::align(std::vector<mx::array>& inputs) {
  mx::array& input = inputs[0];
  if (on_cpu_ || input.offset() % static_cast<int64_t>(2 * input.itemsize()) == 0) return;
  input = copy(std::move(input));
}

Arrays Encoder::send(const Call& call, std::vector<mx::array> inputs,
                     std::span<const mx::Shape> shapes, std::span<const mx::Dtype> dtypes,
                     const std::vector<bool>& overwritten) {
  return or_wait(*this, [&] {
    lay_out(call, inputs);
    begin();
    std::vector<mx::array> outputs = make(shapes, dtypes, call.primitive);
    encode(*call.primitive, inputs, outputs);
    return finish(inputs, std::move(outputs), overwritten, call.nanoseconds);
  });
}

Arrays Encoder::send(const ops::Launch& launch, std::vector<mx::array> inputs,
                     std::span<const mx::Shape> shapes, std::span<const mx::Dtype> dtypes,
                     const std::vector<bool>& overwritten) {
  return or_wait(*this, [&] {
    for (mx::array& input : inputs) {
      if (!input.flags().row_contiguous) input = dense(std::move(input));
    }
    for (const kernels::GpuUpdate& update : launch.updates) {
      mx::array& updated = inputs[update.input];
      if (!is_exclusive(updated)) updated = copy(std::move(updated));
    }
    begin();
    std::vector<mx::array> outputs = make(shapes, dtypes, allocation_);
    for (const kernels::GpuUpdate& update : launch.updates)
      outputs[update.output].copy_shared_buffer(inputs[update.input]);
    encode_launch(launch, inputs, outputs);
    return finish(inputs, std::move(outputs), overwritten, 0);
  });
}

// MLX's code asks the outputs for their primitive.
Arrays Encoder::make(std::span<const mx::Shape> shapes, std::span<const mx::Dtype> dtypes,
                     const std::shared_ptr<mx::Primitive>& primitive) const {
  Arrays outputs;
  outputs.reserve(shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    outputs.emplace_back(shapes[i], dtypes[i], primitive, std::vector<mx::array>());
  }
  return outputs;
}

void Encoder::begin() {
  if (is_lost_) throw Failure{lost_in_fork()};
  is_idle_ = false;
}

Arrays Encoder::finish(const std::vector<mx::array>& inputs, std::vector<mx::array> outputs,
                       const std::vector<bool>& overwritten, double nanoseconds) {
  for (mx::array& output : outputs) {
    output.set_status(mx::array::Status::evaluated);
    output.detach();
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const mx::array& input = inputs[i];
    const bool is_passed_on =
        std::any_of(outputs.begin(), outputs.end(), [&](const mx::array& output) {
          return output.data_shared_ptr() == input.data_shared_ptr();
        });
    if (is_passed_on) continue;
    const bool is_kept = i < overwritten.size() && overwritten[i];
    is_kept ? precede_writes(input, outputs) : hold(input);
  }
  sent(nanoseconds);
  return outputs;
}

mx::array Encoder::dense(mx::array array) {
  return array.flags().row_contiguous ? array : copy_of_part(std::move(array));
}

mx::array Encoder::copy_of_part(mx::array array) {
  if (!contiguous_.primitive) {
    contiguous_ = Call(mx::contiguous(array, false, stream_).primitive_ptr());
  }
  return send_alike(contiguous_, std::move(array));
}

mx::array Encoder::copy(mx::array array) {
  if (!concatenate_.primitive) {
    const mx::array some(0.f);  // Concatenate copies, always; `contiguous` hands on what is dense
    concatenate_ =
        Call(mx::concatenate({mx::reshape(some, {1}), mx::reshape(some, {1})}, 0, stream_)
                 .primitive_ptr());
  }
  return send_alike(concatenate_, std::move(array));
}

mx::array Encoder::send_alike(const Call& call, mx::array array) {
  if (array.ndim() == 0) {  // MLX for CUDA launches nothing for the copy of such an array
    return share(send_alike(call, share(array, {1}, array.dtype())), {}, array.dtype());
  }
  const mx::Shape shape = array.shape();
  const mx::Dtype dtype = array.dtype();
  std::vector<mx::array> inputs;
  inputs.push_back(std::move(array));
  return send(call, std::move(inputs), {&shape, 1}, {&dtype, 1})[0];
}

void Encoder::wait() {
  if (is_idle_) return;
  begin();
  release();
  synchronize();
  is_idle_ = true;
}

Encoder::End Encoder::mark() {
  release();
  mx::array marker(mx::Shape{0}, mx::bool_, std::make_shared<EndMarker>(stream_), {});
  auto told = outcome();
  mx::async_eval(std::vector<mx::array>{marker});
  return [marker, told]() mutable {
    marker.wait();
    return told ? *told : Status();
  };
}

void Encoder::read(const mx::array& array, int64_t offset, size_t bytes, void* destination) {
  std::memcpy(destination, array.data<char>() + offset, bytes);
}

void Encoder::synchronize() { mx::synchronize(stream_); }

std::unique_ptr<Encoder> make_cpu_encoder(mx::Stream stream) {
  return std::make_unique<CpuEncoder>(stream);
}

}  // namespace jaxmps::exec
