// Rules of custom calls, one for each target.
#include <algorithm>
#include <charconv>

#include "ir/custom_call.h"
#include "ir/verify_rules.h"

namespace jaxmps::ir {
namespace {

using rules::in_class;
using rules::is_known;
using rules::kAny;
using rules::kComplex;
using rules::kFloat;
using rules::kInt;
using rules::match;
using rules::match_dims;
using rules::operand_type;
using rules::Reason;
using rules::result_type;

struct Option {
  enum class Kind : uint8_t { flag, integer, number };
  std::string_view name;
  Kind kind = Kind::flag;
  bool required = false;
};

struct Rule {
  enum class Config : uint8_t {
    words,       // `name=integer` in the backend_config, or none
    dictionary,  // one dictionary, see custom_call_dictionary()
    hint         // whatever it is, nothing here reads it, nor the layouts
  };
  std::string_view target;  // a prefix if it ends with a dot
  int operands, results;
  Config config = Config::words;
  std::vector<Option> options;
  Reason (*check)(const Op& op) = nullptr;
  std::vector<Signature> (*called)(const Op& op) = nullptr;
};

// ---- Options ----

// The next word of `rest` as name and integer; false if it is no such word.
bool next_word(std::string_view* rest, std::string_view* name, int64_t* value) {
  const std::string_view word = rest->substr(0, rest->find(' '));
  rest->remove_prefix(std::min(rest->size(), word.size() + 1));
  const size_t equals = word.find('=');
  if (equals == 0 || equals == std::string_view::npos) return false;
  *name = word.substr(0, equals);
  const std::string_view number = word.substr(equals + 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), *value);
  return error == std::errc() && end == number.data() + number.size();
}

const Option* find_option(const Rule& rule, std::string_view name) {
  const auto found = std::find_if(rule.options.begin(), rule.options.end(),
                                  [&](const Option& option) { return option.name == name; });
  return found == rule.options.end() ? nullptr : &*found;
}

Reason check_words(const Op& op, const Rule& rule) {
  const Attr* config = op.find("backend_config");
  const auto* text = config ? config->get_if<std::string>() : nullptr;
  const auto* dictionary = config ? config->get_if<AttrDict>() : nullptr;
  NEED(!config || text || (dictionary && dictionary->empty()),
       "backend_config must be a string, is ", print(*config));
  std::string_view rest = text ? std::string_view(*text) : std::string_view();
  std::vector<std::string_view> seen;
  while (!rest.empty()) {
    const std::string_view whole = rest;
    std::string_view name;
    int64_t value = 0;
    NEED(next_word(&rest, &name, &value), "backend_config must be words `name=integer`, is ",
         whole);
    const Option* option = find_option(rule, name);
    NEED(option, "there is no option ", name);
    NEED(option->kind != Option::Kind::flag || value == 0 || value == 1, "option ", name,
         " must be 0 or 1, is ", value);
    NEED(std::find(seen.begin(), seen.end(), name) == seen.end(), "option ", name, " comes twice");
    seen.push_back(name);
  }
  for (const Option& option : rule.options) {
    NEED(!option.required || std::find(seen.begin(), seen.end(), option.name) != seen.end(),
         "option ", option.name, " is missing");
  }
  return {};
}

Reason check_dictionary(const Op& op, const Rule& rule) {
  const AttrDict* given = custom_call_dictionary(op);
  NEED(given, "its options must be a dictionary");
  for (const NamedAttr& attr : *given) {
    const Option* option = find_option(rule, attr.name);
    NEED(option, "there is no option ", attr.name);
    const bool fits = option->kind == Option::Kind::flag ? attr.value.get_if<bool>() != nullptr
                      : option->kind == Option::Kind::integer
                          ? attr.value.get_if<TypedInt>() != nullptr
                          : attr.value.get_if<TypedFloat>() != nullptr;
    NEED(fits, "option ", attr.name, " is ", print(attr.value));
  }
  for (const Option& option : rule.options) {
    NEED(!option.required || find(*given, option.name), "option ", option.name, " is missing");
  }
  return {};
}

// ---- Layouts and what else every target has ----

// Arrays are row-major: the only layout that a call may ask for.
Reason check_layouts(std::string_view what, const Attr* layouts, const std::vector<Type>& types) {
  if (!layouts) return {};
  const auto& list = std::get<AttrList>(layouts->value);
  NEED(list.empty() || list.size() == types.size(), what, " has ", list.size(), " entries for ",
       types.size(), " values");
  for (size_t i = 0; i < list.size(); ++i) {
    const auto* order = list[i].get_if<Ints>();
    NEED(order, what, " must hold lists of dimensions");
    const size_t rank = types[i].is_tensor() ? types[i].dims.size() : 0;
    NEED(order->size() == rank, what, " has ", order->size(), " dimensions for ", brief(types[i]));
    for (size_t d = 0; d < rank; ++d) {
      NEED((*order)[d] == static_cast<int64_t>(rank - 1 - d), what, " asks for another layout of ",
           brief(types[i]), " than row-major, which is not supported");
    }
  }
  return {};
}

std::vector<Type> operand_types(const Op& op) {
  std::vector<Type> types;
  types.reserve(op.operand_count());
  for (int i = 0; i < op.operand_count(); ++i) types.push_back(operand_type(op, i));
  return types;
}

Reason check_common(const Op& op, const Rule& rule) {
  NEED(rule.operands == kAny || op.operand_count() == rule.operands, "needs ", rule.operands,
       " operands, has ", op.operand_count());
  NEED(rule.results == kAny || op.result_count() == rule.results, "needs ", rule.results,
       " results, has ", op.result_count());
  const Attr* called = op.find("called_computations");
  const size_t functions = called ? std::get<AttrList>(called->value).size() : 0;
  const size_t wanted = rule.called ? 1 : 0;
  NEED(functions == wanted, "needs ", wanted, " called computations, has ", functions);
  if (rule.config == Rule::Config::hint) return {};
  const Attr* aliases = op.find("output_operand_aliases");
  NEED(!aliases || std::get<AttrList>(aliases->value).empty(),
       "results that share memory with operands are not supported");
  NEED_OK(check_layouts("operand_layouts", op.find("operand_layouts"), operand_types(op)));
  NEED_OK(check_layouts("result_layouts", op.find("result_layouts"), rules::result_types(op)));
  return rule.config == Rule::Config::words ? check_words(op, rule) : check_dictionary(op, rule);
}

// ---- Linear algebra: batches of row-major matrices ----

bool option_is_set(const Op& op, std::string_view name, int64_t otherwise = 0) {
  return custom_call_option(op, name).value_or(otherwise) != 0;
}

struct Matrix {
  int64_t m, n, rank;
  DType dtype, real;
  explicit Matrix(const Type& a)
      : m(a.dims[a.dims.size() - 2]),
        n(a.dims.back()),
        rank(is_known(m) && is_known(n) ? std::min(m, n) : kDynamic),
        dtype(a.dtype),
        real(real_type(a.dtype)) {}
  DType complex() const { return real == DType::f64 ? DType::c128 : DType::c64; }
};

Reason is_matrix(const Op& op, int i = 0) {
  const Type& a = operand_type(op, i);
  NEED(a.is_tensor() && a.rank() >= 2 && in_class(a.dtype, kFloat | kComplex), "operand ", i,
       " must be a matrix of floats or complex numbers, is ", brief(a));
  return {};
}

Reason is_square(const Op& op, bool may_be_empty = true) {
  NEED_OK(is_matrix(op));
  const Matrix a(operand_type(op));
  NEED(rules::same_size(a.m, a.n), "operand 0 must be square, is ", brief(operand_type(op)));
  NEED(may_be_empty || (a.n != 0 && a.m != 0), "the matrix is empty");
  return {};
}

// A type of the batch of operand 0 with other last dimensions.
Type batch_of(const Op& op, DType dtype, std::initializer_list<int64_t> last) {
  const Dims& all = operand_type(op).dims;
  Dims dims(all.begin(), all.end() - 2);
  dims.insert(dims.end(), last.begin(), last.end());
  return Type(dtype, std::move(dims));
}

Reason results_are(const Op& op, const std::vector<Type>& expected) {
  NEED(op.result_count() == static_cast<int>(expected.size()), "needs ", expected.size(),
       " results, has ", op.result_count());
  for (int i = 0; i < op.result_count(); ++i) {
    NEED_OK(match(str("result ", i), expected[i], result_type(op, i)));
  }
  return {};
}

Reason qr(const Op& op) {
  NEED_OK(is_matrix(op));
  const Matrix a(operand_type(op));
  return results_are(op, {operand_type(op), batch_of(op, a.dtype, {a.rank})});
}

// Operand 1 holds the scales of at most as many reflectors as operand 0 has columns.
Reason has_taus(const Op& op) {
  NEED_OK(is_matrix(op));
  const Matrix a(operand_type(op));
  const Type& taus = operand_type(op, 1);
  const int64_t count = taus.is_tensor() && taus.rank() > 0 ? taus.dims.back() : 0;
  NEED_OK(match("operand 1", batch_of(op, a.dtype, {count}), taus));
  NEED(!is_known(count) || !is_known(a.rank) || count <= a.rank, "there are ", count,
       " reflectors for ", brief(operand_type(op)));
  return {};
}

Reason householder(const Op& op) {
  NEED_OK(has_taus(op));
  return results_are(op, {operand_type(op)});
}

Reason lu(const Op& op) {
  NEED_OK(is_matrix(op));
  const Matrix a(operand_type(op));
  return results_are(
      op, {operand_type(op), batch_of(op, DType::s32, {a.rank}), batch_of(op, DType::s32, {a.m})});
}

Reason geqp3(const Op& op) {
  NEED_OK(is_matrix(op));
  const Matrix a(operand_type(op));
  const Type pivots = batch_of(op, DType::s32, {a.n});
  NEED_OK(match("operand 1", pivots, operand_type(op, 1)));
  return results_are(op, {operand_type(op), pivots, batch_of(op, a.dtype, {a.rank})});
}

Reason ormqr(const Op& op) {
  NEED_OK(has_taus(op));
  NEED_OK(is_matrix(op, 2));
  const Matrix a(operand_type(op)), c(operand_type(op, 2));
  NEED_OK(match("operand 2", batch_of(op, a.dtype, {c.m, c.n}), operand_type(op, 2)));
  NEED(rules::same_size(a.m, option_is_set(op, "left") ? c.m : c.n), "operand 2 of ",
       brief(operand_type(op, 2)), " does not fit reflectors of length ", a.m);
  return results_are(op, {operand_type(op, 2)});
}

Reason eigh(const Op& op) {
  NEED_OK(is_square(op));
  const Matrix a(operand_type(op));
  return results_are(op, {operand_type(op), batch_of(op, a.real, {a.n})});
}

Reason svd(const Op& op) {
  NEED_OK(is_matrix(op));
  const Matrix a(operand_type(op));
  NEED(a.rank != 0, "the matrix is empty");
  std::vector<Type> results{batch_of(op, a.real, {a.rank})};
  if (option_is_set(op, "vectors")) {
    const bool full = option_is_set(op, "full");
    results.push_back(batch_of(op, a.dtype, {a.m, full ? a.m : a.rank}));
    results.push_back(batch_of(op, a.dtype, {full ? a.n : a.rank, a.n}));
  }
  return results_are(op, results);
}

Reason eig(const Op& op) {
  NEED_OK(is_square(op));
  const Matrix a(operand_type(op));
  std::vector<Type> results{batch_of(op, a.complex(), {a.n})};
  const Type vectors = operand_type(op).with(a.complex());
  if (option_is_set(op, "left")) results.push_back(vectors);
  if (option_is_set(op, "right")) results.push_back(vectors);
  return results_are(op, results);
}

Reason schur(const Op& op) {
  NEED_OK(is_square(op));
  return results_are(op, std::vector<Type>(option_is_set(op, "vectors") ? 2 : 1, operand_type(op)));
}

int64_t one_less(int64_t n) { return is_known(n) ? n - 1 : kDynamic; }

Reason hessenberg(const Op& op) {
  NEED_OK(is_square(op, false));
  const Matrix a(operand_type(op));
  return results_are(op, {operand_type(op), batch_of(op, a.dtype, {one_less(a.n)})});
}

Reason tridiagonal(const Op& op) {
  NEED_OK(is_square(op, false));
  const Matrix a(operand_type(op));
  const int64_t off = one_less(a.n);
  return results_are(op, {operand_type(op), batch_of(op, a.real, {a.n}),
                          batch_of(op, a.real, {off}), batch_of(op, a.dtype, {off})});
}

// Three diagonals and the right-hand sides of a batch of systems.
Reason tridiagonal_solve(const Op& op) {
  NEED_OK(is_matrix(op, 3));
  const Type& b = operand_type(op, 3);
  const Type diagonal(b.dtype, Dims(b.dims.begin(), b.dims.end() - 1));
  for (int i = 0; i < 3; ++i) {
    NEED_OK(match(str("operand ", i), diagonal, operand_type(op, i)));
  }
  return results_are(op, {b});
}

// ---- The others ----

Reason identity(const Op& op) { return match("the result", operand_type(op), result_type(op)); }

// A hint about values that go through it, or, without results, about its operands.
Reason placement(const Op& op) {
  NEED(op.result_count() == 0 || op.result_count() == op.operand_count(), "has ",
       op.operand_count(), " operands and ", op.result_count(), " results");
  return {};
}

Reason shape_assertion(const Op& op) {
  NEED(op.operand_count() > 0, "needs an operand");
  return match("operand 0", Type(DType::pred, {}), operand_type(op));
}

// A token goes first, if any.
Reason python_callback(const Op& op) {
  const bool takes = op.operand_count() > 0 && operand_type(op).kind == Type::Kind::token;
  const bool gives = op.result_count() > 0 && result_type(op).kind == Type::Kind::token;
  NEED(takes == gives, "a token must be both operand and result");
  for (int i = takes ? 1 : 0; i < op.operand_count(); ++i) {
    NEED(operand_type(op, i).is_tensor(), "operand ", i, " must be a tensor, is ",
         brief(operand_type(op, i)));
  }
  for (int i = gives ? 1 : 0; i < op.result_count(); ++i) {
    NEED(result_type(op, i).is_tensor(), "result ", i, " must be a tensor, is ",
         brief(result_type(op, i)));
  }
  return {};
}

int64_t integer_of(const AttrDict& options, std::string_view name) {
  return std::get<TypedInt>(find(options, name)->value).value;
}

// Values with their indices, and an initial value of each.
Reason approx_top_k(const Op& op) {
  NEED_OK(rules::all_tensors(op));
  const AttrDict& options = *custom_call_dictionary(op);
  const Type &values = operand_type(op), &indices = operand_type(op, 1);
  const int64_t dimension = integer_of(options, "reduction_dim");
  const int64_t k = integer_of(options, "top_k");
  NEED(in_class(values.dtype, kInt | kFloat), "operand 0 must hold numbers that have an order, is ",
       brief(values));
  NEED(in_class(indices.dtype, kInt), "operand 1 must hold integers, is ", brief(indices));
  NEED_OK(match_dims("operand 1", values.dims, indices.dims));
  NEED_OK(rules::check_axis("reduction_dim", dimension, values.rank()));
  NEED_OK(match("operand 2", values.with(Dims{}), operand_type(op, 2)));
  NEED_OK(match("operand 3", indices.with(Dims{}), operand_type(op, 3)));
  const int64_t size = values.dims[dimension];
  Dims dims = values.dims;
  const Type& result = result_type(op);
  NEED(result.rank() == values.rank(), "result 0 must have ", values.rank(), " dimensions, is ",
       brief(result));
  dims[dimension] = result.dims[dimension];
  const bool exact = std::get<bool>(find(options, "aggregate_to_topk")->value);
  const int64_t found = dims[dimension];
  NEED(k >= 0 && (!is_known(size) || k <= size), "top_k is ", k, "; dimension ", dimension,
       " has size ", size);
  NEED(!is_known(found) || (exact ? found == k : found >= k), "result 0 of ", brief(result),
       " cannot hold the ", k, " values");
  NEED(!is_known(found) || !is_known(size) || found <= size, "result 0 of ", brief(result),
       " holds more than there is");
  return results_are(op, {values.with(dims), indices.with(dims)});
}

std::vector<Signature> approx_top_k_called(const Op& op) {
  const Type value = operand_type(op).with(Dims{}), index = operand_type(op, 1).with(Dims{});
  return {{{value, value, index, index}, {Type(DType::pred, {})}}};
}

Reason float_function(const Op& op) { return check_float_function(op); }

Reason top_k(const Op& op) {
  const Attr* parameters = find(op.discardable, "mhlo.attributes");
  return check_top_k(op, parameters ? parameters->get_if<AttrDict>() : nullptr);
}

// ---- The table ----

const std::vector<Rule>& table() {
  using Config = Rule::Config;
  using Kind = Option::Kind;
  constexpr auto kHint = Config::hint;
  // clang-format off
  static const auto* rules = new std::vector<Rule>{
      // Linear algebra.
      {"Qr", 1, 2, Config::words, {}, qr},
      {"ProductOfElementaryHouseholderReflectors", 2, 1, Config::words, {}, householder},
      {"mps.lu", 1, 3, Config::words, {}, lu},
      {"mps.geqp3", 2, 3, Config::words, {}, geqp3},
      {"mps.ormqr", 3, 1, Config::words, {{"left"}, {"transpose"}}, ormqr},
      {"mps.eigh", 1, 2, Config::words, {{"lower"}}, eigh},
      {"mps.svd", 1, kAny, Config::words, {{"vectors"}, {"full"}}, svd},
      {"mps.eig", 1, kAny, Config::words, {{"left"}, {"right"}}, eig},
      {"mps.schur", 1, kAny, Config::words, {{"vectors"}}, schur},
      {"mps.hessenberg", 1, 2, Config::words, {}, hessenberg},
      {"mps.tridiagonal", 1, 4, Config::words, {{"lower"}}, tridiagonal},
      {"mps.tridiagonal_solve", 4, 1, Config::words, {{"perturb"}}, tridiagonal_solve},
      // Calls into Python.
      {"mps.python_callback", kAny, kAny, Config::words, {{"id", Kind::integer, true}}, python_callback},
      // Functions that composites stand for in newer versions.
      {"ApproxTopK", 4, 2, Config::dictionary,
       {{"reduction_dim", Kind::integer, true}, {"top_k", Kind::integer, true},
        {"recall_target", Kind::number}, {"aggregate_to_topk", Kind::flag, true},
        {"reduction_input_size_override", Kind::integer}, {"is_fallback", Kind::flag}},
       approx_top_k, approx_top_k_called},
      {"mhlo.topk", 1, 2, kHint, {}, top_k},
      {"mhlo.erf", 1, 1, kHint, {}, float_function},
      {"mhlo.erfc", 1, 1, kHint, {}, float_function},
      {"mhlo.erf_inv", 1, 1, kHint, {}, float_function},
      {"mhlo.acos", 1, 1, kHint, {}, float_function},
      {"mhlo.acosh", 1, 1, kHint, {}, float_function},
      {"mhlo.asin", 1, 1, kHint, {}, float_function},
      {"mhlo.asinh", 1, 1, kHint, {}, float_function},
      {"mhlo.atan", 1, 1, kHint, {}, float_function},
      {"mhlo.atanh", 1, 1, kHint, {}, float_function},
      {"mhlo.cosh", 1, 1, kHint, {}, float_function},
      {"mhlo.sinh", 1, 1, kHint, {}, float_function},
      {"mhlo.tan", 1, 1, kHint, {}, float_function},
      // Where values live and how they are laid out.
      {"annotate_device_placement", 1, 1, kHint, {}, identity},
      {"Sharding", kAny, kAny, kHint, {}, placement},
      {"SPMDFullToShardShape", 1, 1, kHint, {}, placement},
      {"SPMDShardToFullShape", 1, 1, kHint, {}, placement},
      {"LayoutConstraint", kAny, kAny, kHint, {}, placement},
      {"MoveToHost", 1, 1, kHint, {}, identity},
      {"MoveToDevice", 1, 1, kHint, {}, identity},
      {"xla.sdy.", kAny, kAny, kHint, {}, placement},
      // The rest.
      {"dce_sink", kAny, 0, kHint, {}, nullptr},
      {"shape_assertion", kAny, 0, kHint, {}, shape_assertion},
  };
  // clang-format on
  return *rules;
}

const Rule* find_rule(std::string_view target) {
  for (const Rule& rule : table()) {
    if (rule.target == target) return &rule;
    if (rule.target.back() == '.' && target.substr(0, rule.target.size()) == rule.target) {
      return &rule;
    }
  }
  return nullptr;
}

}  // namespace

bool has_custom_call_rule(std::string_view target) { return find_rule(target) != nullptr; }

std::string check_custom_call(const Op& op) {
  const Rule* rule = find_rule(op.text("call_target_name"));
  if (!rule) return {};
  NEED_OK(check_common(op, *rule));
  return rule->check ? rule->check(op) : Reason();
}

std::vector<Signature> called_signatures(const Op& op) {
  const Rule* rule = find_rule(op.text("call_target_name"));
  return rule && rule->called ? rule->called(op) : std::vector<Signature>();
}

std::optional<int64_t> custom_call_option(const Op& op, std::string_view name) {
  const Attr* config = op.find("backend_config");
  const auto* text = config ? config->get_if<std::string>() : nullptr;
  std::string_view rest = text ? std::string_view(*text) : std::string_view();
  while (!rest.empty()) {
    std::string_view word;
    int64_t value = 0;
    if (next_word(&rest, &word, &value) && word == name) return value;
  }
  return std::nullopt;
}

const AttrDict* custom_call_dictionary(const Op& op) {
  const Attr* config = op.find("backend_config");
  if (!config || !config->get_if<AttrDict>()) config = find(op.discardable, "mhlo.backend_config");
  return config ? config->get_if<AttrDict>() : nullptr;
}

std::string check_float_function(const Op& op) {
  NEED(op.operand_count() == 1 && op.result_count() == 1, "needs 1 operand and 1 result, has ",
       op.operand_count(), " and ", op.result_count());
  const Type& type = operand_type(op);
  const bool is_plain = type.is_tensor() && !type.quantization &&
                        (type.dtype == DType::f16 || type.dtype == DType::bf16 ||
                         type.dtype == DType::f32 || type.dtype == DType::f64);
  NEED(is_plain, "operand 0 must hold floats of 16 bits or more, is ", brief(type));
  return match("the result", type, result_type(op));
}

std::string check_top_k(const Op& op, const AttrDict* parameters) {
  NEED(op.operand_count() == 1 && op.result_count() == 2, "needs 1 operand and 2 results, has ",
       op.operand_count(), " and ", op.result_count());
  const Attr* k = parameters ? find(*parameters, "k") : nullptr;
  const auto* count = k ? k->get_if<TypedInt>() : nullptr;
  NEED(count, "option k must be an integer");
  const Attr* largest = find(*parameters, "largest");
  NEED(!largest || (largest->get_if<bool>() && *largest->get_if<bool>()),
       "only the largest values are supported");
  const Type& type = operand_type(op);
  NEED(type.is_tensor() && type.rank() > 0, "operand 0 must have a dimension, is ", brief(type));
  NEED(count->value >= 0 && (!is_known(type.dims.back()) || count->value <= type.dims.back()),
       "k is ", count->value, " for ", brief(type));
  Dims dims = type.dims;
  dims.back() = count->value;
  return results_are(op, {type.with(dims), Type(DType::s32, dims)});
}

}  // namespace jaxmps::ir
