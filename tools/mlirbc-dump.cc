// Prints portable artifacts as text: mlirbc-dump [--summary] FILE...   ("-" is standard input)
// With --summary, one line per op instead: function, nesting depth, op, operand and result types.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include "bytecode/reader.h"
#include "ir/module.h"

namespace {

using namespace jaxmps;

void summarize(const ir::Region& region, const std::string& function, int depth) {
  for (const ir::Op* op : region) {
    std::cout << function << ' ' << depth << ' ' << ir::brief(*op) << '\n';
    for (const auto& inner : op->regions()) summarize(*inner, function, depth + 1);
  }
}

bool load(const std::string& path, std::string* bytes) {
  if (path == "-") {
    bytes->assign(std::istreambuf_iterator<char>(std::cin), {});
    return true;
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  bytes->assign(std::istreambuf_iterator<char>(file), {});
  return true;
}

bool dump(const std::string& path, bool summary) {
  std::string bytes;
  if (!load(path, &bytes)) {
    std::cerr << path << ": cannot be read\n";
    return false;
  }
  auto module = bytecode::read_artifact(std::make_shared<const std::string>(std::move(bytes)));
  if (!module.ok()) {
    std::cerr << path << ": " << module.error().text << '\n';
    return false;
  }
  if (!summary) {
    std::cout << ir::print(**module);
    return true;
  }
  for (const auto& function : (*module)->functions) {
    std::cout << "func " << function->name << ' ' << ir::print(function->type) << '\n';
    summarize(function->body, function->name, 0);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  bool summary = false, all_read = true;
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--summary") == 0) {
      summary = true;
    } else {
      ++files;
      all_read = dump(argv[i], summary) && all_read;
    }
  }
  if (files == 0) {
    std::cerr << "usage: mlirbc-dump [--summary] FILE...\n";
    return 2;
  }
  return all_read ? 0 : 1;
}
