// The shapes of linear algebra by custom call, written in words.
#include <array>

#include "ir/custom_call.h"
#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

// The type letter of a LAPACK function, if it is one, fixes the element type.
bool is_for(std::string_view target, DType dtype) {
  constexpr std::string_view kPrefix = "lapack_";
  if (target.substr(0, kPrefix.size()) != kPrefix) return true;
  switch (target[kPrefix.size()]) {
    case 's':
      return dtype == DType::f32;
    case 'd':
      return dtype == DType::f64;
    case 'c':
      return dtype == DType::c64;
    default:
      return dtype == DType::c128;
  }
}

class Shapes {
 public:
  explicit Shapes(const Op& op) : op_(op) { sizes_.fill(kUnbound); }

  Reason check(std::string_view words) {
    int operands = 0, results = 0;
    bool behind_arrow = false;
    while (!words.empty()) {
      std::string_view word = words.substr(0, words.find(' '));
      words.remove_prefix(std::min(words.size(), word.size() + 1));
      if (word == "->") {
        behind_arrow = true;
        continue;
      }
      if (const size_t mark = word.find('?'); mark != std::string_view::npos) {
        if (custom_call_option(op_, word.substr(0, mark)).value_or(0) == 0) continue;
        word.remove_prefix(mark + 1);
      }
      if (word == "[T]" && op_.operand_count() == operands) continue;
      (behind_arrow ? results_ : operands_).push_back(word);
      ++(behind_arrow ? results : operands);
    }
    NEED(op_.operand_count() == operands, "needs ", operands, " operands, has ",
         op_.operand_count());
    NEED(op_.result_count() == results, "needs ", results, " results, has ", op_.result_count());
    NEED_OK(begin());
    for (int i = 0; i < operands; ++i) {
      NEED_OK(one(str("operand ", i), operands_[i], operand_type(op_, i)));
    }
    for (int i = 0; i < results; ++i) {
      NEED_OK(one(str("result ", i), results_[i], result_type(op_, i)));
    }
    return {};
  }

 private:
  static constexpr int64_t kUnbound = -2;

  // The batch and the element type are those of operand 0.
  Reason begin() {
    const Type& first = operand_type(op_);
    const int64_t own = static_cast<int64_t>(operands_[0].size()) - 1;
    const bool integers = operands_[0][0] != 'T';
    NEED(first.is_tensor() && first.rank() >= own &&
             (integers || in_class(first.dtype, kFloat | kComplex)),
         "operand 0 must be a ", own == 2 ? "matrix" : "vector", " of ",
         integers ? "integers" : "floats or complex numbers", ", is ", brief(first));
    NEED(op_.id != OpId::custom_call || is_for(op_.text("call_target_name"), first.dtype),
         "the function is not one for ", name(first.dtype));
    batch_.assign(first.dims.begin(), first.dims.end() - own);
    return {};
  }

  Reason one(std::string_view what, std::string_view word, const Type& actual) {
    const DType own = operand_type(op_).dtype, real = real_type(own);
    if (word == "[T]") return match_type(what, Type(own, Dims()), actual);
    const DType dtype = word[0] == 'T'       ? own
                        : word[0] == 'R'     ? real
                        : word[0] == 'I'     ? DType::s32
                        : word[0] == 'U'     ? DType::u32
                        : real == DType::f64 ? DType::c128
                                             : DType::c64;
    word.remove_prefix(1);
    Type expected(dtype, batch_);
    const size_t rank = batch_.size() + word.size();
    const bool has_rank = actual.is_tensor() && actual.dims.size() == rank;
    for (size_t i = 0; i < word.size(); ++i) {
      const int64_t there = has_rank ? actual.dims[batch_.size() + i] : kDynamic;
      int64_t& size = sizes_[word[i] - 'a'];
      if (size == kUnbound) size = derived(word[i]);
      if (size == kUnbound || (size == kDynamic && is_known(there))) size = there;
      NEED(size != -1, "the matrix is empty");
      expected.dims.push_back(size);
    }
    if (has_rank && word == "nn" && dtype == actual.dtype) {
      NEED(same_size(actual.dims[rank - 2], actual.dims[rank - 1]), what, " must be square, is ",
           brief(actual));
    }
    return match_type(what, expected, actual);
  }

  // The sizes that follow from others.
  int64_t derived(char letter) const {
    const int64_t m = sizes_['m' - 'a'], n = sizes_['n' - 'a'];
    if (letter == 'k') return is_known(m) && is_known(n) ? std::min(m, n) : kDynamic;
    if (letter == 'j') return is_known(n) ? n - 1 : kDynamic;
    return kUnbound;
  }

  const Op& op_;
  std::vector<std::string_view> operands_, results_;
  Dims batch_;
  std::array<int64_t, 26> sizes_;
};

}  // namespace

Reason check_shapes(const Op& op, std::string_view words) { return Shapes(op).check(words); }

Reason check_triangle(const Op& op, bool left) {
  const Type &a = operand_type(op), &b = operand_type(op, 1);
  NEED(same_size(a.dims.back(), b.dims[b.dims.size() - (left ? 2 : 1)]), "operand 1 of ", brief(b),
       " does not fit a triangle of ", brief(a));
  return {};
}

}  // namespace jaxmps::ir::rules
