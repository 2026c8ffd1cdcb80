// Recognises the unrolled Threefry-2x32 block: twenty rounds of add, rotate and xor on two words
// with five key injections. Every 32-bit value gets a symbolic expression, in which sums and xors
// are sets of terms and rotations are known as such; equal expressions have equal numbers. Where a
// first round is found, the whole block is computed on expressions, and if the program holds values
// with the two resulting numbers, they are results of mps.threefry2x32. So a match is exact,
// however the additions were grouped, and anything else stays as it is.
#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

using Id = int32_t;

constexpr uint32_t kParity = 0x1BD11BDA;
constexpr int kRotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
// Longer sums become a single term, so that long chains stay linear.
constexpr size_t kLongestSum = 40;

enum class Kind : uint8_t { leaf, constant, sum, exclusive, left, right, rotation, spread };

struct Node {
  Kind kind;
  // The constant, the distance, the constant part of a sum, or the number of a broadcast's shape.
  uint32_t number = 0;
  const Value* value = nullptr;  // of a leaf
  std::vector<Id> terms;
  auto key() const { return std::tie(kind, number, value, terms); }
  bool operator<(const Node& other) const { return key() < other.key(); }
};

class Expressions {
 public:
  const Node& operator[](Id id) const { return *nodes_[id]; }
  Id leaf(const Value* value) { return intern({Kind::leaf, 0, value, {}}); }
  Id constant(uint32_t number) { return intern({Kind::constant, number, nullptr, {}}); }
  Id shift(Kind kind, Id of, uint32_t distance) { return intern({kind, distance, nullptr, {of}}); }
  Id sum(Id a, Id b) { return join(Kind::sum, a, b); }
  Id exclusive(Id a, Id b) { return join(Kind::exclusive, a, b); }
  // or of a left and a right shift; -1 if that is no rotation.
  Id rotation(Id a, Id b) {
    const Node &x = *nodes_[a], &y = *nodes_[b];
    if (x.kind == Kind::right && y.kind == Kind::left) return rotation(b, a);
    if (x.kind != Kind::left || y.kind != Kind::right || x.terms != y.terms) return -1;
    if (x.number == 0 || x.number + y.number != 32) return -1;
    return shift(Kind::rotation, x.terms[0], x.number);
  }
  // A broadcast of sums or xors is the sum or xor of broadcasts.
  Id spread(Id of, const ir::Dims& dims, const ir::Ints& at) {
    const Node& node = *nodes_[of];
    if (node.kind == Kind::constant) return of;
    if (node.kind != Kind::sum && node.kind != Kind::exclusive) {
      auto shape = shapes_.emplace(std::pair{dims, at}, static_cast<uint32_t>(shapes_.size()));
      return intern({Kind::spread, shape.first->second, nullptr, {of}});
    }
    Id joined = constant(node.number);
    for (Id term : node.terms) joined = join(node.kind, joined, spread(term, dims, at));
    return joined;
  }

 private:
  Id join(Kind kind, Id a, Id b) {
    Node node{kind, 0, nullptr, {}};
    for (Id id : {a, b}) {
      const Node& part = *nodes_[id];
      const bool same = part.kind == kind && part.terms.size() < kLongestSum;
      if (part.kind == Kind::constant || same) {
        node.number = kind == Kind::sum ? node.number + part.number : node.number ^ part.number;
      }
      if (same) {
        node.terms.insert(node.terms.end(), part.terms.begin(), part.terms.end());
      } else if (part.kind != Kind::constant) {
        node.terms.push_back(id);
      }
    }
    if (node.terms.empty()) return constant(node.number);
    if (node.terms.size() == 1 && node.number == 0) return node.terms[0];
    std::sort(node.terms.begin(), node.terms.end());
    return intern(std::move(node));
  }

  Id intern(Node node) {
    auto [at, added] = ids_.emplace(std::move(node), static_cast<Id>(nodes_.size()));
    if (added) nodes_.push_back(&at->first);
    return at->second;
  }

  std::map<std::pair<ir::Dims, ir::Ints>, uint32_t> shapes_;
  std::map<Node, Id> ids_;
  std::vector<const Node*> nodes_;
};

// An initial word: count plus key; null stands for zero.
struct Word {
  Value* count;
  Value* key;
};

class Recognizer {
 public:
  void run(Region& region) {
    std::vector<Op*> firsts;
    for (Op* op : region) {
      for (const auto& nested : op->regions()) run(*nested);
      if (op->result_count() != 1 || op->result()->type.dtype != DType::u32) continue;
      Value* value = op->result();
      const Id id = expression(value);
      values_[id].push_back(value);
      if (op->id == OpId::add) firsts.push_back(op);
    }
    for (Op* op : firsts) {
      if (try_block(op, op->operand(0), op->operand(1))) continue;
      try_block(op, op->operand(1), op->operand(0));
    }
  }

 private:
  // Values are asked for in order of definition, so operands are known, or leaves.
  Id expression(const Value* value) {
    auto known = of_.find(value);
    if (known != of_.end()) return known->second;
    const Id id = build(value);
    of_[value] = id;
    return id;
  }

  Id build(const Value* value) {
    const Op* op = value->op();
    if (!op || op->result_count() != 1) return all_.leaf(value);
    auto in = [&](int i) { return expression(op->operand(i)); };
    switch (op->id) {
      case OpId::add:
        return all_.sum(in(0), in(1));
      case OpId::xor_:
        return all_.exclusive(in(0), in(1));
      case OpId::or_: {
        const Id rotation = all_.rotation(in(0), in(1));
        return rotation < 0 ? all_.leaf(value) : rotation;
      }
      case OpId::shift_left:
      case OpId::shift_right_logical: {
        const Node& distance = all_[in(1)];
        if (distance.kind != Kind::constant) return all_.leaf(value);
        return all_.shift(op->id == OpId::shift_left ? Kind::left : Kind::right, in(0),
                          distance.number);
      }
      case OpId::constant: {
        const ir::Dense& dense = op->dense("value");
        const bool uniform = dense.splat || dense.type.is_scalar();
        return uniform ? all_.constant(static_cast<uint32_t>(dense.int_at(0))) : all_.leaf(value);
      }
      case OpId::broadcast_in_dim:
      case OpId::reshape: {
        // Every element is the one element.
        const ir::Type& from = op->operand(0)->type;
        if (!from.is_static()) return all_.leaf(value);
        if (from.size() == 1) return in(0);
        if (op->id == OpId::reshape) return all_.leaf(value);
        return all_.spread(in(0), value->type.dims, op->ints("broadcast_dimensions"));
      }
      default:
        return all_.leaf(value);
    }
  }

  bool has(Id id) const { return values_.count(id) != 0; }

  // The value with this expression, shape and region; null if the program has none.
  Value* find(Id id, const ir::Type& type, const Region* region) const {
    auto found = values_.find(id);
    if (found == values_.end()) return nullptr;
    for (Value* value : found->second) {
      if (value->type == type && value->op()->parent() == region) return value;
    }
    return nullptr;
  }

  static std::vector<Word> splits(Value* word) {
    std::vector<Word> out;
    const Op* op = word->op();
    if (op && op->id == OpId::add) {
      out.push_back({op->operand(0), op->operand(1)});
      out.push_back({op->operand(1), op->operand(0)});
    }
    out.push_back({word, nullptr});
    out.push_back({nullptr, word});
    return out;
  }

  bool try_block(Op* first, Value* word0, Value* word1) {
    const Id rotated = all_.shift(Kind::rotation, expression(word1), kRotations[0][0]);
    if (!has(rotated)) return false;
    for (const Word& w0 : splits(word0)) {
      for (const Word& w1 : splits(word1)) {
        if (try_words(first, w0, w1)) return true;
      }
    }
    return false;
  }

  Id id_of(const Value* value) { return value ? expression(value) : all_.constant(0); }

  bool try_words(Op* first, const Word& w0, const Word& w1) {
    const Id k0 = id_of(w0.key), k1 = id_of(w1.key);
    const Id keys[3] = {k0, k1, all_.exclusive(all_.exclusive(k0, k1), all_.constant(kParity))};
    Id x0 = all_.sum(id_of(w0.count), k0), x1 = all_.sum(id_of(w1.count), k1);
    for (uint32_t group = 0; group < 5; ++group) {
      for (int distance : kRotations[group % 2]) {
        x0 = all_.sum(x0, x1);
        x1 = all_.exclusive(x0, all_.shift(Kind::rotation, x1, distance));
      }
      x0 = all_.sum(x0, keys[(group + 1) % 3]);
      x1 = all_.sum(all_.sum(x1, keys[(group + 2) % 3]), all_.constant(group + 1));
    }
    const ir::Type& type = first->result()->type;
    Value *r0 = find(x0, type, first->parent()), *r1 = find(x1, type, first->parent());
    if (!r0 || !r1) return false;
    // Keys, counts and thus the new op stand before the first round.
    const Builder build(first);
    auto operand = [&](Value* v) { return v ? v : build.splat(type, 0); };
    const std::vector<Value*> operands{operand(w0.key), operand(w1.key), operand(w0.count),
                                       operand(w1.count)};
    Op* block = build.op(OpId::threefry2x32, operands, {type, type});
    r0->replace_all_uses_with(block->result(0));
    r1->replace_all_uses_with(block->result(1));
    return true;
  }

  Expressions all_;
  std::unordered_map<const Value*, Id> of_;
  std::unordered_map<Id, std::vector<Value*>> values_;
};

}  // namespace

Status recognize_threefry(ir::Module& module) {
  for (const auto& function : module.functions) Recognizer().run(function->body);
  return {};
}

}  // namespace jaxmps::passes
