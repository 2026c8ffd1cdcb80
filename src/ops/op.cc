#include "ops/op.h"

#include <algorithm>
#include <array>

#include "ir/op_count.h"

namespace jaxmps::ops {
namespace {

struct Entry {
  Accepts accepts = Accepts::computed;
  Lower lower = nullptr;
};

std::array<Entry, ir::kOpCount>& lowerings() {
  static auto* entries = new std::array<Entry, ir::kOpCount>;
  return *entries;
}

// The first operand or result type that the block does not accept, and why.
std::string refused_type(const ir::Op& op, Accepts accepts) {
  auto check = [&](const ir::Type& type) -> std::string {
    if (!type.is_tensor()) return {};
    if (!type.is_static()) return str("the shape of ", ir::brief(type), " is not known");
    if (type.quantization) return str(ir::brief(type), " is quantised");
    if (accepts == Accepts::any) return {};
    if (type.dtype == DType::c128) return "complex128 is not supported for this op";
    if (accepts == Accepts::computed && !is_mlx_native(type.dtype)) {
      return str(ir::name(type.dtype), " is not supported for this op");
    }
    return {};
  };
  for (int i = 0; i < op.operand_count(); ++i) {
    if (auto why = check(op.operand(i)->type); !why.empty()) return why;
  }
  for (int i = 0; i < op.result_count(); ++i) {
    if (auto why = check(op.result(i)->type); !why.empty()) return why;
  }
  return {};
}

}  // namespace

Registration::Registration(ir::OpId id, Accepts accepts, Lower lower) {
  lowerings()[static_cast<size_t>(id)] = {accepts, lower};
}

Result<Lowering> lower(const ir::Op& op, const Target& target) {
  const Entry& entry = lowerings()[static_cast<size_t>(op.id)];
  if (!entry.lower) return ir::refuse(op, "this op is not supported");
  if (auto why = refused_type(op, entry.accepts); !why.empty()) return ir::refuse(op, why);
  try {
    auto lowering = entry.lower(OpContext(op, target));
    if (lowering.ok() && !target.runs_native && !lowering->graph && !lowering->on_host) {
      return ir::refuse(op, "there is no form of this op for the GPU");
    }
    return lowering;
  } catch (const std::bad_alloc&) {  // says nothing about the op
    throw;
  } catch (const std::exception& error) {
    return ir::refuse(op, error.what());
  }
}

Lowering everywhere(const OpContext& ctx, Native native_kernel, double nanoseconds,
                    std::vector<int> reuse) {
  // A GPU may still read what nobody holds any more.
  if (!ctx.target.runs_native) reuse.clear();
  Lowering lowering = native(std::move(native_kernel), nanoseconds, std::move(reuse));
  lowering.on_host = true;
  return lowering;
}

mx::Shape OpContext::in_shape(int i) const { return storage_shape(in(i)); }
mx::Shape OpContext::out_shape(int i) const { return storage_shape(out(i)); }
mx::Dtype OpContext::out_dtype(int i) const { return storage_dtype(out(i).dtype); }
mx::Shape OpContext::shape(std::string_view attr) const { return to_shape(op.ints(attr)); }
std::vector<int> OpContext::axes(std::string_view attr) const { return to_axes(op.ints(attr)); }

mx::Dtype storage_dtype(DType dtype) {
  switch (dtype) {
    case DType::pred:
      return mx::bool_;
    case DType::s2:
    case DType::s4:
    case DType::s8:
      return mx::int8;
    case DType::s16:
      return mx::int16;
    case DType::s32:
      return mx::int32;
    case DType::s64:
    case DType::index:
      return mx::int64;
    case DType::u16:
      return mx::uint16;
    case DType::u32:
      return mx::uint32;
    case DType::u64:
      return mx::uint64;
    case DType::f16:
      return mx::float16;
    case DType::bf16:
      return mx::bfloat16;
    case DType::f32:
    case DType::tf32:
      return mx::float32;
    case DType::f64:
    case DType::c128:
      return mx::float64;
    case DType::c64:
      return mx::complex64;
    default:
      return mx::uint8;  // u2, u4, u8 and the small floats
  }
}

mx::Dtype unsigned_dtype(mx::Dtype dtype) {
  switch (dtype.size()) {
    case 1:
      return mx::uint8;
    case 2:
      return mx::uint16;
    case 4:
      return mx::uint32;
    default:
      return mx::uint64;
  }
}

bool is_mlx_native(DType dtype) {
  switch (dtype) {
    case DType::s2:
    case DType::s4:
    case DType::u2:
    case DType::u4:
    case DType::c128:
      return false;
    default:
      return !(dtype >= DType::f8e5m2 && dtype <= DType::f6e3m2fn);
  }
}

mx::Shape to_shape(const ir::Dims& dims) {
  mx::Shape shape;
  for (int64_t dim : dims) shape.push_back(static_cast<mx::ShapeElem>(dim));
  return shape;
}

mx::Shape storage_shape(const ir::Type& type) {
  if (!type.is_tensor()) return {0};
  mx::Shape shape = to_shape(type.dims);
  if (type.dtype == DType::c128) shape.push_back(2);
  return shape;
}

ir::Dims byte_strides(const ir::Type& type) {
  ir::Dims strides = ir::row_major_strides(type.dims);
  for (int64_t& stride : strides) stride *= ir::byte_size(type.dtype);
  return strides;
}

bool fits_dimensions(const ir::Type& type) {
  return std::all_of(type.dims.begin(), type.dims.end(),
                     [](int64_t dim) { return dim <= kLargestDim; });
}

bool is_one_run(const ir::Dims& sizes, const ir::Dims& array) {
  bool inner_whole = true;
  for (size_t d = sizes.size(); d-- > 0;) {
    if (!inner_whole && sizes[d] != 1) return false;
    inner_whole = inner_whole && sizes[d] == array[d];
  }
  return true;
}

std::vector<int> to_axes(const ir::Ints& values) {
  return std::vector<int>(values.begin(), values.end());
}

mx::array constant_array(const ir::Dense& dense) {
  const auto bytes = dense.bytes();
  ir::Type stored = dense.type;
  if (dense.splat) stored.dims.clear();
  mx::array array(mx::allocator::malloc(std::max<size_t>(bytes.size(), 1)), storage_shape(stored),
                  storage_dtype(dense.type.dtype));
  std::copy(bytes.begin(), bytes.end(), array.data<uint8_t>());
  return array;
}

}  // namespace jaxmps::ops
