// Types of the IR: element types and the types of values, with StableHLO's names and meaning.
// Signedness belongs to the element type (s32, u32); `pred` is StableHLO's i1.
// Types are immutable values, cheap enough to copy at compile time; they are not used at run time.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace jaxmps::ir {

// X(name, bits as stored per element on the host (sub-byte types are unpacked: 8), StableHLO text,
//   PJRT_Buffer_Type number)
#define JAXMPS_DTYPES(X)                   \
  X(pred, 8, "i1", 1)                      \
  X(s2, 8, "i2", 24)                       \
  X(s4, 8, "i4", 21)                       \
  X(s8, 8, "i8", 2)                        \
  X(s16, 16, "i16", 3)                     \
  X(s32, 32, "i32", 4)                     \
  X(s64, 64, "i64", 5)                     \
  X(u2, 8, "ui2", 25)                      \
  X(u4, 8, "ui4", 22)                      \
  X(u8, 8, "ui8", 6)                       \
  X(u16, 16, "ui16", 7)                    \
  X(u32, 32, "ui32", 8)                    \
  X(u64, 64, "ui64", 9)                    \
  X(f16, 16, "f16", 10)                    \
  X(bf16, 16, "bf16", 13)                  \
  X(f32, 32, "f32", 11)                    \
  X(f64, 64, "f64", 12)                    \
  X(c64, 64, "complex<f32>", 14)           \
  X(c128, 128, "complex<f64>", 15)         \
  X(f8e5m2, 8, "f8E5M2", 16)               \
  X(f8e4m3fn, 8, "f8E4M3FN", 17)           \
  X(f8e4m3b11fnuz, 8, "f8E4M3B11FNUZ", 18) \
  X(f8e5m2fnuz, 8, "f8E5M2FNUZ", 19)       \
  X(f8e4m3fnuz, 8, "f8E4M3FNUZ", 20)       \
  X(f8e4m3, 8, "f8E4M3", 26)               \
  X(f8e3m4, 8, "f8E3M4", 27)               \
  X(f8e8m0fnu, 8, "f8E8M0FNU", 28)         \
  X(f4e2m1fn, 8, "f4E2M1FN", 29)           \
  X(f6e2m3fn, 8, "f6E2M3FN", 32)           \
  X(f6e3m2fn, 8, "f6E3M2FN", 33)           \
  X(index, 64, "index", 5)                 \
  X(tf32, 32, "tf32", 0)

enum class DType : uint8_t {
#define X(name, bits, text, pjrt) name,
  JAXMPS_DTYPES(X)
#undef X
};
#define X(name, bits, text, pjrt) +1
inline constexpr int kDTypeCount = JAXMPS_DTYPES(X);
#undef X

// Bytes of one element as the host and our buffers store it.
int byte_size(DType dtype);
std::string_view name(DType dtype);
// PJRT_Buffer_Type number, and back; 0 and nothing where PJRT has none.
int pjrt_type(DType dtype);
bool from_pjrt_type(int type, DType* dtype);

inline bool is_signed_int(DType d) { return d >= DType::s2 && d <= DType::s64; }
inline bool is_unsigned_int(DType d) { return d >= DType::u2 && d <= DType::u64; }
inline bool is_int(DType d) { return is_signed_int(d) || is_unsigned_int(d) || d == DType::index; }
inline bool is_complex(DType d) { return d == DType::c64 || d == DType::c128; }
inline bool is_float(DType d) {
  return (d >= DType::f16 && d <= DType::f64) || (d >= DType::f8e5m2 && d <= DType::f6e3m2fn);
}
// The type of the real and imaginary part; other types are their own.
DType real_type(DType dtype);
// Significant bits of an element: fewer than are stored for pred, small types and tf32.
int bit_width(DType dtype);

using Dims = std::vector<int64_t>;

inline constexpr int64_t kDynamic = std::numeric_limits<int64_t>::min();

// Per-tensor or per-axis quantisation parameters of a uniform quantised element type.
struct Quantization {
  bool is_signed = true;
  DType storage = DType::s8;
  DType expressed = DType::f32;
  int64_t axis = -1;  // -1: per tensor
  int64_t storage_min = 0;
  int64_t storage_max = 0;
  std::vector<double> scales;
  std::vector<int64_t> zero_points;
  bool operator==(const Quantization&) const = default;
};

struct Type {
  enum class Kind : uint8_t { none, tensor, unranked_tensor, token, tuple, buffer, future, function };

  Kind kind = Kind::none;
  DType dtype = DType::f32;    // of tensors and buffers
  Dims dims;                   // kDynamic where unknown
  Dims bounds;                 // of dynamic dimensions; empty: none
  std::vector<Type> elements;  // of a tuple or future; the inputs of a function
  std::vector<Type> results;   // of a function
  std::shared_ptr<const Quantization> quantization;

  Type();
  Type(DType d, Dims shape);
  ~Type();
  Type(const Type&);
  Type(Type&&) noexcept;
  Type& operator=(const Type&);
  Type& operator=(Type&&) noexcept;
  static Type token();

  bool is_tensor() const { return kind == Kind::tensor; }
  bool is_static() const;
  bool is_scalar() const { return is_tensor() && dims.empty(); }
  int64_t rank() const { return static_cast<int64_t>(dims.size()); }
  // Number of elements of a static tensor.
  int64_t size() const;
  int64_t byte_count() const { return size() * byte_size(dtype); }
  Type with(DType other) const;
  Type with(Dims other) const;

  bool operator==(const Type& other) const;
};

// StableHLO's text, for example `tensor<2x3xf32>`; and the short form `f32[2,3]` of messages.
std::string print(const Type& type);
std::string brief(const Type& type);

// Number of elements of a static shape.
int64_t element_count(const Dims& dims);
// Dense row-major strides in elements.
Dims row_major_strides(const Dims& dims);

}  // namespace jaxmps::ir
