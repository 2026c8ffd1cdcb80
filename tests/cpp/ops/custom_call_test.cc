// Every custom-call target that is run has a rule in the verifier.
#include "ops/custom_call.h"

#include <gtest/gtest.h>

namespace jaxmps::ops {
namespace {

TEST(CustomCallTargets, HaveRules) {
  const std::vector<std::string> targets = custom_call_targets();
  EXPECT_GE(targets.size(), 13u);
  for (const std::string& target : targets) EXPECT_TRUE(ir::has_custom_call_rule(target)) << target;
}

}  // namespace
}  // namespace jaxmps::ops
