// The Layouts extension. Every array of this plugin is dense and row-major; clients that know so
// need not parse programs to find out.

#include "pjrt/bindings.h"
#include "pjrt/buffer.h"
#include "pjrt/entry.h"
#include "pjrt/executable.h"

namespace jaxmps::pjrt {
namespace {

PJRT_Layouts_MemoryLayout* new_layout(size_t rank) {
  return new PJRT_Layouts_MemoryLayout{print_layout(row_major(rank))};
}

}  // namespace

PJRT_Extension_Base* layouts_extension() {
  static PJRT_Layouts_Extension node = [] {
    PJRT_Layouts_Extension made{};
    made.base = {sizeof(made), PJRT_Extension_Type_Layouts, nullptr};
    ANSWER_ANY(made, PJRT_Layouts_MemoryLayout_Destroy, delete args.layout);
    ANSWER(made, PJRT_Layouts_MemoryLayout_Serialize, layout,
           hand_out(it.text, args.serialized_bytes, args.serialized_bytes_size,
                    args.serialized_layout, args.serialized_layout_deleter));
    // The layout is the same for every shape; what cannot be stored is refused where it is to be
    // stored, because JAX ends the process if it gets no layout.
    ANSWER_ANY(made, PJRT_Layouts_PJRT_Client_GetDefaultLayout,
               args.layout = new_layout(args.num_dims));
    ANSWER(made, PJRT_Layouts_PJRT_Buffer_MemoryLayout, buffer,
           args.layout = new_layout(it.type().dims.size()));
    ANSWER_ANY(made, PJRT_Layouts_PJRT_Topology_GetDefaultLayout,
               args.layout = new_layout(args.num_dims));
    ANSWER(made, PJRT_Layouts_PJRT_Executable_GetOutputLayouts, executable,
           give(it.state->results.layout_pointers, args.layouts, args.num_outputs));
    ANSWER(made, PJRT_Layouts_PJRT_Executable_GetParameterLayouts, executable,
           give(it.state->parameters.layout_pointers, args.layouts, args.num_parameters));
    return made;
  }();
  return &node.base;
}

}  // namespace jaxmps::pjrt
