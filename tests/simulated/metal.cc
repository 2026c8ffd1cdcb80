#include "simulated/metal.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "simulated/group.h"
#include "simulated/shim.h"
#if defined(__SSE__)
#include <immintrin.h>
#endif

namespace jaxmps::metal {
namespace {

constexpr int kMaxBuffers = 31;
constexpr uint32_t kMaxThreads = 1024;
constexpr size_t kMaxShared = 32 << 10;

// Later versions than 14 have no such flag.
constexpr std::string_view kHalf = " -Xclang -fallow-half-arguments-and-returns ";

std::string find_compiler() {
#if defined(__linux__)
  for (const char* name : {"clang++-14", "clang++"}) {
    const std::string probe = str(name, kHalf, "-x c++ -fsyntax-only /dev/null > /dev/null 2>&1");
    if (std::system(probe.c_str()) == 0) return name;
  }
#endif
  return {};
}

const std::string& compiler() {
  static const std::string found = find_compiler();
  return found;
}

// For macros alone: GCC's starts in a fifth of the time that clang takes.
const std::string& preprocessor() {
  static const std::string found =
      std::system("cpp --version > /dev/null 2>&1") == 0 ? "cpp" : compiler() + " -E";
  return found;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

// The linker without the compiler, which takes longer to find out that C++'s library is not needed
// than the whole rest of linking takes.
const std::string& linker() {
  static const std::string command = [] {
    std::string library;
    if (FILE* said = popen(str(compiler(), " -print-libgcc-file-name").c_str(), "r")) {
      char name[4096];
      if (fgets(name, sizeof name, said)) library = name;
      pclose(said);
    }
    return str("ld -shared -o kernels.so kernels.o ", library.substr(0, library.find('\n')));
  }();
  return command;
}

// A parameter of a kernel: a buffer, or a position of the thread.
struct Parameter {
  std::string type, attribute;
  int buffer = -1;
};

struct Kernel {
  std::string name;      // for launches
  std::string function;  // as it is called; of a template, with its arguments
  std::string base;      // the function's own name
  bool is_template = false;
  std::vector<Parameter> parameters;
  uint32_t max_threads = kMaxThreads;
  bool meets = false;
  // Of the loaded library.
  void (*call)(void* const* buffers, const Position* position) = nullptr;
  char* shared = nullptr;
  size_t shared_bytes = 0;
};

// Where the bracket that opens at text[at] is closed.
size_t closing(const std::string& text, size_t at) {
  int depth = 0;
  for (size_t k = at; k < text.size(); ++k) {
    depth += text[k] == '(' || text[k] == '{';
    depth -= text[k] == ')' || text[k] == '}';
    if (depth == 0) return k;
  }
  return std::string::npos;
}

std::vector<std::string> split_parameters(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (char c : text) {
    depth += c == '(' || c == '<' || c == '[';
    depth -= c == ')' || c == '>' || c == ']';
    if (c == ',' && depth == 0)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

// Buffers without a number get the next one.
Result<Parameter> parse_parameter(const std::string& kernel, const std::string& text, int* next) {
  static const std::regex pattern(
      R"(^\s*([\w:\s*&<>]*?[\w*&>])\s*\b(\w+)\s*(?:\[\[\s*(\w+)\s*(?:\(\s*(\d+)\s*\))?\s*\]\])?\s*$)");
  std::smatch match;
  if (!std::regex_match(text, match, pattern)) {
    return invalid(str("kernel ", kernel, ": a parameter that is not understood: ", text));
  }
  Parameter p{match[1], match[3], -1};
  const bool is_buffer = p.type.back() == '*' || p.type.back() == '&';
  if (!is_buffer) {
    if (p.attribute.empty())
      return invalid(str("kernel ", kernel, ": a parameter without an attribute: ", text));
    return p;
  }
  p.buffer = match[4].matched ? std::stoi(match[4]) : *next;
  *next = p.buffer + 1;
  if (p.buffer >= kMaxBuffers) {
    return invalid(str("kernel ", kernel, ": there is no buffer ", p.buffer));
  }
  static const std::regex space(R"(\b(device|constant)\b)");
  if (!std::regex_search(p.type, space)) {
    return invalid(str("kernel ", kernel, ": a buffer without an address space: ", text));
  }
  return p;
}

// Templates that are kernels under names of their own; takes what says so out of the text.
void add_instances(std::string* text, std::vector<Kernel>* kernels) {
  static const std::regex instance(
      R"re(template\s*\[\[\s*host_name\("(\w+)"\)\s*\]\]\s*\[\[\s*kernel\s*\]\]\s*decltype\(((\w+)[^;]*)\)\s*\3\b[^;]*;)re");
  std::vector<Kernel> instances;
  for (std::sregex_iterator it(text->begin(), text->end(), instance), end; it != end; ++it) {
    for (const Kernel& k : *kernels) {
      if (!k.is_template || k.base != (*it)[3]) continue;
      instances.push_back(k);
      instances.back().name = (*it)[1];
      instances.back().function = (*it)[2];
    }
  }
  std::erase_if(*kernels, [](const Kernel& k) { return k.is_template; });
  kernels->insert(kernels->end(), instances.begin(), instances.end());
  *text = std::regex_replace(*text, instance, "");
}

// The kernels of text whose macros are expanded, templates among them.
Result<std::vector<Kernel>> find_kernels(const std::string& text) {
  static const std::regex head(
      R"((>\s*)?(?:\[\[\s*kernel\b[^\]]*\]\]\s*void|\bkernel\s+void)\s+(\w+)\s*\()");
  static const std::regex limit(R"(max_total_threads_per_threadgroup\((\d+)\))");
  static const std::regex meeting(R"(\b\w*(barrier|shuffle|simd_)\w*\s*\()");
  std::vector<Kernel> kernels;
  for (std::sregex_iterator it(text.begin(), text.end(), head), end; it != end; ++it) {
    Kernel k;
    k.is_template = (*it)[1].matched;
    k.name = k.function = k.base = (*it)[2];
    const size_t open = static_cast<size_t>(it->position() + it->length() - 1);
    const size_t close = closing(text, open), body = text.find('{', close);
    if (close == std::string::npos || body == std::string::npos) return invalid("an open bracket");
    int next = 0;
    for (const std::string& p : split_parameters(text.substr(open + 1, close - open - 1))) {
      TRY(Parameter parameter, parse_parameter(k.name, p, &next));
      k.parameters.push_back(std::move(parameter));
    }
    std::smatch match;
    const std::string words = it->str();
    if (std::regex_search(words, match, limit))
      k.max_threads = static_cast<uint32_t>(std::stoul(match[1]));
    const std::string code = text.substr(body, closing(text, body) - body);
    k.meets = std::regex_search(code, meeting);
    kernels.push_back(std::move(k));
  }
  return kernels;
}

// Local arrays of threadgroup memory become static; each kernel's lie together.
std::string with_static_arrays(const std::string& text, const std::vector<Kernel>& kernels) {
  static const std::regex local(R"(\bthreadgroup(\s+\w+\s+\w+\s*\[))");
  std::string result;
  size_t done = 0;
  for (const Kernel& k : kernels) {
    const size_t at = text.find(str("void ", k.base), done);
    const size_t end = closing(text, text.find('{', at)) + 1;
    result += text.substr(done, at - done);
    result +=
        std::regex_replace(text.substr(at, end - at), local, str("METAL_LOCAL(", k.base, ")$1"));
    done = end;
  }
  return result + text.substr(done);
}

// A function of plain pointers for each kernel, and one that says where its threadgroup memory is.
std::string callers_of(const std::vector<Kernel>& kernels) {
  std::string text =
      "\n#define METAL_EXPORT extern \"C\" __attribute__((visibility(\"default\"), "
      "no_sanitize(\"thread\")))\nmetal_functions metal_host;\n";
  for (const Kernel& k : kernels) {
    text += str("METAL_EXPORT void call_", k.name,
                "(void* const* buffers, const metal_position* at) {\n  ", k.function, "(");
    std::string_view comma;
    for (const Parameter& p : k.parameters) {
      text += comma;
      comma = ", ";
      if (p.buffer < 0) {
        text += str("metal_argument<", p.type, ">::of(at->", p.attribute, ")");
      } else {
        text += str(p.type.back() == '&' ? "metal_reference" : "metal_pointer", "{buffers[",
                    p.buffer, "]}");
      }
    }
    text += ");\n}\n";
    text += str("extern \"C\" __attribute__((weak, visibility(\"hidden\"))) char __start_shared_",
                k.base, "[], __stop_shared_", k.base, "[];\nMETAL_EXPORT char* shared_of_", k.name,
                "(size_t* bytes) {\n  *bytes = (size_t)(__stop_shared_", k.base,
                " - __start_shared_", k.base, ");\n  return __start_shared_", k.base, ";\n}\n");
  }
  return text;
}

// Functions that reach themselves, by clang's own intermediate text.
std::string find_recursion(const std::string& code) {
  static const std::regex define(R"(^define .*@(\w+)\()"), call(R"(\bcall .*@(\w+)\()");
  std::map<std::string, std::set<std::string>> calls;
  std::string inside;
  std::istringstream lines(code);
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("define ") && std::regex_search(line, match, define)) {
      inside = match[1];
    } else if (line.find("call ") != std::string::npos && std::regex_search(line, match, call)) {
      calls[inside].insert(match[1]);
    }
  }
  for (const auto& entry : calls) {
    std::set<std::string> seen;
    std::vector<std::string> pending(entry.second.begin(), entry.second.end());
    while (!pending.empty()) {
      const std::string next = pending.back();
      pending.pop_back();
      if (next == entry.first) return next;
      if (!seen.insert(next).second) continue;
      const auto found = calls.find(next);
      if (found != calls.end())
        pending.insert(pending.end(), found->second.begin(), found->second.end());
    }
  }
  return {};
}

class Compiled : public Library {
 public:
  ~Compiled() override {
    if (handle_) dlclose(handle_);
  }

  Status build(const std::string& text, const Options& options) {
    options_ = options;
    char name[] = "/tmp/jaxmps_metal_XXXXXX";
    if (!mkdtemp(name)) return internal("no folder for compiling Metal");
    folder_ = name;
    Status done = build_in_folder(text, options);
    std::filesystem::remove_all(folder_);  // what is loaded stays
    return done;
  }

  std::vector<std::string> kernels() const override {
    std::vector<std::string> names;
    for (const Kernel& k : kernels_) names.push_back(k.name);
    return names;
  }

  Status launch(const std::string& name, Size groups, Size threads,
                std::span<const Buffer> buffers) override;

 private:
  Status build_in_folder(const std::string& text, const Options& options) {
    TRY(const std::string expanded, expand(text));
    static const std::regex wide(R"(\blong\s+long\b|\b(0x[\da-fA-F]+|\d+)[uU]?(ll|LL)[uU]?\b)");
    if (std::regex_search(expanded, wide)) return invalid("Metal has no long long");
    TRY(kernels_, find_kernels(expanded));
    std::string code = with_static_arrays(expanded, kernels_);
    add_instances(&code, &kernels_);
    if (kernels_.empty()) return invalid("no kernel in the text");
    write("kernels.cc", str(shim_text(), "\n", code, callers_of(kernels_)));
    constexpr std::string_view kFlags =
        " -x c++ -std=c++17 -nostdinc -fno-exceptions -fno-rtti -fno-math-errno -fno-builtin "
        "-ffp-contract=off -march=native "
        "-Wno-unknown-attributes -Wno-ignored-attributes -Wno-unknown-pragmas -Wno-pass-failed "
        "-Wdouble-promotion -Werror=double-promotion -Wno-undefined-inline kernels.cc ";
    // Once with address spaces, for what is not to be found in them, and once to run it.
    CHECK_OK(clang(str(kHalf, kFlags,
                       "-DMETAL_SPACES -O0 -Xclang -disable-llvm-passes -S -emit-llvm -o "
                       "kernels.ll")));
    if (const std::string f = find_recursion(read(folder_ / "kernels.ll")); !f.empty()) {
      return invalid(str("recursion of ", f));
    }
    const std::string_view checks =
        options.checks_accesses ? "-DMETAL_CHECKS -O1 -fsanitize=thread " : "-O2 ";
    CHECK_OK(clang(str(kHalf, kFlags, checks, "-fPIC -fvisibility=hidden -c -o kernels.o")));
    CHECK_OK(run(linker()));
    return load();
  }

  void write(const char* name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }

  Status clang(const std::string& arguments) const { return run(compiler() + arguments); }
  Status run(const std::string& command) const {
    const std::string in_folder = str("cd ", folder_.string(), " && ", command, " > log 2>&1");
    if (std::system(in_folder.c_str()) == 0) return {};
    return invalid(read(folder_ / "log").substr(0, 4000));
  }

  // Macros of the text; headers of Metal are the shim's concern.
  Result<std::string> expand(const std::string& text) const {
    static const std::regex include(R"(#include\s*<metal_\w+>)");
    write("text.cc", std::regex_replace(text, include, ""));
    CHECK_OK(run(preprocessor() + " -x c++ -std=c++17 -nostdinc -P text.cc -o expanded.cc"));
    return read(folder_ / "expanded.cc");
  }

  Status load() {
    handle_ = dlopen((folder_ / "kernels.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle_) return internal(dlerror());
    auto* functions = static_cast<Host*>(dlsym(handle_, "metal_host"));
    if (!functions) return internal("metal_host is not found");
    *functions = host();
    for (Kernel& k : kernels_) {
      k.call = reinterpret_cast<decltype(k.call)>(dlsym(handle_, str("call_", k.name).c_str()));
      auto shared =
          reinterpret_cast<char* (*)(size_t*)>(dlsym(handle_, str("shared_of_", k.name).c_str()));
      if (!k.call || !shared) return internal(str("kernel ", k.name, " is not found"));
      k.shared = shared(&k.shared_bytes);
      if (k.shared_bytes > kMaxShared) {
        return invalid(
            str("kernel ", k.name, ": ", k.shared_bytes, " bytes of threadgroup memory"));
      }
    }
    return {};
  }

  bool is_own(const void* address) const {
    Dl_info info, own;
    if (!dladdr(address, &info)) return false;
    return dladdr(reinterpret_cast<const void*>(kernels_[0].call), &own) &&
           info.dli_fbase == own.dli_fbase;
  }

  Options options_;
  std::filesystem::path folder_;
  void* handle_ = nullptr;
  std::vector<Kernel> kernels_;
};

Status Compiled::launch(const std::string& name, Size groups, Size threads,
                        std::span<const Buffer> buffers) {
  const Kernel* kernel = nullptr;
  for (const Kernel& k : kernels_) {
    if (k.name == name) kernel = &k;
  }
  if (!kernel) return invalid(str("no kernel ", name));
  const uint64_t count = uint64_t(threads.x) * threads.y * threads.z;
  if (count == 0 || count > kernel->max_threads) {
    return invalid(str("kernel ", name, ": ", count, " threads in a group"));
  }
  std::vector<void*> pointers(kMaxBuffers, nullptr);
  for (size_t k = 0; k < buffers.size() && k < pointers.size(); ++k) pointers[k] = buffers[k].data;
  for (const Parameter& p : kernel->parameters) {
    if (p.buffer >= static_cast<int>(buffers.size())) {
      return invalid(str("kernel ", name, ": buffer ", p.buffer, " is missing"));
    }
  }
  Launch launch{groups,
                threads,
                buffers,
                kernel->shared,
                kernel->shared_bytes,
                kernel->meets,
                options_.checks_accesses,
                {},
                {}};
  launch.body = [&](const Position& at) { kernel->call(pointers.data(), &at); };
  launch.is_constant = [&](const void* address) { return is_own(address); };
#if defined(__SSE__)
  const unsigned control = _mm_getcsr();
  constexpr unsigned kFlush = 0x8040;
  if (options_.flushes_denormals) _mm_setcsr(control | kFlush);
#endif
  const std::string error = run_groups(launch);
#if defined(__SSE__)
  _mm_setcsr(control);
#endif
  if (!error.empty()) return internal(str("kernel ", name, ": ", error));
  return {};
}

}  // namespace

std::string why_unavailable() {
  return compiler().empty() ? "no clang++ of version 14 to compile Metal with (on Linux)" : "";
}

Result<std::shared_ptr<Library>> Library::compile(const std::string& text, const Options& options) {
  if (std::string why = why_unavailable(); !why.empty())
    return Error(Code::failed_precondition, std::move(why));
  auto library = std::make_shared<Compiled>();
  CHECK_OK(library->build(text, options));
  return std::shared_ptr<Library>(std::move(library));
}

}  // namespace jaxmps::metal
