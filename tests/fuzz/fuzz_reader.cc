// Fuzz target: any bytes must give a module or an error, in bounded time and memory, and what was
// accepted must print and survive the verifier. Seeds: tests/bytecode/artifacts.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "bytecode/reader.h"
#include "ir/module.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace jaxmps;
  auto bytes = std::make_shared<const std::string>(reinterpret_cast<const char*>(data), size);
  auto module = bytecode::read_artifact(std::move(bytes));
  if (!module.ok()) {
    // Every refusal begins with the byte offset.
    if (module.error().text.rfind("0x", 0) != 0) std::abort();
    return 0;
  }
  if (ir::print(**module).empty()) std::abort();
  if (auto verified = ir::verify(**module); !verified.ok() && verified.error().text.empty()) {
    std::abort();
  }
  return 0;
}
