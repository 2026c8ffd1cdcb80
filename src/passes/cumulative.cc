// Cumulative sums, products, maxima and minima: a reduce_window whose window spans one dimension
// and is padded on one side only is an inclusive scan along it.
#include <cmath>

#include "ir/combiner.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

bool all_are(const Ints& values, int64_t expected) {
  for (int64_t value : values) {
    if (value != expected) return false;
  }
  return true;
}

struct Scan {
  int64_t dimension;
  bool reverse;
};

std::optional<Scan> scan_of(const Op& op) {
  const Ints &window = op.ints("window_dimensions"), &padding = op.ints("padding");
  const ir::Dims& dims = op.operand(0)->type.dims;
  if (!all_are(op.ints("window_strides"), 1) || !all_are(op.ints("base_dilations"), 1) ||
      !all_are(op.ints("window_dilations"), 1)) {
    return std::nullopt;
  }
  std::optional<Scan> scan;
  for (size_t i = 0; i < dims.size(); ++i) {
    const int64_t low = padding[2 * i], high = padding[2 * i + 1];
    if (window[i] == 1 && low == 0 && high == 0) continue;
    if (scan || window[i] != dims[i]) return std::nullopt;
    if (!(low == dims[i] - 1 && high == 0) && !(low == 0 && high == dims[i] - 1)) {
      return std::nullopt;
    }
    scan = Scan{static_cast<int64_t>(i), low == 0};
  }
  return scan;
}

// Whether the value is the smallest (or largest) of its type.
bool is_extreme(const ir::Value* value, bool smallest) {
  const DType dtype = value->type.dtype;
  if (ir::is_float(dtype)) return is_splat_of(value, smallest ? -INFINITY : INFINITY);
  const ir::Dense* dense = constant_of(value);
  if (!dense) return false;
  const uint64_t ones = ~uint64_t{0} >> (64 - ir::bit_width(dtype));
  const uint64_t sign = ir::is_signed_int(dtype) ? ones - ones / 2 : 0;
  return (static_cast<uint64_t>(dense->int_at(0)) & ones) == (smallest ? sign : ones ^ sign);
}

// Sums that begin with -0 may be -0.
bool is_negative_zero(const ir::Value* value) {
  const ir::Dense* dense = constant_of(value);
  return dense && ir::is_float(value->type.dtype) && std::signbit(dense->float_at(0));
}

std::string_view kind_of(OpId combiner, const ir::Value* init) {
  const DType dtype = init->type.dtype;
  if (dtype == DType::pred || ir::is_complex(dtype)) return {};
  switch (combiner) {
    case OpId::add:
      return is_splat_of(init, 0) && !is_negative_zero(init) ? "add" : "";
    case OpId::multiply:
      return is_splat_of(init, 1) ? "multiply" : "";
    case OpId::maximum:
      return is_extreme(init, true) ? "maximum" : "";
    case OpId::minimum:
      return is_extreme(init, false) ? "minimum" : "";
    default:
      return {};
  }
}

void replace_window(Op* op) {
  if (op->id != OpId::reduce_window || op->operand_count() != 2) return;
  const ir::Type& type = op->operand(0)->type;
  if (!type.is_static() || !(type == op->result()->type)) return;
  const auto combiner = ir::simple_combiner(op->region());
  const auto scan = scan_of(*op);
  if (!combiner || !scan) return;
  const std::string_view kind = kind_of(*combiner, op->operand(1));
  if (kind.empty()) return;
  replace(op, Builder(op).value(OpId::cumulative, {op->operand(0)}, type,
                                attributes({{"dimension", Attr(scan->dimension)},
                                            {"kind", Attr(std::string(kind))},
                                            {"reverse", Attr(Attr::Value(scan->reverse))}})));
}

}  // namespace

Status recognize_cumulative(ir::Module& module) {
  walk(module, replace_window);
  return {};
}

}  // namespace jaxmps::passes
