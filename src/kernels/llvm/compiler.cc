#include "kernels/llvm/compiler.h"

#include <mutex>
#include <new>
#include <string_view>
#include <unordered_map>

#include "base/env.h"
#include "base/interpreter.h"
#include "base/log.h"

namespace jaxmps::kernels {
namespace {

const CodeGenerator* generator = nullptr;

void release(int64_t handle) {
  if (const Visit visit; visit) generator->release(handle);
}

// Of all texts that are in use; the keys are the texts of the codes themselves.
struct Cache {
  std::mutex mutex;
  std::unordered_map<std::string_view, std::weak_ptr<MachineCode>> codes;
};
Cache& cache() {
  static auto* const cache = new Cache;
  return *cache;
}

}  // namespace

void set_code_generator(const CodeGenerator* own) { generator = own; }

bool has_code_generator() { return generator && env::flag(env::Var::JAX_MPS_LLVM); }

std::shared_ptr<MachineCode> MachineCode::of(LlvmModule module) {
  const std::lock_guard lock(cache().mutex);
  auto& codes = cache().codes;
  if (const auto found = codes.find(module.text); found != codes.end()) {
    if (auto code = found->second.lock()) return code;
    codes.erase(found);  // its text is about to go
  }
  std::shared_ptr<MachineCode> code(new MachineCode(std::move(module)));
  codes.emplace(code->module_.text, code);
  return code;
}

MachineCode::~MachineCode() {
  {
    const std::lock_guard lock(cache().mutex);
    const auto found = cache().codes.find(module_.text);
    if (found != cache().codes.end() && found->first.data() == module_.text.data()) {
      cache().codes.erase(found);
    }
  }
  if (address()) release(handle_);
}

bool MachineCode::start(When when, void* sink, CodeGenerator::Done done) const {
  const Visit visit;
  if (!visit) return false;
  std::vector<const char*> names;
  std::vector<const void*> addresses;
  for (const LlvmSymbol& symbol : module_.symbols) {
    names.push_back(symbol.name.c_str());
    addresses.push_back(symbol.address);
  }
  generator->compile(module_.text.data(), static_cast<int64_t>(module_.text.size()), module_.name,
                     names.data(), addresses.data(), static_cast<int64_t>(names.size()), when, done,
                     sink);
  return true;
}

void MachineCode::take(const void* address, int64_t handle) {
  const std::lock_guard lock(mutex_);
  if (this->address()) return release(handle);  // compiled twice at the same time
  handle_ = handle;
  address_.store(address, std::memory_order_release);
}

Status MachineCode::compile() {
  if (address()) return {};
  struct Now {
    MachineCode* code;
    std::string message;
  } now{this, {}};
  const bool is_asked =
      has_code_generator() &&
      start(When::now, &now,
            [](void* sink, const void* address, int64_t handle, const char* message, int64_t size) {
              auto* now = static_cast<Now*>(sink);
              if (address) return now->code->take(address, handle);
              now->message.assign(message, static_cast<size_t>(size));
            });
  if (!is_asked) return unimplemented("there is no code generator");
  if (!address()) return internal(str("LLVM: ", now.message));
  return {};
}

void MachineCode::request(When when) {
  if (requested_.exchange(true) || !has_code_generator()) return;
  using Self = std::shared_ptr<MachineCode>;
  auto* self = new (std::nothrow) Self(shared_from_this());
  if (!self) return;
  const auto done = [](void* sink, const void* address, int64_t handle, const char* message,
                       int64_t size) {
    const std::unique_ptr<Self> self(static_cast<Self*>(sink));
    if (address) return (*self)->take(address, handle);
    log(Level::debug, "LLVM: ", std::string_view(message, static_cast<size_t>(size)));
  };
  if (!start(when, self, done)) delete self;
}

}  // namespace jaxmps::kernels
