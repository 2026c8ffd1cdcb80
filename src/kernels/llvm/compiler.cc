#include "kernels/llvm/compiler.h"

#include <mutex>
#include <unordered_map>

#include "base/env.h"

namespace jaxmps::kernels {
namespace {

const CodeGenerator* generator = nullptr;

// Of all texts that are in use.
struct Cache {
  std::mutex mutex;
  std::unordered_map<std::string, std::weak_ptr<const MachineCode>> codes;
};
Cache& cache() {
  static auto* const cache = new Cache;
  return *cache;
}

void take_message(void* sink, const char* text, int64_t size) {
  static_cast<std::string*>(sink)->assign(text, static_cast<size_t>(size));
}

}  // namespace

void set_code_generator(const CodeGenerator* own) { generator = own; }

bool has_code_generator() {
  return generator && generator->open && env::flag(env::Var::JAX_MPS_LLVM);
}

bool is_worth_generating(double nanoseconds) {
  constexpr double kWorth = 20e3;
  return has_code_generator() && (nanoseconds > kWorth || env::number(env::Var::JAX_MPS_LLVM) == 2);
}

MachineCode::~MachineCode() {
  if (generator->open) generator->release(handle_);
}

Result<std::shared_ptr<const MachineCode>> MachineCode::compile(
    const std::string& text, const std::string& name, const std::vector<LlvmSymbol>& symbols) {
  if (!has_code_generator()) return unimplemented("there is no code generator");
  {
    const std::lock_guard lock(cache().mutex);
    const auto found = cache().codes.find(text);
    if (found != cache().codes.end()) {
      if (auto code = found->second.lock()) return code;
    }
  }
  std::vector<const char*> names;
  std::vector<const void*> addresses;
  for (const LlvmSymbol& symbol : symbols) {
    names.push_back(symbol.name.c_str());
    addresses.push_back(symbol.address);
  }
  int64_t handle = 0;
  std::string message = "no reason given";
  // Without the lock: the generator waits for the interpreter's.
  const void* address = generator->compile(
      text.data(), static_cast<int64_t>(text.size()), name.c_str(), names.data(), addresses.data(),
      static_cast<int64_t>(names.size()), &handle, &message, take_message);
  if (!address) return internal(str("LLVM: ", message));
  std::shared_ptr<const MachineCode> code(new MachineCode(address, handle));
  const std::lock_guard lock(cache().mutex);
  std::erase_if(cache().codes, [](const auto& entry) { return entry.second.expired(); });
  cache().codes[text] = code;
  return code;
}

}  // namespace jaxmps::kernels
