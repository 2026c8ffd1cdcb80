// Runs a pass over a test program and checks that the module verifies before and after.
#pragma once

#include <gtest/gtest.h>

#include "ir/builder.h"
#include "passes/pass.h"

namespace jaxmps::testing {

inline void expect_valid(const Program& program) {
  const Status status = ir::verify(program.module);
  EXPECT_TRUE(status.ok()) << status.error().text << "\n" << ir::print(program.module);
}

inline void run(Program& program, Status (*pass)(ir::Module&)) {
  expect_valid(program);
  const Status status = pass(program.module);
  EXPECT_TRUE(status.ok()) << status.error().text;
  expect_valid(program);
}

inline Status run_all(ir::Module& module) {
  return passes::run_passes(module, [](std::string_view pass, const ir::Module& after) {
    const Status status = ir::verify(after);
    EXPECT_TRUE(status.ok()) << "after " << pass << ": " << status.error().text << "\n"
                             << ir::print(after);
  });
}

inline std::vector<double> numbers(const Value* value) {
  std::vector<double> out;
  const ir::Dense* dense = ir::constant_of(value);
  if (!dense) return out;
  for (int64_t i = 0; i < dense->type.size(); ++i) out.push_back(dense->float_at(i));
  return out;
}

}  // namespace jaxmps::testing
