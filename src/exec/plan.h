// Plans: a compiled region as a flat list of steps on numbered slots.
// A slot holds one array; a step names the slots it reads, writes and frees (those whose last use
// it is), so storage goes as soon as it is dead, and native steps take over operands nobody else
// holds. Control flow is a step with plans of its own. A Plan is immutable once built and may run
// on several threads at once, each with its own Frame.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "exec/device.h"
#include "ir/module.h"
#include "ops/op.h"

namespace jaxmps::exec {

// Where an operand is: a slot (>= 0) or constant number ~ref (< 0).
using Ref = int32_t;

using Frame = std::vector<std::optional<mx::array>>;

struct Plan;

// A loop. `condition` and `body` take the carried values, then the captured ones; the body returns
// the carried values.
struct WhileStep {
  std::unique_ptr<Plan> condition, body;
  int carried = 0;
  std::optional<int64_t> trip_count;  // known when compiled: the condition is never run
};

// A branch by an s32 index, the last one for indices out of range; every branch takes the captured
// values.
struct CaseStep {
  std::vector<std::unique_ptr<Plan>> branches;
};

struct Step {
  enum class Kind : uint8_t { graph, native, alias, view, loop, branch };
  Kind kind = Kind::graph;
  const ir::Op* op = nullptr;  // for messages
  ops::Graph graph;
  ops::Native native;
  std::function<int64_t(const void* const* in)> view;  // elements from the start of operand 0
  std::vector<Ref> inputs;
  std::vector<int> outputs;  // slots; -1 where the result has no use
  std::vector<int> frees;    // slots dead after this step
  // Per input: read here for the last time and nowhere else in this step.
  std::vector<bool> last_read;
  // Native: the operands whose memory result i may take, in the order in which they are tried.
  std::vector<std::vector<int>> reuse;
  std::vector<mx::Shape> shapes;  // of the results
  std::vector<mx::Dtype> dtypes;
  std::unique_ptr<WhileStep> loop;
  std::unique_ptr<CaseStep> branch;
};

struct Plan {
  int slots = 0;
  std::vector<int> parameters;  // slot of each parameter; -1: unused
  std::vector<int> dead_parameters;
  std::vector<Step> steps;
  std::vector<Ref> results;
  std::vector<bool> moved_results;  // those that no later result is too: they leave their slots
  std::vector<mx::array> constants;
  bool graph_free = true;  // no step builds an MLX graph, here or in nested plans
  double nanoseconds = 0;  // estimated time on one core
};

// Builds the plan of a region for a target. `captures` are outer values that the region uses, in
// the order in which they become parameters behind the region's own arguments. All refused ops are
// appended to `refused`; the plan is complete only if none were.
std::unique_ptr<Plan> build_plan(const ir::Region& region, const std::vector<ir::Value*>& captures,
                                 const ir::Target& target, std::vector<Error>* refused);

// One line per step: what it reads and writes (`%slot`, `#constant`), whose memory it may take over
// and which slots are free behind it; nested plans are indented.
std::string print(const Plan& plan);

// Runs a plan: parameters are taken from `arguments` (moved from). With `dense`, results are dense
// row-major and on the CPU evaluated; on a GPU they are lazy. Throws what MLX throws, and
// std::bad_alloc. Graph work must be on the device's own thread.
ops::Arrays run_plan(const Plan& plan, std::vector<mx::array> arguments, const ir::Target& target,
                     bool dense);

}  // namespace jaxmps::exec
