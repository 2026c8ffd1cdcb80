// The verifier's rule of each op: how many operands, results and regions, and a function that
// checks types and shapes. One table per family (verify_<family>.cc). Which attributes an op has,
// and of which kind, says bytecode/vhlo.def: all of them are there when a rule is asked. A check
// returns the reason why the op is wrong, or an empty string. Sizes that are not known (kDynamic)
// agree with every size. Immutable tables: any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/lists.h"
#include "ir/module.h"

namespace jaxmps::ir::rules {

inline constexpr int kAny = -1;

using Reason = std::string;

struct Rule {
  OpId id;
  int operands, results, regions;
  Reason (*check)(const Op& op) = nullptr;
  bool any_types = false;  // takes and gives other things than tensors
};

using Rules = std::vector<Rule>;
Rules elementwise_rules();
Rules shape_rules();
Rules dynamic_rules();
Rules reduce_rules();
Rules dot_conv_rules();
Rules gather_scatter_rules();
Rules control_rules();
Rules misc_rules();
Rules collective_rules();

const Rule* find_rule(OpId id);
// The first thing that is wrong with an op by itself; empty if nothing is.
Reason check_op(const Op& op);

#define NEED(condition, ...) \
  if (!(condition)) return str(__VA_ARGS__)
#define NEED_OK(expr) \
  if (Reason reason_ = (expr); !reason_.empty()) return reason_

// Sets of element types.
enum Class : uint8_t { kPred = 1, kSigned = 2, kUnsigned = 4, kFloat = 8, kComplex = 16 };
inline constexpr int kInt = kSigned | kUnsigned, kAll = 31;
bool in_class(DType dtype, int classes);

const Type& operand_type(const Op& op, int i = 0);
const Type& result_type(const Op& op, int i = 0);

bool same_size(int64_t a, int64_t b);
bool same_dims(const Dims& a, const Dims& b);
// Equal element types and agreeing shapes.
bool compatible(const Type& a, const Type& b);
// Element types: equal, quantised ones by what they express.
bool same_element(const Type& a, const Type& b);
// The result has the first operand's element type.
Reason same_elements(const Op& op);
// compatible(), or the sentence that says it is not.
Reason match_type(std::string_view what, const Type& expected, const Type& actual);
// The same for lists: "needs 2 results, has 1"; "operand 0 of @f must be ..." with ` of @f` behind.
Reason match_all(std::string_view what, const std::vector<Type>& expected,
                 const std::vector<Type>& actual, std::string_view behind = {});
// All operands and results are what they are to each other in number and type.
Reason passes_through(const Op& op);
Reason match_dims(std::string_view what, const Dims& expected, const Dims& actual);
// `dims` are distinct positions in [0, rank), ascending if asked for.
Reason check_axes(std::string_view what, const Ints& dims, int64_t rank, bool ascending = false);
Reason check_axis(std::string_view what, int64_t dim, int64_t rank);
Reason check_length(std::string_view what, const Ints& values, int64_t length);
Reason all_at_least(std::string_view what, const Ints& values, int64_t least);
// From these operands and results on.
Reason all_tensors(const Op& op, int first_operand, int first_result);
inline Reason all_tensors(const Op& op) { return all_tensors(op, 0, 0); }
// The region takes `arguments` and returns `results`.
Reason check_region(const Op& op, int index, std::string_view what,
                    const std::vector<Type>& arguments, const std::vector<Type>& results);
// The combiner of reductions: 2n scalars to n scalars, whose types are those of the accumulators.
Reason check_combiner(const Op& op, int index, std::string_view what, int count,
                      std::vector<Type>* accumulators);
// A combiner may work in a wider type of the same kind than its inputs have.
Reason widens(std::string_view what, const Type& from, const Type& to);
std::vector<Type> operand_types(const Op& op);
std::vector<Type> result_types(const Op& op);
// Operands and results of linear algebra by custom call, as words: "Tmn -> Tmn Ik info?I". A word
// is an element type (T that of operand 0, R and C the real and the complex type of its size, I
// s32, U u32) and the dimensions behind those of the batch, which all have. A letter is one size
// throughout; k is the smaller one of m and n, j is n - 1. `name?` before a word: only if the
// option is set. `[T]` as the last operand: one number without a batch, which may be missing.
Reason check_shapes(const Op& op, std::string_view words);
// Operand 1 is solved by the triangle operand 0 from the left or the right.
Reason check_triangle(const Op& op, bool left);

// The result has as many elements as the operand.
Reason keeps_size(const Op& op);
// "broadcast_dimensions" take operand 0 to the result.
Reason broadcasts(const Op& op);

bool is_known(int64_t dim);
// The output size of a window sliding over a (dilated, padded) dimension; kDynamic if unknown.
struct Window {
  int64_t size = 1, stride = 1, low = 0, high = 0, window_dilation = 1, base_dilation = 1;
};
int64_t window_output(int64_t base, const Window& window);

}  // namespace jaxmps::ir::rules
