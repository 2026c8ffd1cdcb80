#include "exec/call.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_set>

#include "base/result.h"
#include "mlx/primitives.h"
#include "ops/dot.h"
#include "ops/pieces.h"

namespace jaxmps::exec {
namespace {

template <typename T>
requires std::is_arithmetic_v<T> || std::is_enum_v<T> std::string written(T value) {
  if constexpr (std::is_enum_v<T>) return str(static_cast<int64_t>(value));
  if constexpr (!std::is_enum_v<T>) return str(value);
}
template <typename List>
requires requires(const List& list) { list.begin(); }
std::string written(const List& list) {
  std::string text;
  for (const auto& value : list) text += str(text.empty() ? "" : ", ", value);
  return str('[', text, ']');
}
template <typename... T>
std::string written(const std::tuple<T...>& all) {
  std::string text;
  const auto add = [&](const auto& value) {
    text += str(text.empty() ? "" : ", ", written(value));
  };
  std::apply([&](const auto&... values) { (add(values), ...); }, all);
  return text;
}
template <typename A, typename B>
std::string written(const std::pair<A, B>& both) {
  return written(std::tuple(both.first, both.second));
}

template <typename P>
std::string attributes_of(const mx::Primitive& primitive) {
  return str('(', written(static_cast<const P&>(primitive).state()), ')');
}

// The operations of MLX that are more than elementwise.
struct Row {
  std::string_view name;  // or how it begins
  Operation operation;
  bool is_dense;  // its results are dense row-major where its operands are
  std::string (*attributes)(const mx::Primitive&) = nullptr;
};
constexpr Row kRows[] = {
    {"Matmul", Operation::product, true},
    {"AddMM", Operation::product, true, attributes_of<mx::AddMM>},
    {"Convolution", Operation::convolution, true, attributes_of<mx::Convolution>},
    {"FFT", Operation::transform, false, attributes_of<mx::FFT>},
    {"Cum", Operation::scan, true, attributes_of<mx::Scan>},
    {"Sort", Operation::sort, true, attributes_of<mx::Sort>},
    {"SearchSorted", Operation::sort, true, attributes_of<mx::SearchSorted>},
    {"ArgSort", Operation::sort, true, attributes_of<mx::ArgSort>},
    {"GatherAxis", Operation::pick, true, attributes_of<mx::GatherAxis>},
    {"Gather", Operation::pick, true, attributes_of<mx::Gather>},
    {"ScatterAxis", Operation::update, true, attributes_of<mx::ScatterAxis>},
    {"Scatter", Operation::update, true, attributes_of<mx::Scatter>},
    {"Concatenate", Operation::other, true, attributes_of<mx::Concatenate>},
    {"Contiguous", Operation::copy, true},
    {"AsStrided", Operation::view, false, attributes_of<mx::AsStrided>},
    {"Broadcast", Operation::view, false},
    {"ExpandDims", Operation::view, false},
    {"Flatten", Operation::view, false},
    {"Reshape", Operation::view, false},
    {"Slice", Operation::view, false, attributes_of<mx::Slice>},
    {"Split", Operation::view, false},
    {"Squeeze", Operation::view, false},
    {"StopGradient", Operation::view, false},
    {"Transpose", Operation::view, false, attributes_of<mx::Transpose>},
    {"Unflatten", Operation::view, false},
    {"View", Operation::view, false},
};

const Row* row_of(std::string_view name) {
  const auto* row = std::find_if(std::begin(kRows), std::end(kRows),
                                 [&](const Row& each) { return name.starts_with(each.name); });
  return row == std::end(kRows) ? nullptr : row;
}

// Whether updates of one place wait for one another: of `Scatter Sum`, say.
bool takes_turns(const TracedCall& traced) {
  const std::string_view name = traced.call.primitive->name();
  return name.starts_with("Scatter ") && traced.inputs.size() > 2;
}

double nanoseconds_of(const TracedCall& traced, const ir::Pace& pace) {
  double flops = 0, bytes = 0, turns = 0;
  for (const mx::array& input : traced.inputs) bytes += static_cast<double>(input.nbytes());
  for (const mx::array& output : traced.outputs) {
    const auto size = static_cast<double>(output.size());
    bytes += static_cast<double>(output.nbytes());
    switch (traced.call.operation) {
      case Operation::product:
        flops += 2 * size * traced.inputs[0].shape(-1);
        break;
      case Operation::convolution: {
        const mx::array& filters = traced.inputs[1];
        flops += 2 * size * static_cast<double>(filters.size()) / filters.shape(0);
        break;
      }
      case Operation::sort:
        bytes = ops::bytes_of_sort(bytes, output.size());
        break;
      case Operation::update:
        if (takes_turns(traced)) {
          turns = ops::nanoseconds_of_turns(traced.inputs[1].size(), traced.inputs.back().size());
        }
        break;
      default:
        break;
    }
  }
  return std::max(turns, pace.nanoseconds(flops, bytes));
}

}  // namespace

Layout::Layout(const mx::array& view)
    : shape(view.shape()),
      dtype(view.dtype()),
      strides(view.strides()),
      flags(view.flags()),
      data_size(view.data_size()),
      offset(static_cast<int64_t>(view.offset())) {}

Layout::Layout(mx::Shape seen, mx::Dtype type, mx::Strides steps, int64_t size)
    : shape(std::move(seen)),
      dtype(type),
      strides(std::move(steps)),
      flags{true, true, true},
      data_size(static_cast<size_t>(size)) {
  int64_t row = 1, column = 1;
  for (size_t d = 0; d < shape.size(); ++d) {
    const size_t last = shape.size() - 1 - d;
    if (shape[last] != 1 && strides[last] != row) flags.row_contiguous = false;
    if (shape[d] != 1 && strides[d] != column) flags.col_contiguous = false;
    row *= shape[last];
    column *= shape[d];
  }
}

mx::array Layout::on(const mx::array& dense) const {
  mx::array view(shape, dtype, nullptr, {});
  view.copy_shared_buffer(dense, strides, flags, data_size,
                          offset / static_cast<int64_t>(dtype.size()));
  view.set_status(dense.status());
  return view;
}

int64_t Layout::bytes() const {
  int64_t size = 1;
  for (const auto dim : shape) size *= dim;
  return std::min(size, static_cast<int64_t>(data_size)) * static_cast<int64_t>(dtype.size());
}

std::optional<mx::Strides> regrouped(std::span<const int64_t> dims,
                                     std::span<const int64_t> strides, const mx::Shape& shape) {
  mx::Strides all(shape.size(), 0);
  size_t d = dims.size();
  int64_t left = 1, stride = 0;  // of dimension d
  for (size_t s = shape.size(); s-- > 0;) {
    int64_t size = 1, step = 0;  // of what has been taken into shape[s]
    while (size < shape[s]) {
      while (left == 1) {
        if (d == 0) return std::nullopt;
        --d;
        left = dims[d];
        stride = strides[d];
      }
      const int64_t rest = shape[s] / size, taken = std::min(rest, left);
      if (shape[s] % size != 0 || rest % taken != 0 || left % taken != 0) return std::nullopt;
      if (size == 1) step = stride;
      if (stride != step * size) return std::nullopt;
      size *= taken;
      left /= taken;
      stride *= taken;
    }
    // Of one element, as in a dense array: MLX looks at these, too.
    if (shape[s] == 1) step = s + 1 < shape.size() ? all[s + 1] * shape[s + 1] : 1;
    all[s] = step;
  }
  return all;
}

Call::Call(std::shared_ptr<mx::Primitive> does) : primitive(std::move(does)) {
  if (const Row* row = row_of(name())) operation = row->operation;
}

std::string_view Call::name() const { return primitive->name(); }

bool Call::is_dense() const {
  const Row* row = row_of(name());
  return operation == Operation::copy || (row && row->is_dense);
}

Call with_epilogue(Call product, const Epilogue& epilogue, Layout added) {
  product.primitive =
      ops::product_and_sum(epilogue.alpha, epilogue.beta, product.primitive->stream());
  product.layouts.resize(2);
  product.layouts.emplace_back(std::move(added));
  product.epilogue = epilogue;
  return product;
}

std::string print(const Call& call) {
  const Row* row = row_of(call.name());
  return str(call.name(), row && row->attributes ? row->attributes(*call.primitive) : "");
}

std::vector<TracedCall> trace(const std::vector<mx::array>& results, const ir::Pace& pace) {
  std::vector<TracedCall> calls;
  std::unordered_set<std::uintptr_t> seen;
  struct Visit {
    mx::array array;
    size_t next_input = 0;
  };
  std::vector<Visit> pending;
  const auto visit = [&](const mx::array& array) {
    const bool is_leaf = !array.has_primitive() || array.status() != mx::array::Status::unscheduled;
    if (is_leaf || !seen.insert(array.id()).second) return;
    for (const mx::array& sibling : array.siblings()) seen.insert(sibling.id());
    pending.push_back({array});
  };
  for (const mx::array& result : results) {
    visit(result);
    while (!pending.empty()) {
      Visit& top = pending.back();
      if (top.next_input < top.array.inputs().size()) {
        visit(top.array.inputs()[top.next_input++]);
        continue;
      }
      const mx::array& array = top.array;
      TracedCall traced{Call(array.primitive_ptr()), array.inputs(), array.outputs()};
      if (traced.call.operation != Operation::view) {
        traced.call.nanoseconds = nanoseconds_of(traced, pace);
      }
      calls.push_back(std::move(traced));
      pending.pop_back();
    }
  }
  return calls;
}

}  // namespace jaxmps::exec
