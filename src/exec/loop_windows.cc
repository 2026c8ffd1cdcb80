// Windows of arrays in loop code, at places that are known when it runs.
#include <algorithm>

#include "exec/loop_builder.h"
#include "exec/reuse.h"
#include "ir/combiner.h"
#include "ir/gather_dims.h"
#include "kernels/cpu/gather.h"

namespace jaxmps::exec {

using ir::DType;
using ir::Op;
using kernels::CodeItem;
using kernels::Control;
using kernels::Opcode;
using kernels::ScalarValue;

namespace {

cpu::StridedCopy window_of(const ir::Type& array, const ir::Dims& sizes) {
  ir::Dims outer = ir::row_major_strides(array.dims), inner = ir::row_major_strides(sizes);
  const int64_t bytes = ir::byte_size(array.dtype);
  for (size_t d = 0; d < sizes.size(); ++d) {
    outer[d] *= bytes;
    inner[d] *= bytes;
  }
  return cpu::StridedCopy(sizes, outer, inner, bytes);
}

}  // namespace

// A start as a number with sign, in which one beyond 2^63 is beyond every array.
int32_t LoopBuilder::wide_start(ScalarValue start, int64_t limit) {
  if (start.dtype == DType::u64) {
    const int32_t top = builder_.int_constant(DType::u64, limit).re;
    start.re = builder_.emit(Opcode::min, DType::u64, start.re, top);
  }
  return builder_.convert(start, DType::s64).re;
}

// The address `bytes` further on for each unit of a start, which is kept in [0, limit].
int32_t LoopBuilder::moved_address(int32_t base, int32_t start, int64_t limit, int64_t bytes) {
  const int32_t bound = builder_.int_constant(DType::s64, limit).re;
  const int32_t address = new_address();
  control(Control::offset, address, start, base, bound, static_cast<uint64_t>(bytes));
  return address;
}

// The address of the window whose starts are the operands from `first` on, clamped into the array.
int32_t LoopBuilder::window_address(const Op& op, const ir::Dims& sizes, int first, int32_t base) {
  const ir::Type& array = op.operand(0)->type;
  const ir::Dims strides = ir::row_major_strides(array.dims);
  for (size_t d = 0; d < sizes.size(); ++d) {
    const int64_t limit = array.dims[d] - sizes[d];
    if (limit == 0) continue;
    const int32_t start = wide_start(as_scalar(op.operand(first + static_cast<int>(d))), limit);
    base = moved_address(base, start, limit, strides[d] * ir::byte_size(array.dtype));
  }
  return base;
}

// A window that is one run of memory needs no copy.
bool LoopBuilder::add_dynamic_slice(const Op& op) {
  const ir::Type& type = op.result(0)->type;
  if (type.dims.empty() || type.size() == 0 || !reuses_memory()) return false;
  if (window_of(op.operand(0)->type, type.dims).single_run() == 0) return false;
  const int32_t base = as_memory(op.operand(0));
  const int32_t address = window_address(op, type.dims, 1, base);
  bind(const_cast<Op&>(op).result(), address, value(op.operand(0)).root);
  return true;
}

// The memory in which operand 0 is updated: its own where nobody else reads it, else a copy.
int LoopBuilder::updated_root(const Op& op) {
  const int64_t bytes = op.operand(0)->type.byte_count();
  const int32_t from = as_memory(op.operand(0));
  if (may_take(op, 0)) return value(op.operand(0)).root;
  const int root = new_temporary(bytes);
  copy_array(roots_[static_cast<size_t>(root)].address, from, bytes);
  return root;
}

bool LoopBuilder::add_dynamic_update_slice(const Op& op) {
  const ir::Type& type = op.operand(0)->type;
  const ir::Type& window = op.operand(1)->type;
  if (type.dims.empty() || window.size() == 0) return false;
  const cpu::StridedCopy copy = window_of(type, window.dims);
  if (copy.single_run() == 0 || copy.single_run() != window.byte_count()) return false;
  const int root = updated_root(op);
  const int32_t base = roots_[static_cast<size_t>(root)].address;
  const int32_t to = window_address(op, window.dims, 2, base);
  copy_array(to, as_memory(op.operand(1)), window.byte_count());
  bind(const_cast<Op&>(op).result(), base, root);
  return true;
}

// A scatter of one window: an update behind a test whether the window lies in the array.
Result<bool> LoopBuilder::add_scatter(const Op& op) {
  if (op.operand_count() != 3) return false;
  const ir::Type &array = op.operand(0)->type, &updates = op.operand(2)->type;
  const ir::GatherDims dims = ir::GatherDims::of_scatter(op);
  int64_t windows = 1;
  for (const int d : dims.batch_dims(updates.rank()))
    windows *= updates.dims[static_cast<size_t>(d)];
  if (windows != 1 || array.size() == 0 || ir::is_complex(array.dtype)) return false;
  const auto combination = ir::combination(op.region(), 0);
  const bool overwrites = combination && combination->kind == ir::Combination::Kind::element;
  const int64_t run = window_of(array, dims.slice_sizes).single_run();
  if (updates.size() != 1 && !(overwrites && run == updates.byte_count())) return false;

  const int root = updated_root(op);
  int32_t to = roots_[static_cast<size_t>(root)].address;
  const int32_t indices = as_memory(op.operand(1));
  const DType index_type = op.operand(1)->type.dtype;
  const ir::Dims strides = ir::row_major_strides(array.dims);
  int32_t inside = builder_.int_constant(DType::pred, 1).re;
  for (size_t j = 0; j < dims.index_map.size(); ++j) {
    const auto d = static_cast<size_t>(dims.index_map[j]);
    const int64_t limit = array.dims[d] - dims.slice_sizes[d];
    const int32_t index = new_value(index_type, static_cast<int>(scopes_.size()) - 1);
    control(Control::load, index, indices, -1, -1,
            j * static_cast<size_t>(ir::byte_size(index_type)));
    const int32_t start = wide_start(builder_.from_storage(index_type, index, -1), limit + 1);
    const int32_t zero = builder_.int_constant(DType::s64, 0).re;
    const int32_t top = builder_.int_constant(DType::s64, limit).re;
    for (const int32_t test : {builder_.emit(Opcode::le, DType::pred, zero, start),
                               builder_.emit(Opcode::le, DType::pred, start, top)}) {
      inside = builder_.emit(Opcode::bit_and, DType::pred, inside, test);
    }
    to = moved_address(to, start, limit, strides[d] * ir::byte_size(array.dtype));
  }
  CodeItem item;
  item.kind = CodeItem::Kind::branch;
  item.branch = std::make_unique<kernels::CodeBranch>();
  item.branch->index = builder_.convert({DType::pred, inside, -1}, DType::s32).re;
  item.branch->blocks.resize(1);  // outside: nothing
  item.branch->results.resize(2);
  enter(true);
  CHECK_OK(overwrites ? copy_window(op, to) : combine_element(op, to));
  item.branch->blocks.push_back(leave());
  append(std::move(item));
  bind(const_cast<Op&>(op).result(), roots_[static_cast<size_t>(root)].address, root);
  return true;
}

Status LoopBuilder::copy_window(const Op& op, int32_t to) {
  copy_array(to, as_memory(op.operand(2)), op.operand(2)->type.byte_count());
  return {};
}

// The scatter's combiner on the element at the address and the one of the updates.
Status LoopBuilder::combine_element(const Op& op, int32_t to) {
  const DType dtype = op.operand(0)->type.dtype;
  const ir::Region& body = op.region();
  const int depth = static_cast<int>(scopes_.size()) - 1;
  auto bind_loaded = [&](ir::Value* argument, int32_t address) {
    const int32_t word = new_value(kernels::storage_machine_type(dtype), depth);
    control(Control::load, word, address, -1, -1, 0);
    values_[argument] = {builder_.from_storage(dtype, word, -1), -1, -1, depth};
  };
  const int32_t update = as_memory(op.operand(2));
  bind_loaded(body.arg(0), to);
  bind_loaded(body.arg(1), update);
  regions_.push_back({++region_count_, 0, {}});
  region().lifetimes = ir::Lifetimes(body, may_be_view);
  CHECK_OK(add_region(body));
  const ScalarValue stored = builder_.to_storage(as_scalar(body.terminator()->operand(0)));
  regions_.pop_back();
  store_parts(to, stored);
  return {};
}

}  // namespace jaxmps::exec
