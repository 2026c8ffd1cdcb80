// Which steps wait so that they can overwrite a parameter.
#include "exec/reuse.h"

#include <gtest/gtest.h>

#include "ir/builder.h"

namespace jaxmps::exec {
namespace {

// A plan of steps that read slots and write the next slot, each able to overwrite its first
// operand.
class Steps {
 public:
  explicit Steps(int parameters) {
    op_ = program_.unary(ir::OpId::negate, program_.arg(testing::f32(2)))->op();
    for (int i = 0; i < parameters; ++i) plan.parameters.push_back(plan.slots++);
  }
  int add(std::vector<Ref> inputs, bool is_returned) {
    Step step;
    step.op = op_;
    step.inputs = std::move(inputs);
    step.outputs = {plan.slots++};
    step.reuse = {{0}};
    if (is_returned) plan.results.push_back(step.outputs[0]);
    plan.steps.push_back(std::move(step));
    return plan.steps.back().outputs[0];
  }
  // What the steps write, in the order in which they run.
  std::vector<int> order() {
    delay_updates(plan);
    std::vector<int> out;
    for (const Step& step : plan.steps) out.push_back(step.outputs[0]);
    return out;
  }

  Plan plan;

 private:
  testing::Program program_;
  const ir::Op* op_;
};

TEST(DelayUpdates, AnUpdateWaitsForTheOtherReaders) {
  Steps steps(2);
  const int update = steps.add({0}, true);
  const int other = steps.add({1}, true);
  const int reader = steps.add({0, 1}, true);
  const int last = steps.add({other}, true);
  EXPECT_EQ(steps.order(), (std::vector{reader, update, other, last}));
}

TEST(DelayUpdates, NotIfItsResultIsReadBefore) {
  Steps steps(1);
  const int update = steps.add({0}, true);
  const int reader = steps.add({0, update}, true);
  EXPECT_EQ(steps.order(), (std::vector{update, reader}));
}

TEST(DelayUpdates, NotIfThatKeepsSomethingElseAlive) {
  Steps steps(1);
  const int temporary = steps.add({0}, false);
  const int update = steps.add({0, temporary}, true);
  const int reader = steps.add({0}, true);
  EXPECT_EQ(steps.order(), (std::vector{temporary, update, reader}));
}

TEST(DelayUpdates, NotIfItIsNotReturned) {
  Steps steps(1);
  const int temporary = steps.add({0}, false);
  const int reader = steps.add({0}, true);
  EXPECT_EQ(steps.order(), (std::vector{temporary, reader}));
}

// Many results of one parameter: time in proportion to their number. (Moving steps one by one would
// take a minute here.)
TEST(DelayUpdates, ManyReadersOfOneParameter) {
  constexpr int kCount = 50'000;
  Steps steps(1);
  std::vector<int> added;
  for (int i = 0; i < kCount; ++i) added.push_back(steps.add({0}, true));
  std::reverse(added.begin(), added.end());
  EXPECT_EQ(steps.order(), added);
}

}  // namespace
}  // namespace jaxmps::exec
