// Which operand's memory a result takes, where it has a choice: of several results of a step each
// shall find one, and donated arguments come first, so that state which is passed from call to call
// stays where it is.
#pragma once

#include <functional>
#include <vector>

#include "exec/plan.h"

namespace jaxmps::exec {

// JAX_MPS_REUSE. Without it no result takes the memory of an operand, and nothing is a view.
bool reuses_memory();

// For each result its choices in the order in which they are to be tried. `choices[i]` are the
// operands whose memory result i may take, `preferred` says which are likely to be free.
std::vector<std::vector<int>> order_choices(const std::vector<std::vector<int>>& choices,
                                            const std::function<bool(int)>& preferred);

// Moves steps whose result is returned and could overwrite a parameter behind the last step that
// reads it, where that keeps nothing else alive for longer. Before slots are freed.
void delay_updates(Plan& plan);

// Notes on the steps which inputs a later step may overwrite (Step::overwritten): those that see
// the memory of an operand that an update of MLX's reads last. Once last uses are known.
void find_overwritten(Plan& plan);

}  // namespace jaxmps::exec
