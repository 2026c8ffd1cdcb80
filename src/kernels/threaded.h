// Threaded code: scalar programs in the form in which loops run them, a flat list of decoded ops on
// a file of 64-bit registers. Each op calls the next one itself; jumps return to run_threaded, so
// that the stack stays flat however the file was compiled.
//
// A register always holds values of one width, in its low bytes; those above are undefined.
// Addresses are 64-bit values. Stateless functions on the caller's memory; any thread.
#pragma once

#include "base/stop.h"
#include "scalar/scalar.h"

namespace jaxmps::kernels {

struct ThreadedOp;
// Runs `op` and those behind it up to the next jump; returns where to go on, or null at the end.
using ThreadedFn = const ThreadedOp* (*)(const ThreadedOp* op, uint64_t* r);

struct ThreadedOp {
  ThreadedFn fn = nullptr;
  int32_t d = -1, a = -1, b = -1, c = -1;  // registers
  uint64_t imm = 0;
};

// May be stopped at a jump (base/stop.h).
inline void run_threaded(const ThreadedOp* op, uint64_t* r) {
  while (op) {
    const uint32_t epoch = stop_epoch.load(std::memory_order_relaxed);
    check_stopped();
    while (op && stop_epoch.load(std::memory_order_relaxed) == epoch) op = op->fn(op, r);
  }
}

// The op for an instruction on registers a, b, c into d, with the instruction's imm. `from` is the
// type of a. A function that is called has its address in `called_function` instead, which takes the
// place of imm. threefry takes its fourth word from register imm & 0xffffffff and leaves its second
// result in register imm >> 32. Null for input, load, constant, threefry_second and reductions.
ThreadedFn find_threaded(const ScalarInstr& instr, DType from);
// The vector loops' own function of single elements, for what other flags or another instruction set
// would compute with other last bits; null for what is exact.
const void* called_function(const ScalarInstr& instr, DType from);
// d = a * b + c, both rounded; null where there is none.
ThreadedFn find_multiply_add(DType type);
// Jumps by imm ops if the comparison of a and b comes out as `when`; null where there is none.
ThreadedFn find_compare_jump(Opcode compare, DType from, bool when);

enum class Control : uint8_t {
  move,         // d = a
  load,         // d = the value at address a + imm
  store,        // the value at address a + imm = b
  copy,         // imm bytes from address a to address d
  offset,       // d = address b + min(max(a, 0), c) * imm, with signed a and c
  swap,         // exchanges d and a
  jump,         // by imm ops
  jump_if,      // if the pred a holds
  jump_unless,  // if it does not
  count_down,   // jumps if --d is not 0
  pick,         // goes to the op a + 1 further on, or to the imm-th if a is not in [0, imm)
  stop,
};
// `size`: bytes of what move, load and store move.
ThreadedFn find_control(Control control, int size = 8);

}  // namespace jaxmps::kernels
