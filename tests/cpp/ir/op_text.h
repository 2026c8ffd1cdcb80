// Programs of one op, written as text, for tables of tests:
//   @f{f32[2] -> f32[2]} reduce f32[2,3] f32[] -> f32[2] dimensions=[1] {f32[] f32[] -> f32[]}
// Functions first (`@f{...}`, or `@f` alone for one without a body), then the op's name (without
// "stablehlo."), its operands (arguments of main), its results, attributes and regions. A region
// takes arguments and returns values that some call gives; `{f32[] !}` has no terminator.
//   types        f32[2,?]  q[2] (quantised f32)  token  tuple<f32[2]|s32[]>  future<f32[2]>
//   attributes   [1,2]  3  0.5  true  "text"  @symbol  $LT  zeros:f32[2]  ints:s32[2]:[1,2]
//                <k=2,largest=true>  ([1,0]|[0])  #[[0,1],[2]]  alias  type:f32[]
// `~name=...` is an attribute that is not the op's own. What cannot be read throws.
#pragma once

#include <charconv>
#include <map>
#include <stdexcept>

#include "ir/builder.h"
#include "ir/op_count.h"

namespace jaxmps::testing {

class OpText {
 public:
  explicit OpText(std::string_view text) : rest_(text) {}

  void build(Program& p) {
    while (peek() == '@') function(p);
    const OpId id = op_id(std::string(word(" ")));
    Values operands;
    for (const Type& type : types()) operands.push_back(p.arg(type));
    std::vector<Type> results;
    if (take("->")) results = types();
    Attrs attrs, discardable;
    while (!rest_.empty() && peek() != '{') {
      const bool own = !take("~");
      std::string name(word("="));
      take("=");
      (own ? attrs : discardable).push_back({std::move(name), value()});
      skip();
    }
    Op* op = p.ops(id, operands, results, std::move(attrs));
    op->discardable = passes::attributes(std::move(discardable));
    while (take("{")) p.region(op, [&](Body& body) { region(body); });
    if (!rest_.empty()) fail("the end");
    Values values;
    for (int i = 0; i < op->result_count(); ++i) values.push_back(op->result(i));
    p.ret(values);
  }

 private:
  [[noreturn]] void fail(const std::string& wanted) const {
    throw std::runtime_error("wanted " + wanted + " at: " + std::string(rest_));
  }
  char peek() const { return rest_.empty() ? '\0' : rest_[0]; }
  void skip() {
    while (peek() == ' ') rest_.remove_prefix(1);
  }
  bool take(std::string_view text) {
    if (rest_.substr(0, text.size()) != text) return false;
    rest_.remove_prefix(text.size());
    skip();
    return true;
  }
  void need(std::string_view text) {
    if (!take(text)) fail(std::string(text));
  }
  // Up to one of `ends`.
  std::string_view word(std::string_view ends) {
    const std::string_view out = rest_.substr(0, rest_.find_first_of(ends));
    rest_.remove_prefix(out.size());
    skip();
    return out;
  }

  static OpId op_id(const std::string& name) {
    const std::string full = name.find('.') == std::string::npos ? "stablehlo." + name : name;
    for (size_t i = 0; i < ir::kOpCount; ++i) {
      if (ir::name(static_cast<OpId>(i)) == full) return static_cast<OpId>(i);
    }
    throw std::runtime_error("no op " + full);
  }

  int64_t integer() {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc()) fail("an integer");
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return value;
  }
  // Items between brackets, `item` reading one each.
  template <typename F>
  void list(std::string_view open, char separator, std::string_view close, F item) {
    need(open);
    while (!take(close)) {
      item();
      if (peek() == separator) rest_.remove_prefix(1);
    }
  }
  Ints ints() {
    Ints out;
    list("[", ',', "]", [&] { out.push_back(take("?") ? ir::kDynamic : integer()); });
    return out;
  }

  // A type, if one stands here.
  bool type(Type* out) {
    if (take("token")) {
      *out = Type::token();
      return true;
    }
    for (const auto& [name, kind] :
         {std::pair("tuple<", Type::Kind::tuple), std::pair("future<", Type::Kind::future)}) {
      if (rest_.substr(0, std::string_view(name).size()) != name) continue;
      *out = Type();
      out->kind = kind;
      list(name, '|', ">", [&] { out->elements.push_back(one_type()); });
      return true;
    }
    if (rest_.substr(0, 2) == "q[") {
      rest_.remove_prefix(1);
      *out = Type(DType::f32, ints());
      auto quantization = std::make_shared<ir::Quantization>();
      quantization->scales = {0.5};
      quantization->zero_points = {0};
      out->quantization = quantization;
      return true;
    }
    for (int i = 0; i < ir::kDTypeCount; ++i) {
      const std::string brief = ir::brief(Type(static_cast<DType>(i), {}));
      const size_t name = brief.size() - 2;
      if (rest_.substr(0, name + 1) != brief.substr(0, name + 1)) continue;
      rest_.remove_prefix(name);
      *out = Type(static_cast<DType>(i), ints());
      return true;
    }
    return false;
  }
  Type one_type() {
    Type out;
    if (!type(&out)) fail("a type");
    return out;
  }
  std::vector<Type> types() {
    std::vector<Type> out;
    skip();
    for (Type one; type(&one); skip()) out.push_back(one);
    return out;
  }

  Attr value() {
    if (take("true")) return flag(true);
    if (take("false")) return flag(false);
    if (take("alias")) return Attr(Attr::Value(ir::OutputOperandAlias{}));
    if (take("type:")) return Attr(one_type());
    if (take("ints:")) {
      const Type type = one_type();
      need(":");
      return Attr(passes::make_ints(type, ints()));
    }
    if (take("zeros:")) return Attr(passes::make_splat(one_type(), 0));
    if (take("@")) return Attr(ir::Symbol{std::string(word(" |),>"))});
    if (take("$")) return enumeration(std::string(word(" ")));
    if (peek() == '[') return Attr(ints());
    if (peek() == '"') {
      rest_.remove_prefix(1);
      const std::string text(rest_.substr(0, rest_.find('"')));
      rest_.remove_prefix(text.size() + 1);
      return Attr(text);
    }
    if (peek() == '(') {
      ir::AttrList items;
      list("(", '|', ")", [&] { items.push_back(value()); });
      return Attr(Attr::Value(std::move(items)));
    }
    if (peek() == '<') {
      AttrDict items;
      list("<", ',', ">", [&] {
        std::string name(word("="));
        need("=");
        items.push_back({std::move(name), value()});
      });
      return Attr(Attr::Value(passes::attributes(std::move(items))));
    }
    if (take("#")) {
      ir::ReplicaGroups groups;
      list("[", ',', "]", [&] { groups.groups.push_back(ints()); });
      return Attr(Attr::Value(std::move(groups)));
    }
    const int64_t whole = integer();
    if (peek() != '.') return Attr(whole);
    rest_.remove_prefix(1);
    return Attr(static_cast<double>(whole) + 0.1 * static_cast<double>(integer()));
  }

  static Attr enumeration(const std::string& name) {
    static const std::map<std::string, Attr> values = {
        {"EQ", choice(ir::CompareDirection::eq)},
        {"LT", choice(ir::CompareDirection::lt)},
        {"NOTYPE", choice(ir::CompareType::none)},
        {"TOTALORDER", choice(ir::CompareType::total_order)},
        {"FFT", choice(ir::FftType::fft)},
        {"RFFT", choice(ir::FftType::rfft)},
        {"IRFFT", choice(ir::FftType::irfft)},
        {"DEFAULT", choice(ir::RngAlgorithm::standard)},
        {"THREE_FRY", choice(ir::RngAlgorithm::three_fry)},
        {"PHILOX", choice(ir::RngAlgorithm::philox)},
        {"UNIFORM", choice(ir::RngDistribution::uniform)},
        {"INVALID", choice(ir::Transpose::invalid)},
        {"TRANSPOSE", choice(ir::Transpose::transpose)}};
    return values.at(name);
  }

  // Behind its opening bracket.
  std::vector<Type> region(Body& body) {
    for (const Type& type : types()) body.arg(type);
    std::vector<Type> results;
    if (take("!")) {
      need("}");
      return results;
    }
    need("->");
    results = types();
    need("}");
    Op* made = body.ops(OpId::custom_call, {}, results,
                        {{"call_target_name", Attr(std::string("nobody.knows"))}});
    Values values;
    for (int i = 0; i < made->result_count(); ++i) values.push_back(made->result(i));
    body.ret(values);
    return results;
  }

  void function(Program& p) {
    need("@");
    ir::Function* made = p.function(std::string(word(" {")));
    made->is_declaration = !take("{");
    if (made->is_declaration) return;
    Body body = p.body(made);
    made->type.results = region(body);
    for (int i = 0; i < made->body.arg_count(); ++i) {
      made->type.elements.push_back(made->body.arg(i)->type);
    }
  }

  std::string_view rest_;
};

}  // namespace jaxmps::testing
