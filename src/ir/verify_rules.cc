#include "ir/verify_rules.h"

#include <algorithm>
#include <array>
#include <limits>

#include "ir/op_count.h"

namespace jaxmps::ir::rules {
namespace {

Reason check_count(std::string_view what, int expected, int actual) {
  NEED(expected == kAny || expected == actual, "needs ", expected, " ", what,
       expected == 1 ? "" : "s", ", has ", actual);
  return {};
}

// Beyond this no list entry makes sense, and within it sums cannot overflow.
Reason in_range(std::string_view what, const Ints& values) {
  constexpr int64_t kLargest = int64_t(1) << 48;
  for (int64_t value : values) {
    NEED(value <= kLargest && value >= -kLargest, what, " is out of range: ", value);
  }
  return {};
}

}  // namespace

const Rule* find_rule(OpId id) {
  static const auto* table = [] {
    static auto* const all = new Rules;  // static: leak checkers see that it is kept
    for (const Rules& family :
         {elementwise_rules(), shape_rules(), dynamic_rules(), reduce_rules(), dot_conv_rules(),
          gather_scatter_rules(), control_rules(), misc_rules(), collective_rules()}) {
      all->insert(all->end(), family.begin(), family.end());
    }
    auto* by_id = new std::array<const Rule*, kOpCount>{};
    for (const Rule& rule : *all) (*by_id)[static_cast<size_t>(rule.id)] = &rule;
    return by_id;
  }();
  return (*table)[static_cast<size_t>(id)];
}

Reason check_op(const Op& op) {
  const Rule& rule = *find_rule(op.id);
  NEED_OK(check_count("operand", rule.operands, op.operand_count()));
  NEED_OK(check_count("result", rule.results, op.result_count()));
  NEED_OK(check_count("region", rule.regions, static_cast<int>(op.regions().size())));
  if (!rule.any_types) NEED_OK(all_tensors(op));
  for (const NamedAttr& attr : op.attrs) {
    if (const Ints* values = attr.value.get_if<Ints>()) NEED_OK(in_range(attr.name, *values));
  }
  return rule.check ? rule.check(op) : Reason();
}

bool in_class(DType dtype, int classes) {
  if (dtype == DType::pred) return classes & kPred;
  if (is_signed_int(dtype)) return classes & kSigned;
  if (is_unsigned_int(dtype) || dtype == DType::index) return classes & kUnsigned;
  if (is_float(dtype)) return classes & kFloat;
  if (is_complex(dtype)) return classes & kComplex;
  return false;
}

const Type& operand_type(const Op& op, int i) { return op.operand(i)->type; }
const Type& result_type(const Op& op, int i) { return op.result(i)->type; }

bool is_known(int64_t dim) { return dim != kDynamic; }

bool same_size(int64_t a, int64_t b) { return a == b || !is_known(a) || !is_known(b); }

bool same_dims(const Dims& a, const Dims& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same_size);
}

bool same_element(const Type& a, const Type& b) {
  if (a.quantization || b.quantization) {
    const DType left = a.quantization ? a.quantization->expressed : a.dtype;
    const DType right = b.quantization ? b.quantization->expressed : b.dtype;
    return left == right;
  }
  return a.dtype == b.dtype;
}

Reason same_elements(const Op& op) {
  NEED(same_element(operand_type(op), result_type(op)), "the result must have the element type of ",
       brief(operand_type(op)), ", is ", brief(result_type(op)));
  return {};
}

bool compatible(const Type& a, const Type& b) {
  if (a.kind != b.kind) return false;
  if (a.is_tensor()) return same_element(a, b) && same_dims(a.dims, b.dims);
  if (a.elements.size() != b.elements.size()) return false;
  for (size_t i = 0; i < a.elements.size(); ++i) {
    if (!compatible(a.elements[i], b.elements[i])) return false;
  }
  return a.kind == Type::Kind::tuple || a == b;
}

Reason match_type(std::string_view what, const Type& expected, const Type& actual) {
  NEED(compatible(expected, actual), what, " must be ", brief(expected), ", is ", brief(actual));
  return {};
}

Reason match_all(std::string_view what, const std::vector<Type>& expected,
                 const std::vector<Type>& actual, std::string_view behind) {
  NEED(actual.size() == expected.size(), "needs ", expected.size(), " ", what,
       expected.size() == 1 ? "" : "s", behind, ", has ", actual.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    NEED_OK(match_type(str(what, " ", i, behind), expected[i], actual[i]));
  }
  return {};
}

Reason passes_through(const Op& op) {
  return match_all("result", operand_types(op), result_types(op));
}

Reason match_dims(std::string_view what, const Dims& expected, const Dims& actual) {
  NEED(same_dims(expected, actual), what, " must have the shape ",
       brief(Type(DType::pred, expected)).substr(4), ", has ",
       brief(Type(DType::pred, actual)).substr(4));
  return {};
}

Reason check_axis(std::string_view what, int64_t dim, int64_t rank) {
  NEED(dim >= 0 && dim < rank, what, " is ", dim, "; the rank is ", rank);
  return {};
}

Reason check_axes(std::string_view what, const Ints& dims, int64_t rank, bool ascending) {
  std::vector<bool> seen(rank);
  for (size_t i = 0; i < dims.size(); ++i) {
    NEED_OK(check_axis(what, dims[i], rank));
    NEED(!seen[dims[i]], what, " names dimension ", dims[i], " twice");
    seen[dims[i]] = true;
    NEED(!ascending || i == 0 || dims[i - 1] < dims[i], what, " must ascend, is ", dims);
  }
  return {};
}

Reason check_length(std::string_view what, const Ints& values, int64_t length) {
  NEED(static_cast<int64_t>(values.size()) == length, what, " must have ", length, " entries, has ",
       values.size());
  return {};
}

Reason all_at_least(std::string_view what, const Ints& values, int64_t least) {
  for (int64_t value : values) {
    NEED(value >= least, what, " must be at least ", least, ", is ", values);
  }
  return {};
}

Reason all_tensors(const Op& op, int first_operand, int first_result) {
  for (int i = first_operand; i < op.operand_count(); ++i) {
    NEED(operand_type(op, i).is_tensor(), "operand ", i, " must be a tensor, is ",
         brief(operand_type(op, i)));
  }
  for (int i = first_result; i < op.result_count(); ++i) {
    NEED(result_type(op, i).is_tensor(), "result ", i, " must be a tensor, is ",
         brief(result_type(op, i)));
  }
  return {};
}

std::vector<Type> operand_types(const Op& op) { return types_of(op.operands()); }

std::vector<Type> result_types(const Op& op) {
  std::vector<Type> types;
  types.reserve(op.result_count());
  for (int i = 0; i < op.result_count(); ++i) types.push_back(result_type(op, i));
  return types;
}

Reason check_region(const Op& op, int index, std::string_view what,
                    const std::vector<Type>& arguments, const std::vector<Type>& results) {
  const Region& region = op.region(index);
  NEED(region.arg_count() == static_cast<int>(arguments.size()), what, " must take ",
       arguments.size(), " arguments, takes ", region.arg_count());
  for (int i = 0; i < region.arg_count(); ++i) {
    NEED_OK(match_type(str(what, ": argument ", i), arguments[i], region.arg(i)->type));
  }
  const Op* end = region.terminator();
  NEED(end->operand_count() == static_cast<int>(results.size()), what, " must return ",
       results.size(), " values, returns ", end->operand_count());
  for (int i = 0; i < end->operand_count(); ++i) {
    NEED_OK(match_type(str(what, ": result ", i), results[i], end->operand(i)->type));
  }
  return {};
}

Reason check_combiner(const Op& op, int index, std::string_view what, int count,
                      std::vector<Type>* accumulators) {
  const Region& region = op.region(index);
  NEED(region.arg_count() == 2 * count, what, " must take ", 2 * count, " arguments, takes ",
       region.arg_count());
  for (int i = 0; i < count; ++i) {
    accumulators->push_back(region.arg(i)->type);
    NEED(accumulators->back().is_scalar(), what, "'s argument ", i, " must be a scalar, is ",
         brief(accumulators->back()));
  }
  std::vector<Type> arguments = *accumulators;
  arguments.insert(arguments.end(), accumulators->begin(), accumulators->end());
  return check_region(op, index, what, arguments, *accumulators);
}

Reason widens(std::string_view what, const Type& from, const Type& to) {
  if (from.quantization || to.quantization) return {};
  const bool same_kind = is_signed_int(from.dtype) == is_signed_int(to.dtype) &&
                         is_unsigned_int(from.dtype) == is_unsigned_int(to.dtype) &&
                         is_float(from.dtype) == is_float(to.dtype) &&
                         is_complex(from.dtype) == is_complex(to.dtype);
  NEED(same_kind && byte_size(from.dtype) <= byte_size(to.dtype), what, " of type ", brief(from),
       " cannot be accumulated in ", brief(to));
  return {};
}

int64_t window_output(int64_t base, const Window& w) {
  if (!is_known(base)) return kDynamic;
  // No shape has this size, so it is refused where it is compared.
  constexpr double kLargest = 1e17;
  if (double(base) * w.base_dilation > kLargest || double(w.size) * w.window_dilation > kLargest) {
    return std::numeric_limits<int64_t>::max();
  }
  const int64_t dilated = base == 0 ? 0 : (base - 1) * w.base_dilation + 1;
  const int64_t padded = dilated + w.low + w.high;
  const int64_t window = w.size == 0 ? 0 : (w.size - 1) * w.window_dilation + 1;
  if (padded <= 0 || window > padded) return 0;
  return (padded - window) / w.stride + 1;
}

}  // namespace jaxmps::ir::rules
