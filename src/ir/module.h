// The IR: a module of functions; a function is a region; a region has arguments and a list of ops
// that ends in a terminator; an op has operands, results, attributes and regions.
// SSA: each Value has one definition; uses are linked, so replacing and erasing cost what they
// touch. Ownership: Module owns functions and locations, regions own their ops, ops own their
// regions. Values and ops have stable addresses until erased. Not thread-safe: one thread per
// module.
#pragma once

#include <deque>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "ir/attr.h"
#include "ir/type.h"

namespace jaxmps::ir {

enum class OpId : uint16_t {
#define OP(id, name, traits) id,
#include "ir/ops.def"
#undef OP
};

namespace traits {
inline constexpr uint32_t none = 0, pure = 1, elementwise = 2, commutative = 4, region = 8,
                          terminator = 16, collective = 32;
}
std::string_view name(OpId id);
uint32_t traits_of(OpId id);

class Op;
class Region;
struct Use;

// Where an op comes from: what JAX recorded of the user's source.
struct Location {
  enum class Kind : uint8_t { unknown, name, file, call_site, fused };
  Kind kind = Kind::unknown;
  std::string text;  // the name, or the file
  int64_t line = 0, column = 0, end_line = 0, end_column = 0;
  // name: child; call_site: callee then caller; fused: all.
  std::vector<const Location*> children;
};
// "file.py:12:3" of the innermost user frame, or the name, or "unknown location".
std::string brief(const Location* location);

class Value {
 public:
  Type type;

  // The op that defines it and the position among its results; op() is null for region arguments.
  Op* op() const { return op_; }
  Region* region() const { return region_; }  // for arguments
  int index() const { return index_; }
  bool is_argument() const { return region_ != nullptr; }
  bool unused() const { return first_use_ == nullptr; }
  bool has_one_use() const;
  Use* first_use() const { return first_use_; }
  void replace_all_uses_with(Value* other);

 private:
  friend class Op;
  friend class Region;
  friend struct Use;
  Op* op_ = nullptr;
  Region* region_ = nullptr;
  int index_ = 0;
  Use* first_use_ = nullptr;
};

// Values of what is copied, and of the copy.
using ValueMap = std::unordered_map<const Value*, Value*>;

std::vector<Type> types_of(std::span<Value* const> values);

// One operand slot of an op, linked into its value's list of uses.
struct Use {
  Value* value = nullptr;
  Op* owner = nullptr;
  Use* next = nullptr;
  Use** link = nullptr;
  void set(Value* v);
  ~Use() { set(nullptr); }
};

// What a later stage has made of an op and keeps on it, for stages behind it.
struct Attachment {
  virtual ~Attachment() = default;
};

class Op {
 public:
  OpId id;
  const Location* location = nullptr;
  AttrDict attrs;                                // the op's own, sorted by name
  AttrDict discardable;                          // frontend attributes, shardings and the like
  std::shared_ptr<const Attachment> attachment;  // copies of the op have none

  static std::unique_ptr<Op> create(OpId id, std::span<Value* const> operands,
                                    std::span<const Type> result_types, AttrDict attrs = {},
                                    const Location* location = nullptr);
  ~Op();

  std::string_view name() const { return ir::name(id); }
  bool is(uint32_t trait) const { return (traits_of(id) & trait) != 0; }

  int operand_count() const { return static_cast<int>(operands_.size()); }
  Value* operand(int i) const { return operands_[i].value; }
  std::vector<Value*> operands() const;
  void set_operand(int i, Value* value) { operands_[i].set(value); }
  void set_operands(std::span<Value* const> values);

  int result_count() const { return static_cast<int>(results_.size()); }
  Value* result(int i = 0) { return &results_[i]; }
  const Value* result(int i = 0) const { return &results_[i]; }
  std::vector<Value*> results();
  bool unused() const;

  std::vector<std::unique_ptr<Region>>& regions() { return regions_; }
  const std::vector<std::unique_ptr<Region>>& regions() const { return regions_; }
  Region& region(int i = 0) const { return *regions_[i]; }
  Region* add_region();

  Region* parent() const { return parent_; }
  Op* next() const { return next_; }
  Op* previous() const { return previous_; }

  // Attributes. The typed readers require that the verifier has accepted the op.
  const Attr* find(std::string_view name) const { return ir::find(attrs, name); }
  void set_attr(std::string_view name, Attr value);
  int64_t i64(std::string_view name) const;
  bool flag(std::string_view name) const;
  const Ints& ints(std::string_view name) const;
  const std::string& text(std::string_view name) const;  // strings and symbols
  const Dense& dense(std::string_view name) const;
  template <typename E>
  E enum_attr(std::string_view name) const {
    return static_cast<E>(std::get<Enum>(find(name)->value).value);
  }

  // Unlinks and destroys; no result may have uses left.
  void erase();
  // Moves before `position`, possibly in another region.
  void move_before(Op* position);
  // A copy with operands mapped through `map` (unmapped ones stay), regions too.
  std::unique_ptr<Op> clone(ValueMap& map) const;

 private:
  friend class Region;
  explicit Op(OpId op_id) : id(op_id) {}
  std::vector<Use> operands_;
  std::vector<Value> results_;
  std::vector<std::unique_ptr<Region>> regions_;
  Region* parent_ = nullptr;
  Op* next_ = nullptr;
  Op* previous_ = nullptr;
};

// A single block: arguments and ops. (VHLO bodies never have more than one block.)
class Region {
 public:
  Region() = default;
  explicit Region(Op* parent) : parent_(parent) {}
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  Op* parent_op() const { return parent_; }  // null for a function's body
  int arg_count() const { return static_cast<int>(args_.size()); }
  Value* arg(int i) const { return args_[i].get(); }
  Value* add_arg(Type type);
  void erase_arg(int i);  // must be unused

  bool empty() const { return first_ == nullptr; }
  Op* first() const { return first_; }
  Op* last() const { return last_; }
  Op* terminator() const { return last_; }
  int64_t op_count() const;

  Op* append(std::unique_ptr<Op> op);
  Op* insert_before(Op* position, std::unique_ptr<Op> op);
  // Copies args and ops of `other` into this empty region; outer values map through `map`.
  void copy_from(const Region& other, ValueMap& map);
  // Copies the ops of `other` but the terminator before `position` (null: to the end), its
  // arguments being `operands`; returns what the terminator returns of the copies.
  std::vector<Value*> copy_ops(const Region& other, std::span<Value* const> operands,
                               Op* position = nullptr);
  // Makes this empty region a function of what `inputs` names that returns what a copy of `op`
  // does; returns the copy. Of equal inputs the first argument is read.
  Op* copy_alone(const Op& op, std::span<Value* const> inputs);

  // Iterates over ops; the current op may be erased by the loop body.
  class iterator {
   public:
    explicit iterator(Op* op) : op_(op), next_(op ? op->next() : nullptr) {}
    Op* operator*() const { return op_; }
    iterator& operator++() {
      op_ = next_;
      next_ = op_ ? op_->next() : nullptr;
      return *this;
    }
    bool operator!=(const iterator& other) const { return op_ != other.op_; }

   private:
    Op* op_;
    Op* next_;
  };
  iterator begin() const { return iterator(first_); }
  iterator end() const { return iterator(nullptr); }

 private:
  friend class Op;
  void link(Op* op, Op* before);
  void unlink(Op* op);
  Op* parent_ = nullptr;
  std::vector<std::unique_ptr<Value>> args_;
  Op* first_ = nullptr;
  Op* last_ = nullptr;
};

struct Function {
  std::string name;
  bool is_public = false;
  bool is_declaration = false;  // has no body
  Type type;                    // Kind::function
  Region body;
  std::vector<AttrDict> arg_attrs;     // empty, or one per argument
  std::vector<AttrDict> result_attrs;  // empty, or one per result
  const Location* location = nullptr;

  Function();
  ~Function();
};

struct MeshAxis {
  std::string name;
  int64_t size = 1;
};
struct Mesh {
  std::string name;
  std::vector<MeshAxis> axes;
  Dims device_ids;  // empty: 0, 1, 2 ...
};

class Module {
 public:
  std::string name;
  std::string producer;  // "StableHLO_v1.16.0"
  AttrDict attrs;
  std::vector<std::unique_ptr<Function>> functions;
  std::vector<Mesh> meshes;
  std::shared_ptr<const void> artifact;  // what Dense attributes may point into

  Module();
  ~Module();
  Module(Module&&) noexcept;
  Module& operator=(Module&&) noexcept;

  Function* find(std::string_view function_name) const;
  Function* main() const { return find("main"); }
  Function* add_function(std::string function_name);
  const Location* add_location(Location location);

 private:
  std::deque<Location> locations_;
};

std::string print(const Module& module);
std::string print(const Op& op);
// "stablehlo.add (f32[2], f32[2]) -> f32[2]": the form used in messages.
std::string brief(const Op& op);
// The sentence that refuses an op: what it is, why, and the user's file and line.
Error refuse(const Op& op, std::string_view reason);

// Checks every op's operands, results, attributes and regions, and function signatures and calls.
// Behind it, nothing checks again. All failures of a module come as one Error.
Status verify(const Module& module);

}  // namespace jaxmps::ir
