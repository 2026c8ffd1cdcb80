// The attributes of the builtin dialect. Locations are not attributes here (see locations.cc).
#include "bytecode/tables.h"

namespace jaxmps::bytecode {
namespace {

using ir::Attr;

Result<Attr> symbol(Decoder& in) {
  TRY(std::string name, in.text_attr("symbol name"));
  return Attr(ir::Symbol{std::move(name)});
}

// "@root::@leaf" under one name.
Result<Attr> nested_symbol(Decoder& in) {
  TRY(std::string name, in.text_attr("symbol root"));
  const size_t at = in.in.offset();
  TRY(const ir::AttrList parts, in.attrs("symbol part"));
  for (const Attr& part : parts) {
    const auto* leaf = part.get_if<ir::Symbol>();
    if (!leaf) return malformed(at, "symbol part", "not a symbol");
    name += "::@" + leaf->name;
  }
  return Attr(ir::Symbol{std::move(name)});
}

Result<Attr> dense_array(Decoder& in) {
  const size_t at = in.in.offset();
  TRY(const ir::Type element, in.element_type("array element type"));
  TRY(const uint64_t count, in.in.varint("array size"));
  TRY(const size_t length, in.in.count("array data size"));
  TRY(const auto blob, in.in.bytes("array data", length));
  const auto each = static_cast<size_t>(ir::byte_size(element.dtype));
  if (element.quantization || count > length || count * each != length) {
    return malformed(at, "array data", str(length, " bytes for ", count, " elements"));
  }
  ir::Dense dense;
  dense.type = ir::Type(element.dtype, {static_cast<int64_t>(count)});
  dense.data = blob.data();
  dense.owner = in.tables().owner();
  return Attr(std::move(dense));
}

}  // namespace

Result<Attr> builtin_attribute(Decoder& in) {
  const size_t at = in.in.offset();
  TRY(const uint64_t code, in.in.varint("builtin attribute code"));
  switch (code) {
    case 0:
      return attr_of(in.attrs("array item"));
    case 1:
      return attr_of(in.dict("dictionary"));
    case 2:
      return attr_of(in.string("string"));
    case 3: {
      TRY(std::string text, in.string("string"));
      TRY([[maybe_unused]] const ir::Type type, in.any_type("string type"));
      return Attr(std::move(text));
    }
    case 4:
      return symbol(in);
    case 5:
      return nested_symbol(in);
    case 6:
      return attr_of(in.any_type("type"));
    case 7:
      return Attr();
    case 8:
      return in.int_attr();
    case 9:
      return in.float_attr();
    case 10:
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
    case 22:
      return malformed(at, "builtin attribute code",
                       str("location (code ", code, ") where an attribute is expected"));
    case 17:
      return dense_array(in);
    case 18:
      return in.dense_attr();
    case 16:
    case 19:
    case 20:
    case 21:
    case 23:
    case 24:
    case 25: {
      TRY([[maybe_unused]] const auto skipped, in.in.bytes("attribute", in.in.left()));
      return opaque(str("builtin attribute ", code));
    }
    default:
      return malformed(at, "builtin attribute code", str("unknown code ", code));
  }
}

}  // namespace jaxmps::bytecode
