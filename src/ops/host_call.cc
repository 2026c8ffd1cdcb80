#include "ops/host_call.h"

#include "mlx/backend/cpu/encoder.h"
#include "mlx/primitives.h"

namespace jaxmps::ops {
namespace {

class HostCall : public mx::Primitive {
 public:
  HostCall(mx::Stream stream, std::shared_ptr<const Native> kernel)
      : Primitive(stream), kernel_(std::move(kernel)) {}

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    std::vector<const void*> in;
    std::vector<void*> out;
    in.reserve(inputs.size());
    out.reserve(outputs.size());
    for (const mx::array& a : inputs) in.push_back(a.data<char>());
    for (mx::array& a : outputs) {
      a.set_data(mx::allocator::malloc(std::max<size_t>(a.nbytes(), 1)));
      out.push_back(a.data<char>());
    }
    auto& encoder = mx::cpu::get_command_encoder(stream());
    for (const mx::array& a : inputs) encoder.set_input_array(a);
    for (mx::array& a : outputs) encoder.set_output_array(a);
    encoder.dispatch([kernel = kernel_, in = std::move(in), out = std::move(out)] {
      (*kernel)(in.data(), out.data());
    });
  }

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("a host kernel has no GPU form");
  }

  const char* name() const override { return "HostCall"; }

 private:
  std::shared_ptr<const Native> kernel_;
};

}  // namespace

Graph host_graph(const ir::Op& op, Native native) {
  std::vector<mx::Shape> shapes;
  std::vector<mx::Dtype> dtypes;
  for (int i = 0; i < op.result_count(); ++i) {
    shapes.push_back(storage_shape(op.result(i)->type));
    dtypes.push_back(storage_dtype(op.result(i)->type.dtype));
  }
  auto kernel = std::make_shared<const Native>(std::move(native));
  return [=](Inputs in) {
    // Of the thread that builds the graph, which is the device's and evaluates it.
    const mx::Stream stream = mx::default_stream(mx::Device::cpu);
    Arrays inputs;
    for (size_t i = 0; i < in.size(); ++i) inputs.push_back(mx::contiguous(in[i], false, stream));
    return mx::array::make_arrays(shapes, dtypes, std::make_shared<HostCall>(stream, kernel),
                                  inputs);
  };
}

std::string not_runnable(const OpContext& ctx) {
  auto check = [&](const ir::Type& type) -> std::string {
    if (!type.is_tensor()) return {};
    if (!type.is_static()) return str("the shape of ", ir::brief(type), " is not known");
    if (type.quantization) return str(ir::brief(type), " is quantised");
    if (!ctx.on_cpu() && ir::real_type(type.dtype) == DType::f64) {
      return str(ir::name(type.dtype), " does not exist on the GPU; use the CPU device");
    }
    return {};
  };
  for (int i = 0; i < ctx.op.operand_count(); ++i) {
    if (auto why = check(ctx.in(i)); !why.empty()) return why;
  }
  for (int i = 0; i < ctx.op.result_count(); ++i) {
    if (auto why = check(ctx.out(i)); !why.empty()) return why;
  }
  return {};
}

Lowering everywhere(const OpContext& ctx, Native native_kernel, double nanoseconds,
                    std::vector<int> reuse) {
  if (ctx.on_cpu()) return native(std::move(native_kernel), nanoseconds, std::move(reuse));
  return graph(host_graph(ctx.op, std::move(native_kernel)));
}

}  // namespace jaxmps::ops
