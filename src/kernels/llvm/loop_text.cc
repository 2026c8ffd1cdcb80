#include "kernels/llvm/loop_text.h"

#include "kernels/llvm/fusion_text.h"
#include "kernels/llvm/nest_text.h"

namespace jaxmps::kernels {
namespace {

// Constants up to this size are part of the text, so that LLVM sees them.
constexpr int64_t kPrintedConstant = 1024;  // bytes
// Loops of fewer trips do not ask whether to stop; those around them do.
constexpr int64_t kFewTrips = 256;
// LLVM takes more than in proportion to a function's length: in a longer one fusions of more than a
// few points are functions of their own, those that do the same being one.
constexpr size_t kLongText = 64 << 10;

class LoopPrinter {
 public:
  LoopPrinter(const ScalarProgram& values, const LlvmLoop& loop, bool has_functions)
      : p_(values), loop_(loop), has_functions_(has_functions), names_(values.instrs.size()) {}

  LlvmModule print(const CodeBlock& code) {
    text_.declare("jaxmps_call", "declare i32 @jaxmps_call(ptr, i64, ptr, ptr, ptr)",
                  reinterpret_cast<const void*>(loop_.call));
    text_.declare("jaxmps_stop", "declare i32 @jaxmps_stop(ptr)",
                  reinterpret_cast<const void*>(loop_.stop));
    text_.declare("jaxmps_stop_epoch", "@jaxmps_stop_epoch = external global i32", &stop_epoch);
    place();
    std::string body;
    block(&body, code);
    std::string text = text_.declarations() + functions_;
    text += str("define i32 @", LlvmLoop::kName,
                "(ptr %context, ptr noalias %in, ptr noalias %out, ptr noalias %arena, ptr noalias "
                "%constants) ",
                llvm_attributes(), " {\n");
    text += text_.scratch_memory() + entry_;
    text += "  %epoch = load i32, ptr %context, align 4\n";
    text += "  store i32 %epoch, ptr %seen, align 4\n";
    text += body;
    text += "  ret i32 0\nstopped:\n  ret i32 1\n}\n";
    return {std::move(text), LlvmLoop::kName, text_.symbols()};
  }

 private:
  static size_t at(int64_t i) { return static_cast<size_t>(i); }
  const ScalarInstr& instr(int32_t v) const { return p_.instrs[at(v)]; }
  std::string type(int32_t v) const {
    return loop_.is_address[at(v)] ? "ptr" : llvm_type(instr(v).type);
  }
  std::string& name(int32_t v) { return names_[at(v)]; }
  std::string read(int32_t v) {
    if (instr(v).op == Opcode::constant) return llvm_constant(instr(v).type, instr(v).imm);
    return name(v);
  }
  // A label without its sign.
  std::string label(const char* prefix) { return text_.fresh(prefix).substr(1); }

  void place();
  std::string local(int64_t bytes);
  std::string at_index(const char* table, int64_t index);
  void copy(std::string* to, const std::string& target, const std::string& source, int64_t bytes);
  std::string moved(std::string* to, const std::string& address, int64_t bytes);

  void block(std::string* to, const CodeBlock& code);
  void scalar(std::string* to, int32_t v);
  void control(std::string* to, const CodeItem& item);
  void offset(std::string* to, const CodeItem& item);
  void call(std::string* to, const CodeItem& item);
  std::string pointers(std::string* to, const std::vector<int32_t>& addresses, size_t begin,
                       size_t end);
  void fusion(std::string* to, const CodeItem& item);
  void call_fusion(std::string* to, const Fusion& fusion, std::vector<std::string> inputs,
                   std::vector<std::string> outputs);
  void loop(std::string* to, const CodeLoop& loop);
  std::string condition(std::string* to, const CodeLoop& loop, const std::string& counter);
  void poll(std::string* to);
  void branch(std::string* to, const CodeBranch& branch);

  const ScalarProgram& p_;
  const LlvmLoop& loop_;
  const bool has_functions_;
  std::vector<std::string> names_;
  std::map<std::string, std::string> function_of_;  // by what it does
  std::string functions_;
  LlvmText text_;
  std::string entry_ = "  %seen = alloca i32, align 4\n";
};

// --- memory -------------------------------------------------------------------------------------

std::string LoopPrinter::local(int64_t bytes) {
  return text_.emit(&entry_, str("alloca [", std::max<int64_t>(bytes, 1), " x i8], align 64"));
}

std::string LoopPrinter::at_index(const char* table, int64_t index) {
  const std::string place =
      text_.emit(&entry_, str("getelementptr ptr, ptr %", table, ", i64 ", index));
  return text_.emit(&entry_, str("load ptr, ptr ", place, ", align 8"));
}

void LoopPrinter::place() {
  for (const auto& slot : loop_.slots) {
    name(slot.value) =
        slot.is_local ? local(slot.bytes)
                      : text_.emit(&entry_, str("getelementptr i8, ptr %arena, i64 ", slot.at));
  }
  for (const auto& output : loop_.outputs) name(output.value) = at_index("out", output.at);
  for (const auto& input : loop_.inputs) {
    const std::string address = name(input.value) = at_index("in", input.at);
    if (input.bytes > kLocalArray) continue;
    name(input.value) = local(input.bytes);
    copy(&entry_, name(input.value), address, input.bytes);
  }
  for (const auto& [constant, words] : loop_.constants) {
    if (constant.bytes > kPrintedConstant) {
      name(constant.value) = at_index("constants", constant.at);
      continue;
    }
    static constexpr char kDigits[] = "0123456789ABCDEF";
    const std::string own = str("jaxmps_constant_", constant.at);
    std::string text =
        str('@', own, " = private unnamed_addr constant [", constant.bytes, " x i8] c\"");
    for (int64_t k = 0; k < constant.bytes; ++k) {
      const uint8_t byte = static_cast<const uint8_t*>(words)[k];
      text += {'\\', kDigits[byte >> 4], kDigits[byte & 15]};
    }
    text_.declare(own, text + "\", align 64");
    name(constant.value) = "@" + own;
  }
}

void LoopPrinter::copy(std::string* to, const std::string& target, const std::string& source,
                       int64_t bytes) {
  if (bytes == 0 || target == source) return;
  text_.declare("llvm.memcpy", "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)");
  *to += str("  call void @llvm.memcpy.p0.p0.i64(ptr ", target, ", ptr ", source, ", i64 ", bytes,
             ", i1 false)\n");
}

std::string LoopPrinter::moved(std::string* to, const std::string& address, int64_t bytes) {
  if (bytes == 0) return address;
  return text_.emit(to, str("getelementptr i8, ptr ", address, ", i64 ", bytes));
}

// --- straight code ------------------------------------------------------------------------------

void LoopPrinter::block(std::string* to, const CodeBlock& code) {
  for (const CodeItem& item : code) {
    switch (item.kind) {
      case CodeItem::Kind::scalar:
        scalar(to, item.value);
        break;
      case CodeItem::Kind::control:
        control(to, item);
        break;
      case CodeItem::Kind::call:
        call(to, item);
        break;
      case CodeItem::Kind::fusion:
        fusion(to, item);
        break;
      case CodeItem::Kind::loop:
        loop(to, *item.loop);
        break;
      case CodeItem::Kind::branch:
        branch(to, *item.branch);
        break;
    }
  }
}

void LoopPrinter::scalar(std::string* to, int32_t v) {
  const ScalarInstr& i = instr(v);
  std::string operands[4];
  const int32_t sources[4] = {i.a, i.b, i.c, i.d};
  for (int k = 0; k < 4; ++k) {
    if (sources[k] >= 0) operands[k] = read(sources[k]);
  }
  name(v) = text_.instruction(to, i, i.a < 0 ? i.type : instr(i.a).type, operands);
}

void LoopPrinter::control(std::string* to, const CodeItem& item) {
  const auto imm = static_cast<int64_t>(item.imm);
  switch (item.control) {
    case Control::load:
      name(item.value) =
          text_.emit(to, str("load ", type(item.value), ", ptr ", moved(to, read(item.a), imm),
                             ", align ", ir::byte_size(instr(item.value).type)));
      break;
    case Control::store:
      *to += str("  store ", type(item.b), ' ', read(item.b), ", ptr ",
                 moved(to, read(item.a), imm), ", align ", ir::byte_size(instr(item.b).type), '\n');
      break;
    case Control::copy:
      copy(to, read(item.value), read(item.a), imm);
      break;
    case Control::offset:
      offset(to, item);
      break;
    default:  // emit_code's own
      break;
  }
}

void LoopPrinter::offset(std::string* to, const CodeItem& item) {
  text_.declare("llvm.smax.i64", "declare i64 @llvm.smax.i64(i64, i64)");
  text_.declare("llvm.smin.i64", "declare i64 @llvm.smin.i64(i64, i64)");
  const std::string low =
      text_.emit(to, str("call i64 @llvm.smax.i64(i64 ", read(item.a), ", i64 0)"));
  const std::string inside =
      text_.emit(to, str("call i64 @llvm.smin.i64(i64 ", low, ", i64 ", read(item.c), ')'));
  const std::string bytes = text_.emit(to, str("mul nsw i64 ", inside, ", ", item.imm));
  name(item.value) = text_.emit(to, str("getelementptr i8, ptr ", read(item.b), ", i64 ", bytes));
}

// A table of addresses for a call.
std::string LoopPrinter::pointers(std::string* to, const std::vector<int32_t>& addresses,
                                  size_t begin, size_t end) {
  std::string table = local(static_cast<int64_t>((end - begin) * sizeof(void*)));
  for (size_t k = begin; k < end; ++k) {
    *to += str("  store ptr ", read(addresses[k]), ", ptr ",
               moved(to, table, static_cast<int64_t>((k - begin) * sizeof(void*))), ", align 8\n");
  }
  return table;
}

void LoopPrinter::call(std::string* to, const CodeItem& item) {
  const std::string in = pointers(to, item.reads, 0, item.read_count);
  const std::string out = pointers(to, item.reads, item.read_count, item.reads.size());
  const std::string session = item.a < 0 ? "null" : read(item.a);
  const std::string failed =
      text_.emit(to, str("call i32 @jaxmps_call(ptr %context, i64 ", item.number, ", ptr ", in,
                         ", ptr ", out, ", ptr ", session, ')'));
  const std::string test = text_.emit(to, str("icmp ne i32 ", failed, ", 0"));
  const std::string next = label("c");
  *to += str("  br i1 ", test, ", label %stopped, label %", next, '\n', next, ":\n");
}

void LoopPrinter::fusion(std::string* to, const CodeItem& item) {
  std::vector<std::string> inputs, outputs;
  for (size_t k = 0; k < item.reads.size(); ++k) {
    (k < item.read_count ? inputs : outputs).push_back(read(item.reads[k]));
  }
  if (has_functions_ && item.fusion->size() > kFewPoints) {
    return call_fusion(to, *item.fusion, std::move(inputs), std::move(outputs));
  }
  print_fusion(&text_, to, *item.fusion, inputs, outputs);
}

// An output is the memory of an input, and then has its address, or is in none.
void LoopPrinter::call_fusion(std::string* to, const Fusion& fusion,
                              std::vector<std::string> inputs, std::vector<std::string> outputs) {
  std::map<std::string, std::string> parameter_of;
  std::string what = fusion::print(fusion), parameters, arguments;
  for (auto* addresses : {&inputs, &outputs}) {
    for (std::string& address : *addresses) {
      const auto [found, is_new] = parameter_of.emplace(address, str("%a", parameter_of.size()));
      if (is_new) {
        const char* comma = arguments.empty() ? "" : ", ";
        parameters += str(comma, "ptr noalias ", found->second);
        arguments += str(comma, "ptr ", address);
      }
      address = found->second;
      what += address;
    }
  }
  std::string& function = function_of_[what];
  if (function.empty()) {
    function = str("@jaxmps_part_", function_of_.size());
    std::string body;
    auto scratch = text_.exchange_scratch();
    print_fusion(&text_, &body, fusion, inputs, outputs);
    functions_ += str("define internal void ", function, '(', parameters, ") noinline ",
                      llvm_attributes(), " {\n", text_.scratch_memory(), body, "  ret void\n}\n");
    text_.exchange_scratch(std::move(scratch));
  }
  *to += str("  call void ", function, '(', arguments, ")\n");
}

// --- control flow -------------------------------------------------------------------------------

void LoopPrinter::poll(std::string* to) {
  const std::string now =
      text_.emit(to, "load atomic i32, ptr @jaxmps_stop_epoch monotonic, align 4");
  const std::string seen = text_.emit(to, "load i32, ptr %seen, align 4");
  const std::string test = text_.emit(to, str("icmp eq i32 ", now, ", ", seen));
  const std::string ask = label("ask"), next = label("go");
  *to += str("  br i1 ", test, ", label %", next, ", label %", ask, "\n", ask, ":\n  store i32 ",
             now, ", ptr %seen, align 4\n");
  const std::string stops = text_.emit(to, "call i32 @jaxmps_stop(ptr %context) cold");
  const std::string ends = text_.emit(to, str("icmp ne i32 ", stops, ", 0"));
  *to += str("  br i1 ", ends, ", label %stopped, label %", next, '\n', next, ":\n");
}

std::string LoopPrinter::condition(std::string* to, const CodeLoop& loop,
                                   const std::string& counter) {
  if (loop.trips) return text_.emit(to, str("icmp slt i64 ", counter, ", ", *loop.trips));
  block(to, loop.condition);
  return text_.emit(to, str("icmp ne i8 ", read(loop.verdict), ", 0"));
}

void LoopPrinter::loop(std::string* to, const CodeLoop& loop) {
  const std::string own = label("w"), counter = text_.fresh("n");
  for (const Phi& phi : loop.phis) name(phi.value) = text_.fresh("p");
  std::string head, body;
  if (!loop.trips || *loop.trips > kFewTrips) poll(&head);
  const std::string goes_on = condition(&head, loop, counter);
  block(&body, loop.body);
  *to += str("  br label %", own, ".pre\n", own, ".pre:\n  br label %", own, ".head\n", own,
             ".head:\n");
  auto phi = [&](const std::string& value, const std::string& type, const std::string& init,
                 const std::string& next) {
    *to += str("  ", value, " = phi ", type, " [ ", init, ", %", own, ".pre ], [ ", next, ", %",
               own, ".latch ]\n");
  };
  for (const Phi& p : loop.phis) phi(name(p.value), type(p.value), read(p.init), read(p.next));
  if (loop.trips) phi(counter, "i64", "0", counter + ".next");
  *to += head;
  *to += str("  br i1 ", goes_on, ", label %", own, ".body, label %", own, ".exit\n", own,
             ".body:\n", body, "  br label %", own, ".latch\n", own, ".latch:\n");
  if (loop.trips) *to += str("  ", counter, ".next = add nuw nsw i64 ", counter, ", 1\n");
  *to += str("  br label %", own, ".head\n", own, ".exit:\n");
}

void LoopPrinter::branch(std::string* to, const CodeBranch& branch) {
  const std::string own = label("b");
  const size_t count = branch.blocks.size();
  *to += str("  switch i32 ", read(branch.index), ", label %", own, ".", count - 1, " [");
  for (size_t b = 0; b + 1 < count; ++b) *to += str(" i32 ", b, ", label %", own, ".", b);
  *to += " ]\n";
  std::vector<std::vector<std::string>> results;
  for (size_t b = 0; b < count; ++b) {
    *to += str(own, ".", b, ":\n");
    block(to, branch.blocks[b]);
    auto& values = results.emplace_back();
    for (const int32_t v : branch.results[b]) values.push_back(read(v));
    *to += str("  br label %", own, ".end", b, '\n', own, ".end", b, ":\n  br label %", own,
               ".join\n");
  }
  *to += str(own, ".join:\n");
  for (size_t k = 0; k < branch.values.size(); ++k) {
    const int32_t v = branch.values[k];
    name(v) = text_.fresh("p");
    *to += str("  ", name(v), " = phi ", type(v), ' ');
    for (size_t b = 0; b < count; ++b) {
      *to += str(b ? ", [ " : "[ ", results[b][k], ", %", own, ".end", b, " ]");
    }
    *to += '\n';
  }
}

}  // namespace

LlvmModule print_loop(const ScalarProgram& values, const CodeBlock& block, const LlvmLoop& loop) {
  LlvmModule module = LoopPrinter(values, loop, false).print(block);
  if (module.text.size() <= kLongText) return module;
  return LoopPrinter(values, loop, true).print(block);
}

}  // namespace jaxmps::kernels
