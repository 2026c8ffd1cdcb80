// What every custom-call target that runs here takes and gives: the verifier's rules, one table
// (verify_custom_call.cc), and the options of a call. A target without a rule is not run.
// Immutable; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/module.h"

namespace jaxmps::ir {

// Whether the target has a rule.
bool has_custom_call_rule(std::string_view target);
// Whether the target only says where values live, how they are laid out and when they are computed.
// On one device collectives are among them.
bool is_placement(std::string_view target);
// The op that "mhlo.<name>" and "chlo.<name>" are for operands that check_float_function() takes.
std::optional<OpId> float_function(std::string_view name);
// What is wrong with the call by its target's rule; empty if nothing is, or if there is no rule.
// The verifier asks before the passes, whoever runs a call asks again: by then all sizes are known.
std::string check_custom_call(const Op& op);

// What the functions in called_computations must take and return, by the target's rule.
struct Signature {
  std::vector<Type> arguments, results;
};
std::vector<Signature> called_signatures(const Op& op);

// The option of this name among the `name=integer` words of the backend_config.
std::optional<int64_t> custom_call_option(const Op& op, std::string_view name);
// The options that come as a dictionary, under either of the names that clients use; null if none.
const AttrDict* custom_call_dictionary(const Op& op);

// What is wrong with an op (custom call or composite) of one operand that stands for an elementwise
// function of floats, or, with two results, for top_k; empty if nothing is.
std::string check_float_function(const Op& op);
std::string check_top_k(const Op& op, const AttrDict* parameters);

}  // namespace jaxmps::ir
