// Prints portable artifacts as text: mlirbc-dump [--ops | --verify] FILE...   ("-": standard input)
// --ops prints a line of JSON per function and op instead, for comparison with other readers:
// values are numbered in the order of the file, a function's or region's arguments first.
// --verify also checks the module as the compiler does.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <unordered_map>

#include "bytecode/reader.h"
#include "ir/module.h"

namespace {

using namespace jaxmps;

std::string quote(std::string_view text) {
  std::string out(1, '"');
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", byte);
      out += code;
    } else {
      out += c;
    }
  }
  return out + '"';
}

template <typename T, typename F>
std::string array(const T& items, F print_item) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : ", ") + print_item(item);
  return "[" + out + "]";
}

std::string json(const ir::Dims& values) {
  return array(values, [](int64_t v) { return std::to_string(v); });
}

std::string json(const ir::Type& type) { return quote(ir::print(type)); }

std::string json(double value) {
  if (!std::isfinite(value))
    return std::isnan(value) ? "\"nan\"" : value < 0 ? "\"-inf\"" : "\"inf\"";
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

std::string json(const ir::Dense& dense) {
  std::string hex;
  for (uint8_t byte : dense.bytes()) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", byte);
    hex += digits;
  }
  return str("{\"type\": ", json(dense.type), ", \"splat\": ", dense.splat, ", \"hex\": \"", hex,
             "\"}");
}

std::string json(const ir::AttrDict& dict);

std::string json(const ir::Attr& attr) {
  if (const auto* v = attr.get_if<bool>()) return *v ? "true" : "false";
  if (const auto* v = attr.get_if<ir::TypedInt>()) return std::to_string(v->value);
  if (const auto* v = attr.get_if<ir::TypedFloat>()) return json(v->value);
  if (const auto* v = attr.get_if<std::string>()) return quote(*v);
  if (const auto* v = attr.get_if<ir::Symbol>()) return quote("@" + v->name);
  if (const auto* v = attr.get_if<ir::Type>()) return json(*v);
  if (const auto* v = attr.get_if<ir::Ints>()) return json(*v);
  if (const auto* v = attr.get_if<ir::Dense>()) return json(*v);
  if (const auto* v = attr.get_if<ir::AttrDict>()) return json(*v);
  if (const auto* v = attr.get_if<ir::ReplicaGroups>()) {
    return array(v->groups, [](const ir::Dims& group) { return json(group); });
  }
  if (const auto* v = attr.get_if<ir::AttrList>()) {
    return array(*v, [](const ir::Attr& item) { return json(item); });
  }
  return quote(ir::print(attr));
}

std::string json(const ir::AttrDict& dict) {
  std::string out;
  for (const ir::NamedAttr& item : dict) {
    out += str(out.empty() ? "" : ", ", quote(item.name), ": ", json(item.value));
  }
  return "{" + out + "}";
}

// Prints ops as JSON and numbers their values.
class OpPrinter {
 public:
  void print(const ir::Function& function) {
    std::cout << str(
        "{\"func\": ", quote(function.name), ", \"type\": ", json(function.type),
        ", \"args\": ", arguments(function.body),
        ", \"arg_attrs\": ", array(function.arg_attrs, [](const auto& dict) { return json(dict); }),
        ", \"result_attrs\": ",
        array(function.result_attrs, [](const auto& dict) { return json(dict); }), "}\n");
    print(function.body, 0);
  }

 private:
  void print(const ir::Region& region, int depth) {
    for (const ir::Op* op : region) {
      std::string operands, results, types;
      for (int i = 0; i < op->operand_count(); ++i) {
        operands += str(i ? ", " : "", numbers_.at(op->operand(i)));
      }
      for (int i = 0; i < op->result_count(); ++i) {
        results += str(i ? ", " : "", number(op->result(i)));
        types += str(i ? ", " : "", json(op->result(i)->type));
      }
      const std::string regions =
          array(op->regions(), [this](const auto& inner) { return arguments(*inner); });
      std::cout << str(
          "{\"op\": ", quote(op->name()), ", \"depth\": ", depth, ", \"operands\": [", operands,
          "], \"results\": [", results, "], \"types\": [", types, "], \"attrs\": ", json(op->attrs),
          ", \"discardable\": ", json(op->discardable), ", \"regions\": ", regions, "}\n");
      for (const auto& inner : op->regions()) print(*inner, depth + 1);
    }
  }

  std::string arguments(const ir::Region& region) {
    std::string out;
    for (int i = 0; i < region.arg_count(); ++i) {
      out += str(i ? ", " : "", "[", number(region.arg(i)), ", ", json(region.arg(i)->type), "]");
    }
    return "[" + out + "]";
  }

  size_t number(const ir::Value* value) {
    return numbers_.emplace(value, numbers_.size()).first->second;
  }

  std::unordered_map<const ir::Value*, size_t> numbers_;
};

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

enum class Mode { text, ops, verify };

bool dump(const std::string& path, Mode mode) {
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
  if (mode == Mode::verify) {
    if (auto verified = ir::verify(**module); !verified.ok()) {
      std::cerr << path << ": " << verified.error().text << '\n';
      return false;
    }
  }
  if (mode == Mode::ops) {
    OpPrinter printer;
    for (const auto& function : (*module)->functions) printer.print(*function);
  } else {
    std::cout << ir::print(**module);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Mode mode = Mode::text;
  bool all_read = true;
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--ops") == 0) {
      mode = Mode::ops;
    } else if (std::strcmp(argv[i], "--verify") == 0) {
      mode = Mode::verify;
    } else {
      ++files;
      all_read = dump(argv[i], mode) && all_read;
    }
  }
  if (files == 0) {
    std::cerr << "usage: mlirbc-dump [--ops | --verify] FILE...\n";
    return 2;
  }
  return all_read ? 0 : 1;
}
