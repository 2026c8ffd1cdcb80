// The LAPACK kernels of JAX's CPU backend and those of CUDA's libraries of its CUDA backend, which
// programs that these exported call by name, become the calls and ops that our own rules for JAX
// emit. What a kernel leaves in places that it was given
// as workspace is not specified; here it is the operand or zero.
#include <map>

#include "ir/custom_call.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

using Values = std::vector<Value*>;

// One call that is being replaced.
class Call {
 public:
  explicit Call(Op* op) : build(op), op_(op), options_(ir::custom_call_dictionary(*op)) {}

  const Builder build;

  Values operands() const { return op_->operands(); }
  // A matrix as it is meant: the kernel takes the memory of a row-major one for columns.
  Value* in(int i) const {
    Value* value = op_->operand(i);
    if (!is_reread("operand_layouts", i, value->type)) return value;
    return swapped(build.reshape(value, swapped_dims(value->type.dims)));
  }
  // The number behind two matrices, if there is one.
  Value* scale() const { return op_->operand_count() > 2 ? op_->operand(2) : nullptr; }
  const Type& type(int i) const { return op_->result(i)->type; }
  Type info_type() const { return type(op_->result_count() - 1); }

  bool flag(std::string_view name) const {
    return std::get<bool>(ir::find(*options_, name)->value);
  }
  char letter(std::string_view name) const {
    return static_cast<char>(std::get<ir::TypedInt>(ir::find(*options_, name)->value).value);
  }
  bool is(std::string_view name, char wanted) const { return letter(name) == wanted; }
  // LAPACK has a letter for it, CUDA a flag.
  bool lower() const { return ir::find(*options_, "lower") ? flag("lower") : is("uplo", 'L'); }

  // The results of our own target, which has the effects of this one.
  Values run(std::string target, const Values& operands, const std::vector<Type>& types,
             std::string words = "") const {
    const Attr* effect = op_->find("has_side_effect");
    return build
        .op(OpId::custom_call, operands, types,
            attributes({{"call_target_name", Attr(std::move(target))},
                        {"backend_config", Attr(std::move(words))},
                        {"has_side_effect", effect ? *effect : Attr(Attr::Value(false))}}))
        ->results();
  }
  Value* zeros(int i) const { return build.splat(type(i), 0); }

  // What our own target makes of the same operands. It has no info about what cannot fail.
  void become(std::string target, std::string words = "") const {
    Values inputs;
    for (int i = 0; i < op_->operand_count(); ++i) inputs.push_back(in(i));
    std::vector<Type> types = ir::types_of(op_->results());
    const bool lacks_info = target == "mps.hessenberg" || target == "mps.tridiagonal";
    if (lacks_info) types.pop_back();
    Values results = run(std::move(target), inputs, types, std::move(words));
    if (lacks_info) results.push_back(zeros(static_cast<int>(types.size())));
    give(std::move(results));
  }

  void give(Values results) const {
    for (int i = 0; i < op_->result_count(); ++i) {
      const Type& wanted = type(i);
      if (!is_reread("result_layouts", i, wanted)) continue;
      results[i] = build.reshape(swapped(results[i]), wanted.dims);
    }
    replace(op_, results);
  }

 private:
  // Without layouts arrays are row-major; then the last two dimensions of a matrix, which has as
  // many as the largest operand, hold columns.
  bool is_reread(std::string_view layouts, int i, const Type& type) const {
    // What takes no matrices has no layouts.
    if (op_->text("call_target_name").starts_with("cu_")) return false;
    size_t rank = 2;
    for (const Value* operand : op_->operands()) rank = std::max(rank, operand->type.dims.size());
    if (type.dims.size() != rank) return false;
    const Attr* given = op_->find(layouts);
    const auto* list = given ? given->get_if<ir::AttrList>() : nullptr;
    if (!list || list->empty()) return true;
    return std::get<Ints>((*list)[i].value)[0] == static_cast<int64_t>(rank) - 1;
  }
  static ir::Dims swapped_dims(ir::Dims dims) {
    std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
    return dims;
  }
  Value* swapped(Value* value) const {
    Ints order = iota(value->type.rank());
    std::swap(order[order.size() - 1], order[order.size() - 2]);
    return build.transpose(value, order);
  }

  Op* op_;
  const ir::AttrDict* options_;
};

std::string word(std::string_view name, bool value) { return str(name, "=", value ? 1 : 0); }

void potrf(const Call& call) {
  const bool lower = call.lower();
  Value* a = call.in(0);
  const Values l =
      call.run("mps.cholesky", {a}, {a->type, call.info_type()}, word("lower", lower) + " info=1");
  // The other triangle stays.
  const Type index = a->type.with(DType::s32);
  const auto count = [&](int64_t from_end) {
    return call.build.value(OpId::iota, {}, index,
                            attributes({{"iota_dimension", Attr(a->type.rank() - from_end)}}));
  };
  Value* own = call.build.compare(lower ? ir::CompareDirection::ge : ir::CompareDirection::le,
                                  count(2), count(1));
  call.give({call.build.select(own, l[0], a), l[1]});
}

void geqrf(const Call& call) { call.become("Qr"); }
void geqp3(const Call& call) { call.become("mps.geqp3"); }
void orgqr(const Call& call) { call.become("ProductOfElementaryHouseholderReflectors"); }
void syevd(const Call& call) { call.become("mps.eigh", word("lower", call.lower()) + " info=1"); }
void gehrd(const Call& call) { call.become("mps.hessenberg"); }
void sytrd(const Call& call) { call.become("mps.tridiagonal", word("lower", call.lower())); }
void perturbed(const Call& call) { call.become("mps.tridiagonal_solve", "perturb=1"); }
void cusparse_gtsv(const Call& call) { call.become("mps.tridiagonal_solve"); }
void permutation(const Call& call) { call.become("mps.permutation"); }

void ormqr(const Call& call) {
  call.become("mps.ormqr",
              word("left", call.flag("left")) + " " + word("transpose", call.flag("transpose")));
}

void getrf(const Call& call) {
  Value* a = call.in(0);
  Type permutation = call.type(1);
  permutation.dims.back() = a->type.dims[a->type.rank() - 2];
  const Values lu =
      call.run("mps.lu", {a}, {a->type, call.type(1), permutation, call.type(2)}, "info=1");
  Value* one = call.build.splat(lu[1]->type, 1);
  call.give({lu[0], call.build.binary(OpId::add, lu[1], one), lu[3]});  // LAPACK counts from 1
}

void gesdd(const Call& call) {
  Value* a = call.in(0);
  if (call.is("mode", 'N')) {
    const Values s = call.run("mps.svd", {a}, {call.type(1), call.type(4)}, "info=1");
    return call.give({a, s[0], call.zeros(2), call.zeros(3), s[1]});
  }
  const Values s =
      call.run("mps.svd", {a}, {call.type(1), call.type(2), call.type(3), call.type(4)},
               "vectors=1 info=1 " + word("full", call.is("mode", 'A')));
  call.give({a, s[0], s[1], s[2], s[3]});
}

// Eigenvalues are two real arrays where the matrix is real.
void add_eigenvalues(const Call& call, Value* values, Values& results) {
  const Type& wanted = call.type(static_cast<int>(results.size()));
  if (wanted.dtype == values->type.dtype) return results.push_back(values);
  results.push_back(call.build.value(OpId::real, {values}, wanted));
  results.push_back(call.build.value(OpId::imag, {values}, wanted));
}

Type complex_type(const Type& type) {
  return type.with(ir::real_type(type.dtype) == DType::f64 ? DType::c128 : DType::c64);
}

void geev(const Call& call) {
  Value* a = call.in(0);
  const bool left = call.is("compute_left", 'V'), right = call.is("compute_right", 'V');
  const Type matrix = complex_type(a->type);
  std::vector<Type> types{complex_type(call.type(0))};
  if (left) types.push_back(matrix);
  if (right) types.push_back(matrix);
  types.push_back(call.info_type());
  const Values w =
      call.run("mps.eig", {a}, types, word("left", left) + " " + word("right", right) + " info=1");
  Values results;
  add_eigenvalues(call, w[0], results);
  results.push_back(left ? w[1] : call.build.splat(matrix, 0));
  results.push_back(right ? w[left ? 2 : 1] : call.build.splat(matrix, 0));
  results.push_back(w.back());
  call.give(results);
}

void gees(const Call& call) {
  Value* a = call.in(0);
  const bool vectors = call.is("mode", 'V');
  std::vector<Type> types{a->type};
  if (vectors) types.push_back(a->type);
  types.push_back(complex_type(call.type(2)));
  types.push_back(call.info_type());
  const Values t = call.run("mps.schur", {a}, types, word("vectors", vectors) + " values=1 info=1");
  Values results{t[0], vectors ? t[1] : call.build.splat(a->type, 0)};
  add_eigenvalues(call, t[t.size() - 2], results);
  results.push_back(call.build.splat(call.info_type(), 0));  // none are selected
  results.push_back(t.back());
  call.give(results);
}

void gtsv(const Call& call) {
  Value* b = call.in(3);
  const Values diagonals{call.in(0), call.in(1), call.in(2)};
  const Values x = call.run("mps.tridiagonal_solve", {diagonals[0], diagonals[1], diagonals[2], b},
                            {b->type, call.info_type()}, "info=1");
  call.give({diagonals[0], diagonals[1], diagonals[2], x[0], x[1]});
}

void trsm(const Call& call) {
  const auto transpose = call.is("trans_x", 'N')   ? ir::Transpose::no_transpose
                         : call.is("trans_x", 'T') ? ir::Transpose::transpose
                                                   : ir::Transpose::adjoint;
  const auto flag = [](bool value) { return Attr(Attr::Value(value)); };
  Value* b = call.in(1);
  // Earlier versions of JAX send what B is scaled by.
  if (Value* scale = call.scale()) {
    b = call.build.binary(OpId::multiply, call.build.broadcast(scale, b->type.dims, {}), b);
  }
  call.give({call.build.value(
      OpId::triangular_solve, {call.in(0), b}, b->type,
      attributes({{"left_side", flag(call.is("side", 'L'))},
                  {"lower", flag(call.is("uplo", 'L'))},
                  {"unit_diagonal", flag(call.is("diag", 'U'))},
                  {"transpose_a",
                   Attr(ir::Enum{ir::Enum::Kind::transpose, static_cast<uint8_t>(transpose)})}}))});
}

void threefry(const Call& call) {
  call.give(
      call.build.op(OpId::threefry2x32, call.operands(), {call.type(0), call.type(1)})->results());
}

// Singular values, U and V^T if they are wanted, and info.
Values cuda_svd(const Call& call, const Type& u, const Type& vt) {
  Value* a = call.in(0);
  if (call.flag("compute_uv")) {
    return call.run("mps.svd", {a}, {call.type(1), u, vt, call.info_type()},
                    "vectors=1 info=1 " + word("full", call.flag("full_matrices")));
  }
  const Values s = call.run("mps.svd", {a}, {call.type(1), call.info_type()}, "info=1");
  return {s[0], call.build.splat(u, 0), call.build.splat(vt, 0), s[1]};
}

void cusolver_gesvd(const Call& call) {
  const int u = call.flag("transposed") ? 3 : 2;
  const Values s = cuda_svd(call, call.type(u), call.type(5 - u));
  call.give({call.in(0), s[0], s[u - 1], s[4 - u], s[3]});
}

// Gives V instead of its adjoint.
void cusolver_gesvdj(const Call& call) {
  Type adjoint = call.type(3);
  std::swap(adjoint.dims[adjoint.dims.size() - 2], adjoint.dims.back());
  const Values s = cuda_svd(call, call.type(2), adjoint);
  Ints order = iota(adjoint.rank());
  std::swap(order[order.size() - 2], order.back());
  Value* v = call.build.transpose(s[2], order);
  if (ir::is_complex(adjoint.dtype)) {
    const Type part = v->type.with(ir::real_type(adjoint.dtype));
    Value* imaginary = call.build.value(OpId::imag, {v}, part);
    v = call.build.value(
        OpId::complex,
        {call.build.value(OpId::real, {v}, part), call.build.unary(OpId::negate, imaginary)},
        v->type);
  }
  call.give({call.in(0), s[0], s[1], v, s[3]});
}

using Rewrite = void (*)(const Call& call);

// By the whole name, or that of LAPACK without the letter of the type. What a function takes and
// gives, and which types and options it has, is the verifier's (ir/verify_custom_call.cc).
Rewrite find_rewrite(std::string_view target) {
  static const auto* table = new std::map<std::string_view, Rewrite>{
      {"potrf", potrf}, {"geqrf", geqrf}, {"geqp3", geqp3}, {"orgqr", orgqr}, {"ungqr", orgqr},
      {"ormqr", ormqr}, {"unmqr", ormqr}, {"getrf", getrf}, {"syevd", syevd}, {"heevd", syevd},
      {"gesdd", gesdd}, {"gesvd", gesdd}, {"geev", geev},   {"gees", gees},   {"gehrd", gehrd},
      {"sytrd", sytrd}, {"hetrd", sytrd}, {"gtsv", gtsv},   {"trsm", trsm},
  };
  static const auto* whole = new std::map<std::string_view, Rewrite>{
      {"tridiagonal_solve_perturbed_ffi", perturbed},
      {"cusolver_potrf_ffi", potrf},
      {"cusolver_geqrf_ffi", geqrf},
      {"cublas_geqrf_batched_ffi", geqrf},
      {"cusolver_orgqr_ffi", orgqr},
      {"cusolver_ormqr_ffi", ormqr},
      {"cusolver_getrf_ffi", getrf},
      {"cublas_getrf_batched_ffi", getrf},
      {"cusolver_syevd_ffi", syevd},
      {"cusolver_sytrd_ffi", sytrd},
      {"cusolver_gesvd_ffi", cusolver_gesvd},
      {"cusolver_gesvdj_ffi", cusolver_gesvdj},
      {"cusparse_gtsv2_ffi", cusparse_gtsv},
      {"cu_lu_pivots_to_permutation", permutation},
      {"cu_threefry2x32_ffi", threefry},
  };
  if (!ir::has_custom_call_rule(target)) return nullptr;
  if (const auto found = whole->find(target); found != whole->end()) return found->second;
  constexpr std::string_view kPrefix = "lapack_", kEnd = "_ffi";
  if (target.substr(0, kPrefix.size()) != kPrefix) return nullptr;
  target.remove_prefix(kPrefix.size() + 1);
  target.remove_suffix(kEnd.size());
  const auto found = table->find(target);
  return found == table->end() ? nullptr : found->second;
}

}  // namespace

Status recognize_lapack(ir::Module& module) {
  walk(module, [](Op* op) {
    const auto has_known_sizes = [](const Type& type) { return type.is_static(); };
    if (op->id != OpId::custom_call || !ir::all_types(*op, has_known_sizes)) return;
    if (const Rewrite rewrite = find_rewrite(op->text("call_target_name"))) rewrite(Call(op));
  });
  return {};
}

}  // namespace jaxmps::passes
