// Attributes: the constant properties of an op, as plain values.
// Index lists (dimensions, strides, padding pairs in row-major order, bool lists as 0/1) are
// `Ints`; constants are `Dense`, which points into the artifact or into storage it keeps alive and
// holds a splat as a single element. Values; thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ir/type.h"

namespace jaxmps::ir {

enum class CompareDirection : uint8_t { eq, ne, ge, gt, le, lt };
enum class CompareType : uint8_t { none, floating, total_order, signed_int, unsigned_int };
enum class CustomCallApi : uint8_t { unspecified, original, status, status_unified, typed_ffi };
enum class FftType : uint8_t { fft, ifft, rfft, irfft };
enum class Precision : uint8_t { standard, high, highest };
enum class RngAlgorithm : uint8_t { standard, three_fry, philox };
enum class RngDistribution : uint8_t { uniform = 1, normal = 2 };
enum class Transpose : uint8_t { invalid, no_transpose, transpose, adjoint };
enum class AccuracyMode : uint8_t { standard, highest, tolerance };

struct Enum {
  enum class Kind : uint8_t {
    compare_direction,
    compare_type,
    custom_call_api,
    fft_type,
    precision,
    rng_algorithm,
    rng_distribution,
    transpose,
    accuracy_mode,
  };
  Kind kind;
  uint8_t value;
  bool operator==(const Enum&) const = default;
};

template <typename E>
struct EnumKind;
#define JAXMPS_ENUM_KIND(type, name)                     \
  template <>                                            \
  struct EnumKind<type> {                                \
    static constexpr Enum::Kind kind = Enum::Kind::name; \
  }
JAXMPS_ENUM_KIND(CompareDirection, compare_direction);
JAXMPS_ENUM_KIND(CompareType, compare_type);
JAXMPS_ENUM_KIND(CustomCallApi, custom_call_api);
JAXMPS_ENUM_KIND(FftType, fft_type);
JAXMPS_ENUM_KIND(Precision, precision);
JAXMPS_ENUM_KIND(RngAlgorithm, rng_algorithm);
JAXMPS_ENUM_KIND(RngDistribution, rng_distribution);
JAXMPS_ENUM_KIND(Transpose, transpose);
JAXMPS_ENUM_KIND(AccuracyMode, accuracy_mode);
#undef JAXMPS_ENUM_KIND

// A constant tensor: row-major, little-endian, byte_size(dtype) bytes an element (pred: one byte,
// 0 or 1; 2- and 4-bit integers sign- or zero-extended to a byte). A splat holds one element.
struct Dense {
  Type type;
  bool splat = false;
  const uint8_t* data = nullptr;
  std::shared_ptr<const void> owner;

  std::span<const uint8_t> bytes() const {
    return {data, static_cast<size_t>(splat ? byte_size(type.dtype) : type.byte_count())};
  }
  static Dense copy(Type type, std::span<const uint8_t> bytes, bool splat);
  // Element `index` (of a splat: its one element) as an integer, double or complex parts.
  int64_t int_at(int64_t index) const;
  double float_at(int64_t index) const;
  bool operator==(const Dense& other) const;
};

struct Symbol {
  std::string name;
  bool operator==(const Symbol&) const = default;
};

struct Unit {
  bool operator==(const Unit&) const = default;
};

// The result_accuracy of transcendental ops.
struct Accuracy {
  double atol = 0, rtol = 0;
  int64_t ulps = 0;
  AccuracyMode mode = AccuracyMode::standard;
  bool operator==(const Accuracy&) const = default;
};

struct OutputOperandAlias {
  Dims output_tuple_indices;
  int64_t operand_index = 0;
  Dims operand_tuple_indices;
  bool operator==(const OutputOperandAlias&) const = default;
};

// Groups of device positions in the assignment, as lists (uneven groups end early).
struct ReplicaGroups {
  std::vector<Dims> groups;
  // The mesh-axes form, before it is resolved against its mesh: the symbol and the axis names.
  std::string mesh;
  std::vector<std::string> axes;
  bool operator==(const ReplicaGroups&) const = default;
};

// Integers and floats with a type of their own (as in a dictionary `backend_config`).
struct TypedInt {
  DType dtype = DType::s64;
  int64_t value = 0;
  bool operator==(const TypedInt&) const = default;
};
struct TypedFloat {
  DType dtype = DType::f32;
  double value = 0;
  bool operator==(const TypedFloat&) const = default;
};

struct Attr;
using Ints = std::vector<int64_t>;
using AttrList = std::vector<Attr>;
struct NamedAttr;
using AttrDict = std::vector<NamedAttr>;  // sorted by name

struct Attr {
  using Value =
      std::variant<Unit, bool, TypedInt, TypedFloat, std::string, Symbol, Type, Enum, Ints, Dense,
                   Accuracy, OutputOperandAlias, ReplicaGroups, AttrList, AttrDict>;
  Value value;

  // Defined in one place, as those of Type: a copy of the variant is code for each of its types.
  Attr();
  ~Attr();
  Attr(const Attr&);
  Attr(Attr&&) noexcept;
  Attr& operator=(const Attr&);
  Attr& operator=(Attr&&) noexcept;
  // Implicit: whoever sets an attribute names the value alone.
  // NOLINTBEGIN(google-explicit-constructor)
  Attr(Value v);
  // A plain integer is an s64, a plain double an f64 attribute.
  Attr(int64_t v);
  Attr(double v);
  Attr(Ints v);
  Attr(std::string v);
  Attr(Dense v);
  Attr(Type v);
  Attr(Symbol v);
  Attr(Enum v);
  // NOLINTEND(google-explicit-constructor)

  template <typename T>
  const T* get_if() const {
    return std::get_if<T>(&value);
  }
  bool operator==(const Attr& other) const;
};

struct NamedAttr {
  std::string name;
  Attr value;
  bool operator==(const NamedAttr& other) const = default;
};

const Attr* find(const AttrDict& dict, std::string_view name);
std::string print(const Attr& attr);

}  // namespace jaxmps::ir
