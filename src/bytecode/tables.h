// The attribute and type tables: entries are decoded when first used and kept by index.
// What the artifact may make us allocate is bounded: nesting by kMaxDepth, and all that is copied
// out of the tables by a budget in proportion to the artifact (a chain of arrays that each hold the
// next one twice would otherwise grow exponentially). Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bytecode/container.h"
#include "ir/attr.h"
#include "ir/module.h"
#include "ir/type.h"

namespace jaxmps::bytecode {

inline constexpr int kMaxDepth = 64;
inline constexpr size_t kMaxRank = 64;

// A decoded entry. `cost` is about the bytes that a copy takes, `height` the nesting below.
struct TypeEntry {
  ir::Type type;
  bool element = false;  // an element type, held as a scalar tensor
  size_t cost = 0;
  int height = 0;
};
struct AttrEntry {
  ir::Attr attr;
  size_t cost = 0;
  int height = 0;
};

class Tables {
 public:
  // `owner` keeps the artifact alive for the Dense attributes that point into it.
  Tables(const Container& container, std::shared_ptr<const void> owner);

  const Container& container() const { return container_; }
  const std::shared_ptr<const void>& owner() const { return owner_; }

  Result<const AttrEntry*> attribute(size_t index, int depth = 0);
  Result<const TypeEntry*> type(size_t index, int depth = 0);

  // A copy for the module; `at` is where the artifact asks for it.
  Result<ir::Type> copy_value_type(size_t index, size_t at);
  Status charge(size_t bytes, size_t at);

  Text dialect(const Entry& entry) const { return container_.dialects[entry.dialect]; }

 private:
  template <typename T>
  struct Table {
    Table(Text name, const std::vector<Entry>& encoded)
        : kind(name), entries(encoded), known(encoded.size()), open(encoded.size()) {}
    Text kind;
    const std::vector<Entry>& entries;
    std::vector<std::unique_ptr<T>> known;
    std::vector<bool> open;  // being decoded
  };
  template <typename T>
  Result<const T*> decoded(Table<T>& table, size_t index, int depth);
  Status decode(const Entry& entry, class Decoder& in, AttrEntry& out);
  Status decode(const Entry& entry, class Decoder& in, TypeEntry& out);

  const Container& container_;
  std::shared_ptr<const void> owner_;
  Table<AttrEntry> attributes_;
  Table<TypeEntry> types_;
  size_t budget_;
};

// Decodes one entry: the cursor over it, and what its children added up to.
class Decoder {
 public:
  Decoder(Tables& tables, Cursor cursor, int depth) : in(cursor), tables_(tables), depth_(depth) {}

  Cursor in;

  // Attributes by index.
  Result<ir::Attr> attr(Text field);
  Result<ir::Attr> attr_at(size_t index, size_t offset);
  Result<ir::AttrList> attrs(Text field);
  Result<std::string> text_attr(Text field);
  // varint+flag: false if absent.
  Result<bool> optional_attr(Text field, ir::Attr* out);
  // `count` (name attribute, value attribute) pairs, sorted here.
  Result<ir::AttrDict> dict(Text field);

  Result<ir::Type> value_type(Text field);
  Result<ir::Type> element_type(Text field);
  Result<ir::Type> any_type(Text field);
  Result<std::vector<ir::Type>> value_types(Text field);

  Result<std::string> string(Text field);
  Result<ir::Dims> ints(Text field);
  // The dims of a shape: not negative, not too many, no overflow of the byte count.
  Result<ir::Dims> shape(Text field);
  Result<uint8_t> enum_value(Text field, uint64_t first, uint64_t last);
  // APInt and APFloat of the width of `dtype`.
  Result<int64_t> integer(Text field, ir::DType dtype);
  Result<double> floating(Text field, ir::DType dtype);
  // What dialects write alike: a number behind its type, a tensor, a part of a mesh's axis.
  Result<ir::Attr> int_attr();
  Result<ir::Attr> float_attr();
  Result<ir::Attr> dense_attr();
  Result<ir::Attr> sub_axis();

  Tables& tables() { return tables_; }
  Status charge(size_t bytes);
  size_t cost() const { return cost_; }
  int height() const { return height_; }

 private:
  Result<const TypeEntry*> type(Text field);
  void add(size_t cost, int height);

  Tables& tables_;
  int depth_;
  size_t cost_ = 0;
  int height_ = 0;
};

// One dialect's entries, after the code. An attribute that artifacts may carry but nothing reads
// becomes `opaque`, which fails only where an op declares it.
Result<ir::Attr> vhlo_attribute(Decoder& in);
Result<ir::Attr> builtin_attribute(Decoder& in);
Result<ir::Attr> sdy_attribute(Decoder& in);
Result<TypeEntry> vhlo_type(Decoder& in);
Result<TypeEntry> builtin_type(Decoder& in);
Result<TypeEntry> text_type(Text text, size_t offset);
// A decoded value as an attribute.
template <typename T>
Result<ir::Attr> attr_of(Result<T> value) {
  if (!value.ok()) return std::move(value).error();
  return ir::Attr(ir::Attr::Value(std::move(value).value()));
}
ir::Attr opaque(Text what);
// A dictionary attribute of named parts.
ir::Attr named(std::initializer_list<ir::NamedAttr> parts);

// The elements of a tensor attribute.
Result<ir::Dense> tensor_data(Decoder& in, ir::Type type);

}  // namespace jaxmps::bytecode
