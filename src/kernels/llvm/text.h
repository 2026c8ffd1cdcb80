// LLVM text: the instructions of scalar programs, and the functions that a text calls. What the
// printers of fusions and of loops write with; optimised and translated by LLVM, which a client of
// the plugin may bring (kernels/llvm/compiler.h).
//
// Arithmetic is strict: no flag allows LLVM to regroup or contract. What is more than a few
// instructions is a call of the function that the vector loops are made of, so that bits are equal.
// One text, one thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "scalar/scalar.h"

namespace jaxmps::kernels {

// The type of a machine value; pred is a byte that is 0 or 1.
const char* llvm_type(DType machine);
std::string llvm_constant(DType machine, uint64_t bits);

// A function or variable of ours that a text names, and where it is.
struct LlvmSymbol {
  std::string name;
  const void* address;
};

// What every function of a text carries.
const char* llvm_attributes();

// A text with one function for its caller, `name`.
struct LlvmModule {
  std::string text;
  const char* name;
  std::vector<LlvmSymbol> symbols;
};

class LlvmText {
 public:
  // Appends `name = right` to a block; returns the name.
  std::string emit(std::string* to, const std::string& right);
  std::string fresh(const char* prefix = "v");
  // The instruction's value, given its operands' values; `from` is the type of operand a.
  std::string instruction(std::string* to, const ScalarInstr& instr, DType from,
                          const std::string (&operands)[4]);
  // The largest or smallest of float values, at least one: `instruction`'s, of one after the other.
  std::string extremum(std::string* to, bool is_max, DType type, std::vector<std::string> values);
  // Whether `instruction` knows it.
  static bool knows(const ScalarInstr& instr, DType from);

  // A loop that runs for index begin, begin + 1, … end - 1, at least once: `head` goes before its
  // body, `tail` behind. `ends` is attached to the last branch.
  struct Loop {
    std::string index, head, tail;
  };
  Loop loop(int64_t begin, int64_t end, const std::string& ends = {});
  // The part of such a loop that lies in [%begin, %end): perhaps nothing.
  Loop part(int64_t begin, int64_t end, const std::string& ends = {});
  // Of a loop whose trips are independent: what its loads and stores carry, and its last branch.
  struct Independent {
    std::string access, branch;
  };
  Independent independent();
  // From now on: nothing that the function writes is in this memory.
  void keep(const std::string& address) { kept_.insert(address); }
  // What loads from there carry.
  std::string kept(const std::string& address);

  // The address of memory of the function, number `number`, of at least so many bytes. Whoever asks
  // for the same number takes the same memory.
  std::string scratch(size_t number, int64_t bytes);
  // What makes that memory, for the function's first block.
  std::string scratch_memory() const;
  // The sizes of that memory; none, or what another function has asked for, from now on.
  std::vector<int64_t> exchange_scratch(std::vector<int64_t> sizes = {}) {
    return std::exchange(scratch_, std::move(sizes));
  }

  // Makes `declaration` part of the module, once; with an address, of a symbol of ours.
  void declare(const std::string& name, const std::string& declaration,
               const void* address = nullptr);
  // The name of a new metadata node; of one that a loop's last branch names, holding `property`.
  std::string metadata(const std::string& node);
  std::string loop_metadata(const std::string& property);
  // Everything that was declared, after which `functions` may follow.
  std::string declarations() const;
  const std::vector<LlvmSymbol>& symbols() const { return symbols_; }

 private:
  Loop loop_between(const std::string& begin, const std::string& end, const std::string& ends);
  std::string binary(std::string* to, const ScalarInstr& instr, DType from, const std::string& a,
                     const std::string& b);
  std::string unary(std::string* to, const ScalarInstr& instr, DType from, const std::string& a);
  std::string divide(std::string* to, Opcode op, DType type, const std::string& a,
                     const std::string& b);
  std::string shift(std::string* to, Opcode op, DType type, const std::string& a,
                    const std::string& b);
  std::string extremum(std::string* to, bool is_max, DType type, const std::string& a,
                       const std::string& b);
  std::string compare(std::string* to, Opcode op, DType from, const std::string& a,
                      const std::string& b);
  std::string convert(std::string* to, DType type, DType from, const std::string& a);
  std::string saturate(std::string* to, DType type, DType from, const std::string& a);
  std::string narrow(std::string* to, const ScalarInstr& instr, const std::string& a);
  std::string threefry(std::string* to, const std::string (&words)[4]);
  std::string intrinsic(std::string* to, const char* name, DType type, const std::string& arguments,
                        const std::string& parameters);
  std::string function(std::string* to, Opcode op, DType type, const std::string& a,
                       const std::string& b);

  int names_ = 0;
  std::vector<int64_t> scratch_;
  std::vector<std::string> metadata_;
  std::string nothing_;  // an empty node
  std::map<std::string, std::string> declared_;
  std::vector<LlvmSymbol> symbols_;
  std::vector<std::string> variants_;  // vector forms that only LLVM's vectoriser calls
  std::map<std::string, std::string> second_words_;
  std::set<std::string> extrema_, kept_;
};

}  // namespace jaxmps::kernels
