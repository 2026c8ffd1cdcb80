// Threefry-2x32 blocks written out in ops, as JAX lowers them.
#include "passes/support.h"

namespace jaxmps::testing {
namespace {

struct Block {
  int last_rotation = 24;
  bool fold_injections = false;  // key and round number added to each other first
};

// Twenty rounds on counts of type `type`; the keys are scalars.
Values threefry(Program& p, Value* k0, Value* k1, Value* c0, Value* c1, const Block& block) {
  const Type type = c0->type;
  auto wide = [&](Value* v) { return p.broadcast(v, type.dims, {}); };
  auto add = [&](Value* a, Value* b) { return p.binary(OpId::add, a, b); };
  Value* parity = p.splat(u32(), 0x1BD11BDA);
  Value* k2 = p.binary(OpId::xor_, p.binary(OpId::xor_, k0, k1), parity);
  Value* keys[3] = {k0, k1, k2};
  const int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  Value *x0 = add(c0, wide(k0)), *x1 = add(c1, wide(k1));
  for (int group = 0; group < 5; ++group) {
    for (int i = 0; i < 4; ++i) {
      int distance = rotations[group % 2][i];
      if (group == 3 && i == 3) distance = block.last_rotation;
      x0 = add(x0, x1);
      Value* rotated = p.binary(
          OpId::or_, p.binary(OpId::shift_left, x1, wide(p.splat(u32(), distance))),
          p.binary(OpId::shift_right_logical, x1, wide(p.splat(u32(), 32 - distance))));
      x1 = p.binary(OpId::xor_, x0, rotated);
    }
    x0 = add(x0, wide(keys[(group + 1) % 3]));
    Value* number = p.splat(u32(), group + 1);
    Value* key = keys[(group + 2) % 3];
    x1 = block.fold_injections ? add(x1, wide(add(key, number)))
                               : add(add(x1, wide(key)), wide(number));
  }
  return {x0, x1};
}

int blocks_found(const Block& block, bool constant_counts = false) {
  Program p;
  Value *k0 = p.arg(u32()), *k1 = p.arg(u32());
  Value* c0 = constant_counts ? p.splat(u32(5), 0) : p.arg(u32(5));
  p.ret(threefry(p, k0, k1, c0, p.arg(u32(5)), block));
  run(p, run_all);
  const int found = p.count(OpId::threefry2x32);
  if (found) {
    EXPECT_EQ(p.count(OpId::xor_), 0);
    EXPECT_EQ(p.returned(0)->op(), p.returned(1)->op());
    const Op* op = p.returned_op();
    EXPECT_EQ(op->operand(0)->op()->operand(0), k0);
    EXPECT_EQ(op->operand(1)->op()->operand(0), k1);
  }
  return found;
}

TEST(Threefry, IsRecognized) {
  EXPECT_EQ(blocks_found({}), 1);
  EXPECT_EQ(blocks_found({24, true}), 1);
  EXPECT_EQ(blocks_found({}, true), 1);
}

TEST(Threefry, AnythingElseIsLeft) { EXPECT_EQ(blocks_found({23, false}), 0); }

TEST(Threefry, SeveralBlocksWithOneKey) {
  Program p;
  Value *k0 = p.arg(u32()), *k1 = p.arg(u32());
  Values results;
  for (int i = 0; i < 3; ++i) {
    for (Value* v : threefry(p, k0, k1, p.arg(u32(4)), p.arg(u32(4)), {})) results.push_back(v);
  }
  p.ret(results);
  run(p, run_all);
  EXPECT_EQ(p.count(OpId::threefry2x32), 3);
}

}  // namespace
}  // namespace jaxmps::testing
