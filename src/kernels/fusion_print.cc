// Descriptions of fusions as text, and of scalar programs as fusions.
#include "kernels/fusion.h"

namespace jaxmps::kernels {

Fusion elementwise_fusion(const ScalarProgram& program, int64_t n) {
  Fusion f;
  f.dims = {n};
  f.reduced_begin = f.reduced_end = 1;
  f.program.instrs = program.instrs;
  for (DType dtype : program.inputs) f.inputs.push_back(ir::Type(dtype, {n}));
  for (ScalarInstr& i : f.program.instrs) {
    if (i.op != Opcode::input) continue;
    const int input = static_cast<int>(i.imm / 2);
    const int64_t parts = ir::is_complex(program.inputs[static_cast<size_t>(input)]) ? 2 : 1;
    i.op = Opcode::load;
    f.accesses.push_back(
        {Access::Kind::memory, i.type, input, static_cast<int64_t>(i.imm % 2), {parts}, {}});
    i.imm = f.accesses.size() - 1;
  }
  for (const ScalarValue& v : program.outputs) {
    const int64_t parts = v.im >= 0 ? 2 : 1;
    f.outputs.push_back({ir::Type(v.dtype, {n}), v, 0, {parts}});
  }
  return f;
}

std::string print(const Fusion& f) {
  static constexpr std::string_view kKinds[] = {"loop", "row", "column"};
  std::string text = str(kKinds[static_cast<int>(f.kind)], " over ", f.dims, " reducing axes ",
                         f.reduced_begin, " to ", f.reduced_end, '\n');
  for (size_t k = 0; k < f.accesses.size(); ++k) {
    const Access& a = f.accesses[k];
    text += a.kind == Access::Kind::memory  ? str("  access ", k, ": input ", a.input)
            : a.kind == Access::Kind::index ? str("  access ", k, ": index")
                                            : str("  access ", k, ": inside");
    text += str(" + ", a.offset, ", strides ", a.strides);
    for (const Bound& b : a.bounds) text += str(", ", b.lo, " <= i", b.axis, " < ", b.hi);
    text += '\n';
  }
  text += print(f.program);
  for (const FusionOutput& o : f.outputs) {
    text += str("  ", ir::brief(o.type), " <- %", o.value.re);
    if (o.value.im >= 0) text += str(", %", o.value.im);
    text += str(" + ", o.offset, ", strides ", o.strides, '\n');
  }
  return text;
}

}  // namespace jaxmps::kernels
