// Plans: a compiled region as a flat list of steps on numbered slots.
// A step is a call of MLX, a kernel of ours that a GPU launches, a native kernel of the CPU, or an
// array given another shape; control flow is a step with plans of its own. A slot holds one
// array; a step names the slots it reads, writes and frees (those whose last use it is), so storage
// goes as soon as it is dead, and native steps take over operands nobody else holds. All steps are
// data that passes and tools can look into. A Plan is immutable once built and may run
// on several threads at once.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "exec/call.h"
#include "exec/run_context.h"
#include "ir/module.h"
#include "ops/op.h"

namespace jaxmps::exec {

// Where an operand is: a slot (>= 0) or constant number ~ref (< 0).
using Ref = int32_t;

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
  enum class Kind : uint8_t { call, launch, native, alias, view, loop, branch };
  Kind kind = Kind::native;
  const ir::Op* op = nullptr;  // for messages
  Call call;
  ops::Launch launch;
  ops::Native native;
  std::function<int64_t(const void* const* in)> view;  // elements from the start of operand 0
  std::vector<Ref> inputs;
  std::vector<int> outputs;  // slots
  std::vector<int> frees;    // slots dead after this step
  // Per input: read here for the last time and nowhere else in this step, so that its memory is
  // free.
  std::vector<bool> last_read;
  // Per input: an update that comes later may overwrite its memory in place.
  std::vector<bool> overwritten;
  // Native: the operands whose memory result i may take, in the order in which they are tried.
  std::vector<std::vector<int>> reuse;
  std::vector<mx::Shape> shapes;  // of the results
  std::vector<mx::Dtype> dtypes;
  std::unique_ptr<WhileStep> loop;
  std::unique_ptr<CaseStep> branch;
};

struct Plan {
  int slots = 0;
  std::vector<int> parameters;  // slot of each parameter
  std::vector<int64_t> parameter_bytes;
  std::vector<int> dead_parameters;
  std::vector<Step> steps;
  std::vector<Ref> results;
  std::vector<bool> moved_results;  // those that no later result is too: they leave their slots
  std::vector<bool> passed_on;      // results that no step makes, or that a later one is too
  // Results that see a small part of a large array, which they would keep.
  std::vector<bool> small_parts;
  std::vector<mx::array> constants;
  bool is_native = true;   // nothing needs the encoder, here or in nested plans: never on a GPU
  double nanoseconds = 0;  // estimated time on one core
};

// The outer values that the regions of the op use, each once, in order of first use.
std::vector<ir::Value*> captured_values(const ir::Op& op);

// Builds the plan of a region for a target and MLX's default stream of the calling thread.
// `captures` are outer values that the region uses, in the order in which they become parameters
// behind the region's own arguments. All refused ops are appended to `refused`; the plan is
// complete only if none were.
std::unique_ptr<Plan> build_plan(const ir::Region& region, const std::vector<ir::Value*>& captures,
                                 const ir::Target& target, std::vector<Error>* refused);

// What a step does, of which op, and where the user asked for it: for profilers.
std::string describe(const Step& step);

// One line per step: what it reads and writes (`%slot`, `#constant`), whose memory it may take over
// and which slots are free behind it; nested plans are indented.
std::string print(const Plan& plan);

// Whether the step only lets an array see the memory of another, as a rule.
bool is_view(const Step& step);
// The operand of which result `i` is an update, -1 where it is none; and whether that is in place,
// as nobody reads the operand any more.
int updated_operand(const Step& step, size_t i);
bool updates_in_place(const Step& step, size_t i);
// Whether the step waits for what was sent to a GPU, or takes the CPU's time.
bool may_wait(const Step& step);
// Of result `i` of a step.
int64_t result_bytes(const Step& step, size_t i);

// What one execution asks of the device. Trips of loops count as often as is known, else once, and
// of a branch the one that asks most.
struct Count {
  int64_t launches = 0;  // of kernels of ours
  int64_t calls = 0;     // of MLX that compute or copy; others only see memory another way
  int64_t natives = 0;
  // That all of them read and write, each operand once; of slices and updates their elements alone.
  int64_t bytes = 0;
  // That it must: what is read of the parameters and written of the results, once.
  int64_t least_bytes = 0;
};
Count count(const Plan& plan);

// Runs a plan: parameters are taken from `arguments` (moved from). With `dense`, results are dense
// row-major; on the CPU they are computed, and no two of them, nor one and an argument that others
// hold, are one array; on a GPU their computation has been sent. Throws what MLX throws, Failure
// and std::bad_alloc; `run` then tells at which op. A plan that is not native runs on the encoder's
// thread, and was built for its stream.
ops::Arrays run_plan(const Plan& plan, std::vector<mx::array> arguments, RunContext& run,
                     bool dense);

}  // namespace jaxmps::exec
