// Patterns of values: what a value is made of, from the value towards its operands.
//
//   const Value* x;
//   int64_t step;
//   if (matches(value, op(OpId::add, any(&x), integer(&step)))) ...
//
// A pattern is a function from a value to whether it matches. Operands of ops that commute match in
// either order, comparisons both ways around, the order as written being tried first. Bindings are
// written as far as the match went; `same` of an address refers to what was bound before. No state.
#pragma once

#include <cstdint>
#include <optional>

#include "ir/module.h"

namespace jaxmps::ir {

// Whether the value is the result of such an op.
bool is_op(const Value* value, OpId id);
// The constant behind a value; null if it is none.
const Dense* constant_of(const Value* value);
// True for a constant whose every element equals `value` (looked up through broadcasts).
bool is_splat_of(const Value* value, double number);
// A scalar constant's integer; nothing if it is no such constant. As for an index at run time, what
// of u64 is beyond int64 reads as the largest int64.
std::optional<int64_t> constant_integer(const Value* value);
// A constant's elements as such integers; nothing if it is no constant of integers.
std::optional<Ints> constant_ints(const Value* value);

// Whether `holds(type)` for all operands and results.
template <typename F>
bool all_types(const Op& op, const F& holds) {
  for (int i = 0; i < op.operand_count(); ++i) {
    if (!holds(op.operand(i)->type)) return false;
  }
  for (int i = 0; i < op.result_count(); ++i) {
    if (!holds(op.result(i)->type)) return false;
  }
  return true;
}

namespace match {

// What the direction is with the operands exchanged.
inline CompareDirection mirrored(CompareDirection direction) {
  using enum CompareDirection;
  switch (direction) {
    case lt:
      return gt;
    case gt:
      return lt;
    case le:
      return ge;
    case ge:
      return le;
    default:
      return direction;
  }
}

template <typename Pattern>
bool matches(const Value* value, const Pattern& pattern) {
  return pattern(value);
}

inline auto any(const Value** bound) {
  return [=](const Value* value) {
    *bound = value;
    return true;
  };
}
inline auto same(const Value* expected) {
  return [=](const Value* value) { return value == expected; };
}
inline auto same(const Value* const* bound) {
  return [=](const Value* value) { return value == *bound; };
}
// A constant whose elements are all this number.
inline auto number(double expected) {
  return [=](const Value* value) { return is_splat_of(value, expected); };
}
// A scalar constant of integers.
inline auto integer(int64_t* bound) {
  return [=](const Value* value) {
    const auto found = constant_integer(value);
    if (found) *bound = *found;
    return found.has_value();
  };
}
template <typename P>
auto op(OpId id, P operand) {
  return [=](const Value* value) {
    const Op* made = value->op();
    return made && made->id == id && made->operand_count() == 1 && operand(made->operand(0));
  };
}
template <typename P, typename Q>
auto op(OpId id, P first, Q second) {
  return [=](const Value* value) {
    const Op* made = value->op();
    if (!made || made->id != id || made->operand_count() != 2) return false;
    const Value *a = made->operand(0), *b = made->operand(1);
    return (first(a) && second(b)) || (made->is(traits::commutative) && first(b) && second(a));
  };
}
template <typename P, typename Q, typename R>
auto op(OpId id, P first, Q second, R third) {
  return [=](const Value* value) {
    const Op* made = value->op();
    return made && made->id == id && made->operand_count() == 3 && first(made->operand(0)) &&
           second(made->operand(1)) && third(made->operand(2));
  };
}

// A comparison of values (not of the bits that order all floats): `first direction second`.
template <typename P, typename Q>
auto compare(CompareDirection direction, P first, Q second) {
  return [=](const Value* value) {
    const Op* made = value->op();
    if (!made || made->id != OpId::compare ||
        made->enum_attr<CompareType>("compare_type") == CompareType::total_order) {
      return false;
    }
    const auto found = made->enum_attr<CompareDirection>("comparison_direction");
    const Value *a = made->operand(0), *b = made->operand(1);
    return (found == direction && first(a) && second(b)) ||
           (mirrored(found) == direction && first(b) && second(a));
  };
}
// In whatever direction.
template <typename P, typename Q>
auto compare(CompareDirection* bound, P first, Q second) {
  return [=](const Value* value) {
    using enum CompareDirection;
    for (const auto direction : {eq, ne, lt, gt, le, ge}) {
      *bound = direction;
      if (compare(direction, first, second)(value)) return true;
    }
    return false;
  };
}

}  // namespace match
}  // namespace jaxmps::ir
