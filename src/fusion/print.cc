// Descriptions of fusions as text.
#include "fusion/fusion.h"

namespace jaxmps::fusion {

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

}  // namespace jaxmps::fusion
