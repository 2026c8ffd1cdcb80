// Rules of custom calls, one for each target.
#include <algorithm>

#include "base/parse.h"
#include "ir/custom_call.h"
#include "ir/verify_rules.h"

namespace jaxmps::ir {
namespace {

using rules::all_tensors;
using rules::in_class;
using rules::is_known;
using rules::kAny;
using rules::kFloat;
using rules::kInt;
using rules::match_dims;
using rules::match_type;
using rules::operand_type;
using rules::Reason;
using rules::result_type;

struct Option {
  enum class Kind : uint8_t { flag, integer, number, letter };
  std::string_view name;
  Kind kind = Kind::flag;
  bool required = false;
  std::string_view letters = {};  // those that are allowed
};

struct Rule {
  enum class Config : uint8_t {
    words,       // `name=integer` in the backend_config, or none
    dictionary,  // one dictionary, see custom_call_dictionary()
    unread,      // whatever it is, nothing here reads it, nor the layouts
    placement    // the same; see is_placement()
  };
  std::string_view target;  // a prefix if it ends with a dot
  int operands, results;
  Config config = Config::words;
  std::vector<Option> options;
  Reason (*check)(const Op& op) = nullptr;
  std::vector<Signature> (*called)(const Op& op) = nullptr;
  std::string_view shapes = {};  // see rules::check_shapes(); it counts operands and results too
};

// ---- Options ----

// The next word of `rest` as name and integer; false if it is no such word.
bool next_word(std::string_view* rest, std::string_view* name, int64_t* value) {
  const std::string_view word = rest->substr(0, rest->find(' '));
  rest->remove_prefix(std::min(rest->size(), word.size() + 1));
  const size_t equals = word.find('=');
  if (equals == 0 || equals == std::string_view::npos) return false;
  *name = word.substr(0, equals);
  return parse_number(word.substr(equals + 1), value);
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

bool option_fits(const Option& option, const Attr& value) {
  const auto* integer = value.get_if<TypedInt>();
  switch (option.kind) {
    case Option::Kind::flag:
      return value.get_if<bool>() != nullptr;
    case Option::Kind::integer:
      return integer != nullptr;
    case Option::Kind::number:
      return value.get_if<TypedFloat>() != nullptr;
    case Option::Kind::letter:
      return integer && integer->value > 0 && integer->value < 128 &&
             option.letters.find(static_cast<char>(integer->value)) != std::string_view::npos;
  }
  return false;
}

Reason check_dictionary(const Op& op, const Rule& rule) {
  static const AttrDict none;
  const AttrDict* given = custom_call_dictionary(op);
  if (!given && rule.options.empty()) given = &none;
  NEED(given, "its options must be a dictionary");
  for (const NamedAttr& attr : *given) {
    const Option* option = find_option(rule, attr.name);
    NEED(option, "there is no option ", attr.name);
    NEED(option_fits(*option, attr.value), "option ", attr.name, " is ", print(attr.value));
  }
  for (const Option& option : rule.options) {
    NEED(!option.required || find(*given, option.name), "option ", option.name, " is missing");
  }
  return {};
}

// ---- Layouts and what else every target has ----

// Matrices that lie column after column, in a batch.
bool is_column_major(const Ints& order) {
  const int64_t rank = static_cast<int64_t>(order.size());
  if (rank < 2 || order[0] != rank - 2 || order[1] != rank - 1) return false;
  for (int64_t d = 2; d < rank; ++d) {
    if (order[d] != rank - 1 - d) return false;
  }
  return true;
}

// Arrays are row-major: the only layout that a call may ask for, but for the column-major matrices
// of LAPACK.
Reason check_layouts(std::string_view what, const Attr* layouts, const std::vector<Type>& types,
                     bool may_be_columns) {
  if (!layouts) return {};
  const auto& list = std::get<AttrList>(layouts->value);
  NEED(list.empty() || list.size() == types.size(), what, " has ", list.size(), " entries for ",
       types.size(), " values");
  for (size_t i = 0; i < list.size(); ++i) {
    const auto* order = list[i].get_if<Ints>();
    const size_t rank = types[i].is_tensor() ? types[i].dims.size() : 0;
    NEED(order->size() == rank, what, " has ", order->size(), " dimensions for ", brief(types[i]));
    if (may_be_columns && is_column_major(*order)) continue;
    for (size_t d = 0; d < rank; ++d) {
      NEED((*order)[d] == static_cast<int64_t>(rank - 1 - d), what, " asks for another layout of ",
           brief(types[i]), " than row-major, which is not supported");
    }
  }
  return {};
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
  if (rule.config >= Rule::Config::unread) return {};
  // Where operands may be overwritten, results of their own are as good.
  const bool is_lapack = rule.config == Rule::Config::dictionary && !rule.shapes.empty();
  const Attr* aliases = op.find("output_operand_aliases");
  NEED(is_lapack || !aliases || std::get<AttrList>(aliases->value).empty(),
       "results that share memory with operands are not supported");
  NEED_OK(check_layouts("operand_layouts", op.find("operand_layouts"), rules::operand_types(op),
                        is_lapack));
  NEED_OK(check_layouts("result_layouts", op.find("result_layouts"), rules::result_types(op),
                        is_lapack));
  NEED_OK(rule.config == Rule::Config::words ? check_words(op, rule) : check_dictionary(op, rule));
  return rule.shapes.empty() ? Reason() : rules::check_shapes(op, rule.shapes);
}

// ---- Linear algebra: what the shapes alone do not say ----

// The last dimensions of an operand or result.
struct Matrix {
  int64_t m, n;
  explicit Matrix(const Type& a) : m(a.dims[a.dims.size() - 2]), n(a.dims.back()) {}
};

Reason reflectors(const Op& op) {
  const Matrix a(operand_type(op));
  const int64_t count = operand_type(op, 1).dims.back();
  const bool fits =
      !is_known(count) || ((!is_known(a.m) || count <= a.m) && (!is_known(a.n) || count <= a.n));
  NEED(fits, "there are ", count, " reflectors for ", brief(operand_type(op)));
  return {};
}

// mps.ormqr and LAPACK's.
Reason ormqr(const Op& op) {
  NEED_OK(reflectors(op));
  const Matrix a(operand_type(op)), c(operand_type(op, 2));
  const AttrDict* options = custom_call_dictionary(op);
  const bool left = options ? std::get<bool>(find(*options, "left")->value)
                            : custom_call_option(op, "left").value_or(0) != 0;
  NEED(rules::same_size(a.m, left ? c.m : c.n), "operand 2 of ", brief(operand_type(op, 2)),
       " does not fit reflectors of length ", a.m);
  return {};
}

// The vectors of a full or reduced decomposition: U, and V or its transpose.
Reason svd_vectors(const Op& op, int u, int v, bool full, bool transposed = true) {
  const Matrix a(operand_type(op));
  const int64_t rank = is_known(a.m) && is_known(a.n) ? std::min(a.m, a.n) : kDynamic;
  NEED(rank != 0, "the matrix is empty");
  const auto check = [&](int i, int64_t rows, int64_t columns) {
    Type expected = result_type(op, i);
    expected.dims[expected.dims.size() - 2] = rows;
    expected.dims.back() = columns;
    return match_type(str("result ", i), expected, result_type(op, i));
  };
  NEED_OK(check(u, a.m, full ? a.m : rank));
  const int64_t count = full ? a.n : rank;
  return transposed ? check(v, count, a.n) : check(v, a.n, count);
}

Reason svd(const Op& op) {
  NEED(Matrix(operand_type(op)).m != 0 && Matrix(operand_type(op)).n != 0, "the matrix is empty");
  if (custom_call_option(op, "vectors").value_or(0) == 0) return {};
  return svd_vectors(op, 1, 2, custom_call_option(op, "full").value_or(0) != 0);
}

int64_t integer_of(const AttrDict& options, std::string_view name) {
  return std::get<TypedInt>(find(options, name)->value).value;
}

Reason lapack_svd(const Op& op) {
  const auto mode = static_cast<char>(integer_of(*custom_call_dictionary(op), "mode"));
  // Without vectors their places are there all the same, of either size.
  const bool full = mode == 'A' || (mode == 'N' && !svd_vectors(op, 2, 3, false).empty());
  return svd_vectors(op, 2, 3, full);
}

// `transposed` exchanges U and V^T; what has no such option gives V.
Reason cuda_svd(const Op& op) {
  const AttrDict& options = *custom_call_dictionary(op);
  const Attr* exchange = find(options, "transposed");
  const int u = exchange && std::get<bool>(exchange->value) ? 3 : 2;
  const bool full = std::get<bool>(find(options, "full_matrices")->value);
  return svd_vectors(op, u, 5 - u, full, exchange != nullptr);
}

Reason lapack_hessenberg(const Op& op) {
  const AttrDict& options = *custom_call_dictionary(op);
  const int64_t low = integer_of(options, "low"), high = integer_of(options, "high"),
                n = operand_type(op).dims.back();
  NEED(low == 1 && rules::same_size(high, n), "only the whole matrix can be reduced, not ", low,
       " to ", high, " of ", n);
  return {};
}

Reason lapack_triangular_solve(const Op& op) {
  return rules::check_triangle(op, integer_of(*custom_call_dictionary(op), "side") == 'L');
}

// ---- The others ----

Reason results_are(const Op& op, const std::vector<Type>& expected) {
  return rules::match_all("result", expected, rules::result_types(op));
}

Reason tensors(const Op& op) { return all_tensors(op); }
Reason identity(const Op& op) {
  return match_type("the result", operand_type(op), result_type(op));
}

// On one device a collective gives back what it takes; its combiner is not run.
std::vector<Signature> reducer_called(const Op& op) {
  const Type element = operand_type(op).with(Dims{});
  return {{{element, element}, {element}}};
}

// A hint about values that go through it, or, without results, about its operands.
Reason placement(const Op& op) {
  NEED(op.result_count() == 0 || op.result_count() == op.operand_count(), "has ",
       op.operand_count(), " operands and ", op.result_count(), " results");
  return {};
}

Reason shape_assertion(const Op& op) {
  NEED(op.operand_count() > 0, "needs an operand");
  return match_type("operand 0", Type(DType::pred, {}), operand_type(op));
}

// A token goes first, if any.
Reason python_callback(const Op& op) {
  const bool takes = op.operand_count() > 0 && operand_type(op).kind == Type::Kind::token;
  const bool gives = op.result_count() > 0 && result_type(op).kind == Type::Kind::token;
  NEED(takes == gives, "a token must be both operand and result");
  return all_tensors(op, takes, gives);
}

// Values with their indices, and an initial value of each.
Reason approx_top_k(const Op& op) {
  NEED_OK(rules::all_tensors(op));
  const AttrDict& options = *custom_call_dictionary(op);
  const Type &values = operand_type(op), &indices = operand_type(op, 1);
  const int64_t dimension = integer_of(options, "reduction_dim"), k = integer_of(options, "top_k");
  NEED(in_class(values.dtype, kInt | kFloat), "operand 0 must hold numbers that have an order, is ",
       brief(values));
  NEED(in_class(indices.dtype, kInt), "operand 1 must hold integers, is ", brief(indices));
  NEED_OK(match_dims("operand 1", values.dims, indices.dims));
  NEED_OK(rules::check_axis("reduction_dim", dimension, values.rank()));
  NEED_OK(match_type("operand 2", values.with(Dims{}), operand_type(op, 2)));
  NEED_OK(match_type("operand 3", indices.with(Dims{}), operand_type(op, 3)));
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

Reason top_k(const Op& op) {
  const Attr* parameters = find(op.discardable, "mhlo.attributes");
  return check_top_k(op, parameters ? parameters->get_if<AttrDict>() : nullptr);
}

struct FloatFunction {
  std::string_view target;
  OpId id;
};
constexpr FloatFunction kFloatFunctions[] = {
    {"mhlo.erf", OpId::erf},     {"mhlo.erfc", OpId::erfc},   {"mhlo.erf_inv", OpId::erf_inv},
    {"mhlo.acos", OpId::acos},   {"mhlo.acosh", OpId::acosh}, {"mhlo.asin", OpId::asin},
    {"mhlo.asinh", OpId::asinh}, {"mhlo.atan", OpId::atan},   {"mhlo.atanh", OpId::atanh},
    {"mhlo.cosh", OpId::cosh},   {"mhlo.sinh", OpId::sinh},   {"mhlo.tan", OpId::tan},
};

// ---- The table ----

Rule linalg(std::string_view target, std::string_view shapes, std::vector<Option> options = {},
            Reason (*check)(const Op& op) = nullptr) {
  return {target, kAny, kAny, Rule::Config::words, std::move(options), check, nullptr, shapes};
}

Rule lapack(std::string_view target, std::string_view shapes, std::vector<Option> options = {},
            Reason (*check)(const Op& op) = nullptr) {
  return {target, kAny, kAny, Rule::Config::dictionary, std::move(options), check, nullptr, shapes};
}

Option letter(std::string_view name, std::string_view letters) {
  return {name, Option::Kind::letter, true, letters};
}

// clang-format off
std::vector<Rule> linear_algebra() {
  return {
    linalg("Qr", "Tmn -> Tmn Tk"),
    linalg("ProductOfElementaryHouseholderReflectors", "Tmn Tp -> Tmn", {}, reflectors),
    linalg("mps.cholesky", "Tnn -> Tnn info?I", {{"lower"}, {"info"}}),
    linalg("mps.lu", "Tmn -> Tmn Ik Im info?I", {{"info"}}),
    linalg("mps.permutation", "Ip -> Im"),
    linalg("mps.geqp3", "Tmn In -> Tmn In Tk"),
    linalg("mps.ormqr", "Tmn Tp Tcd -> Tcd", {{"left"}, {"transpose"}}, ormqr),
    linalg("mps.eigh", "Tnn -> Tnn Rn info?I", {{"lower"}, {"info"}}),
    linalg("mps.svd", "Tmn -> Rk vectors?Tmu vectors?Tvn info?I",
           {{"vectors"}, {"full"}, {"info"}}, svd),
    linalg("mps.eig", "Tnn -> Cn left?Cnn right?Cnn info?I", {{"left"}, {"right"}, {"info"}}),
    linalg("mps.schur", "Tnn -> Tnn vectors?Tnn values?Cn info?I",
           {{"vectors"}, {"values"}, {"info"}}),
    linalg("mps.hessenberg", "Tnn -> Tnn Tj"),
    linalg("mps.tridiagonal", "Tnn -> Tnn Rn Rj Tj", {{"lower"}}),
    linalg("mps.tridiagonal_solve", "Tn Tn Tn Tnr -> Tnr info?I", {{"perturb"}, {"info"}}),
  };
}

// Kernels of JAX's CUDA backend, as programs that it exported call them.
std::vector<Rule> cuda_kernels() {
  using Kind = Option::Kind;
  const auto flag = [](std::string_view name) { return Option{name, Kind::flag, true}; };
  const Option lower = flag("lower"), full = flag("full_matrices"), vectors = flag("compute_uv");
  return {
    lapack("cusolver_potrf_ffi", "Tnn -> Tnn I", {lower}),
    lapack("cusolver_geqrf_ffi", "Tmn -> Tmn Tk"),
    lapack("cublas_geqrf_batched_ffi", "Tmn -> Tmn Tk"),
    lapack("cusolver_orgqr_ffi", "Tmn Tp -> Tmn", {}, reflectors),
    lapack("cusolver_ormqr_ffi", "Tmn Tp Tcd -> Tcd", {flag("left"), flag("transpose")}, ormqr),
    lapack("cusolver_getrf_ffi", "Tmn -> Tmn Ik I"),
    lapack("cublas_getrf_batched_ffi", "Tmn -> Tmn Ik I"),
    lapack("cu_lu_pivots_to_permutation", "Ip -> Im"),
    lapack("cu_threefry2x32_ffi", "U U U U -> U U"),
    lapack("cusolver_syevd_ffi", "Tnn -> Tnn Rn I", {{"algorithm", Kind::integer}, lower}),
    lapack("cusolver_sytrd_ffi", "Tnn -> Tnn Rn Rj Tj I", {lower}),
    lapack("cusolver_gesvd_ffi", "Tmn -> Tmn Rk Tab Tcd I", {full, vectors, flag("transposed")}, cuda_svd),
    lapack("cusolver_gesvdj_ffi", "Tmn -> Tmn Rk Tmu Tnv I", {full, vectors}, cuda_svd),
    lapack("cusparse_gtsv2_ffi", "Tn Tn Tn Tnr -> Tnr"),
  };
}

// The LAPACK kernels of JAX's CPU backend, as programs that it exported call them. `*` is the
// letter of the type, `R` and `C` that of a real and of a complex one.
std::vector<Rule> lapack_kernels() {
  using Kind = Option::Kind;
  const Option uplo = letter("uplo", "LU"), vectors = letter("mode", "NV"),
               left_vectors = letter("compute_left", "NV"),
               right_vectors = letter("compute_right", "NV"), left{"left", Kind::flag, true},
               transpose{"transpose", Kind::flag, true};
  return {
    lapack("lapack_*potrf_ffi", "Tnn -> Tnn I", {uplo}),
    lapack("lapack_*geqrf_ffi", "Tmn -> Tmn Tk"),
    lapack("lapack_*geqp3_ffi", "Tmn In -> Tmn In Tk"),
    lapack("lapack_Rorgqr_ffi", "Tmn Tp -> Tmn", {}, reflectors),
    lapack("lapack_Cungqr_ffi", "Tmn Tp -> Tmn", {}, reflectors),
    lapack("lapack_Rormqr_ffi", "Tmn Tp Tcd -> Tcd", {left, transpose}, ormqr),
    lapack("lapack_Cunmqr_ffi", "Tmn Tp Tcd -> Tcd", {left, transpose}, ormqr),
    lapack("lapack_*getrf_ffi", "Tmn -> Tmn Ik I"),
    lapack("lapack_Rsyevd_ffi", "Tnn -> Tnn Rn I", {vectors, uplo}),
    lapack("lapack_Cheevd_ffi", "Tnn -> Tnn Rn I", {vectors, uplo}),
    lapack("lapack_*gesdd_ffi", "Tmn -> Tmn Rk Tmu Tvn I", {letter("mode", "ASN")}, lapack_svd),
    lapack("lapack_*gesvd_ffi", "Tmn -> Tmn Rk Tmu Tvn I", {letter("mode", "ASN")}, lapack_svd),
    lapack("lapack_Rgeev_ffi", "Tnn -> Rn Rn Cnn Cnn I", {left_vectors, right_vectors}),
    lapack("lapack_Cgeev_ffi", "Tnn -> Tn Tnn Tnn I", {left_vectors, right_vectors}),
    lapack("lapack_Rgees_ffi", "Tnn -> Tnn Tnn Rn Rn I I", {vectors, letter("sort", "N")}),
    lapack("lapack_Cgees_ffi", "Tnn -> Tnn Tnn Tn I I", {vectors, letter("sort", "N")}),
    lapack("lapack_*gehrd_ffi", "Tnn -> Tnn Tj I",
           {{"low", Kind::integer, true}, {"high", Kind::integer, true}}, lapack_hessenberg),
    lapack("lapack_Rsytrd_ffi", "Tnn -> Tnn Rn Rj Tj I", {uplo}),
    lapack("lapack_Chetrd_ffi", "Tnn -> Tnn Rn Rj Tj I", {uplo}),
    lapack("lapack_*gtsv_ffi", "Tn Tn Tn Tnr -> Tn Tn Tn Tnr I"),
    lapack("lapack_*trsm_ffi", "Tss Tmn [T] -> Tmn",
           {letter("side", "LR"), uplo, letter("trans_x", "NTC"), letter("diag", "NU")},
           lapack_triangular_solve),
    lapack("tridiagonal_solve_perturbed_ffi", "Tn Tn Tn Tnr -> Tnr"),
  };
}

const std::vector<Rule>& table() {
  using Config = Rule::Config;
  using Kind = Option::Kind;
  constexpr auto kUnread = Config::unread, kPlaced = Config::placement;
  static const auto* rules = [] {
    auto* all = new std::vector<Rule>{
      // Calls into Python.
      {"mps.python_callback", kAny, kAny, Config::words, {{"id", Kind::integer, true}}, python_callback},
      {"ApproxTopK", 4, 2, Config::dictionary,
       {{"reduction_dim", Kind::integer, true}, {"top_k", Kind::integer, true},
        {"recall_target", Kind::number}, {"aggregate_to_topk", Kind::flag, true},
        {"reduction_input_size_override", Kind::integer}, {"is_fallback", Kind::flag}},
       approx_top_k, approx_top_k_called},
      {"mhlo.topk", 1, 2, kUnread, {}, top_k},
      // Where values live and how they are laid out.
      {"annotate_device_placement", 1, 1, kPlaced, {}, identity},
      {"Sharding", kAny, kAny, kPlaced, {}, placement},
      {"SPMDFullToShardShape", 1, 1, kPlaced, {}, placement},
      {"SPMDShardToFullShape", 1, 1, kPlaced, {}, placement},
      {"LayoutConstraint", kAny, kAny, kPlaced, {}, placement},
      {"MoveToHost", 1, 1, kPlaced, {}, identity},
      {"MoveToDevice", 1, 1, kPlaced, {}, identity},
      {"xla.sdy.", kAny, kAny, kPlaced, {}, placement},
      {"all-reduce-start", 1, 1, kPlaced, {}, tensors, reducer_called},
      {"reduce-scatter-start", 1, 1, kPlaced, {}, tensors, reducer_called},
      {"control_dep", 2, 0, kPlaced, {}, nullptr},
      {"dce_sink", kAny, 0, kUnread, {}, nullptr},
      {"shape_assertion", kAny, 0, kUnread, {}, shape_assertion},
    };
    for (const FloatFunction& function : kFloatFunctions) {
      all->push_back({function.target, 1, 1, kUnread, {}, check_float_function});
    }
    for (const std::string_view half : {
         "all-gather-start", "all-gather-done", "all-reduce-done", "all-to-all-start",
         "all-to-all-done", "reduce-scatter-done", "collective-permute-start", "collective-permute-done"}) {
      all->push_back({half, 1, 1, kPlaced, {}, tensors});
    }
    for (const auto& more : {linear_algebra(), cuda_kernels(), lapack_kernels()}) {
      all->insert(all->end(), more.begin(), more.end());
    }
    return all;
  }();
  return *rules;
}
// clang-format on

// Whether `target` is the name, in which `*` stands for a LAPACK letter of a type, R for that of a
// real one, C for that of a complex one.
bool has_name(std::string_view target, std::string_view name) {
  constexpr size_t kLetter = 7;  // behind "lapack_"
  if (target == name) return true;
  if (target.size() != name.size() || name.substr(0, kLetter) != "lapack_") return false;
  const std::string_view letters = name[kLetter] == '*'   ? "sdcz"
                                   : name[kLetter] == 'R' ? "sd"
                                                          : "cz";
  return letters.find(target[kLetter]) != std::string_view::npos &&
         target.substr(0, kLetter) == name.substr(0, kLetter) &&
         target.substr(kLetter + 1) == name.substr(kLetter + 1);
}

const Rule* find_rule(std::string_view target) {
  for (const Rule& rule : table()) {
    if (has_name(target, rule.target)) return &rule;
    if (rule.target.back() == '.' && target.substr(0, rule.target.size()) == rule.target) {
      return &rule;
    }
  }
  return nullptr;
}

}  // namespace

bool is_placement(std::string_view target) {
  const Rule* rule = find_rule(target);
  return rule && rule->config == Rule::Config::placement;
}

std::optional<OpId> float_function(std::string_view name) {
  for (const FloatFunction& function : kFloatFunctions) {
    if (function.target.substr(5) == name) return function.id;
  }
  return std::nullopt;
}

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
  const Type& type = operand_type(op);
  const bool is_plain = type.is_tensor() && !type.quantization &&
                        (type.dtype == DType::f16 || type.dtype == DType::bf16 ||
                         type.dtype == DType::f32 || type.dtype == DType::f64);
  NEED(is_plain, "operand 0 must hold floats of 16 bits or more, is ", brief(type));
  return match_type("the result", type, result_type(op));
}

std::string check_top_k(const Op& op, const AttrDict* parameters) {
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
