// Fuzz target: bytes as a client sends them go through reader, verifier, passes, fusion and plan.
// Where sizes and loops are small the program runs twice, fused and op by op, and both must agree.
// Its mutator works on the artifact's sections: it exchanges ops, operands, types, attributes and
// numbers by others of the same length, and keeps to what the verifier accepts.
// Seeds: tests/bytecode/artifacts and tests/fuzz/seeds.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/floats.h"
#include "bytecode/cursor.h"
#include "bytecode/reader.h"
#include "exec/fused.h"
#include "exec/plan.h"
#include "ir/module.h"
#include "passes/pass.h"

namespace {

using namespace jaxmps;
namespace mx = mlx::core;
using ir::OpId;

unsigned long long number(uint64_t n) { return n; }

// How many inputs came how far.
struct Counts {
  uint64_t candidates = 0, read = 0, verified = 0, inputs = 0, planned = 0, run = 0, compared = 0;
  ~Counts() {
    std::fprintf(stderr, "%llu candidates of the mutator: %llu read, %llu verified\n",
                 number(candidates), number(read), number(verified));
    std::fprintf(stderr, "%llu inputs: %llu planned, %llu run, %llu compared\n", number(inputs),
                 number(planned), number(run), number(compared));
  }
} counts;

// ---- What is small enough to run ----

constexpr int64_t kMostElements = 1 << 14;  // of all values of a region together
constexpr int64_t kMostTrips = 256;         // of nested loops together
constexpr double kMostNanoseconds = 2e7;    // as the plan estimates

bool is_small(const ir::Type& type, int64_t* budget) {
  if (!type.is_tensor()) return type.kind == ir::Type::Kind::token;
  if (!type.is_static()) return false;
  double size = 1;
  for (const int64_t dim : type.dims) size *= static_cast<double>(std::max<int64_t>(dim, 1));
  if (size > static_cast<double>(*budget)) return false;
  *budget -= type.size();
  return true;
}

bool is_small(const ir::Region& region, int64_t trips, int64_t* budget) {
  for (int i = 0; i < region.arg_count(); ++i) {
    if (!is_small(region.arg(i)->type, budget)) return false;
  }
  for (const ir::Op* op : region) {
    for (int i = 0; i < op->result_count(); ++i) {
      if (!is_small(op->result(i)->type, budget)) return false;
    }
    int64_t inner = trips;
    if (op->id == OpId::while_) {
      const ir::Attr* known = ir::find(op->discardable, "mps.trip_count");
      const auto* number = known ? known->get_if<ir::TypedInt>() : nullptr;
      if (!number || number->value > kMostTrips) return false;
      inner = trips * std::max<int64_t>(1, number->value);
      if (inner > kMostTrips) return false;
    }
    for (const auto& nested : op->regions()) {
      if (!is_small(*nested, inner, budget)) return false;
    }
  }
  return true;
}

// ---- Running ----

// Whether both ways of running must give the same bits: what groups sums in other ways does not.
bool is_exact(const ir::Region& region) {
  for (const ir::Op* op : region) {
    switch (op->id) {
      case OpId::reduce:
      case OpId::reduce_window:
      case OpId::select_and_scatter:
      case OpId::scatter:
      case OpId::dot_general:
      case OpId::convolution:
      case OpId::cumulative:
        if (!ir::is_int(op->result()->type.dtype) && op->result()->type.dtype != ir::DType::pred) {
          return false;
        }
        break;
      case OpId::fft:
      case OpId::cholesky:
      case OpId::triangular_solve:
      case OpId::custom_call:
      case OpId::rng:
      case OpId::rng_bit_generator:
        return false;
      default:
        break;
    }
    for (const auto& nested : op->regions()) {
      if (!is_exact(*nested)) return false;
    }
  }
  return true;
}

// What the mutator has read and found valid, so that its execution need not read it again.
struct Valid {
  std::string bytes;
  std::unique_ptr<ir::Module> module;
} valid;

std::unique_ptr<ir::Module> read_valid(const uint8_t* data, size_t size) {
  if (valid.module && valid.bytes.size() == size &&
      std::memcmp(valid.bytes.data(), data, size) == 0) {
    return std::move(valid.module);
  }
  auto module = bytecode::read_artifact(
      std::make_shared<const std::string>(reinterpret_cast<const char*>(data), size));
  if (!module.ok()) return nullptr;
  ++counts.read;
  if (!ir::verify(**module).ok()) return nullptr;
  ++counts.verified;
  return std::move(module).value();
}

// Shares the original's locations and constants.
std::unique_ptr<ir::Module> copy_of(const ir::Module& module) {
  auto copy = std::make_unique<ir::Module>();
  copy->name = module.name;
  copy->attrs = module.attrs;
  for (const auto& function : module.functions) {
    ir::Function* made = copy->add_function(function->name);
    made->type = function->type;
    made->arg_attrs = function->arg_attrs;
    made->result_attrs = function->result_attrs;
    ir::ValueMap map;
    made->body.copy_from(function->body, map);
  }
  return copy;
}

bool run_passes(ir::Module& module) {
  for (const ir::Type& type : module.main()->type.elements) {
    if (type.is_tensor() && (!type.is_static() || !ops::fits_dimensions(type))) return false;
  }
  if (!passes::run_passes(module).ok()) return false;
  if (const Status still = ir::verify(module); !still.ok()) {
    std::fprintf(stderr, "the passes broke the program: %s\n%s\n", still.error().text.c_str(),
                 ir::print(module).c_str());
    std::abort();
  }
  return true;
}

std::unique_ptr<exec::Plan> plan_of(const ir::Module& module) {
  std::vector<Error> refused;
  auto plan = exec::build_plan(module.main()->body, {}, ir::kCpu, &refused);
  return refused.empty() ? std::move(plan) : nullptr;
}

// Small numbers, and now and then an odd one.
void fill(const ir::Type& type, std::mt19937_64& random, char* to) {
  static constexpr double kOdd[] = {-0.0, INFINITY, -INFINITY, NAN, 0.5, -1.5, 1e30};
  const int bytes = ir::byte_size(type.dtype);
  for (int64_t i = 0; i < type.size(); ++i, to += bytes) {
    const uint64_t draw = random();
    const double small = static_cast<double>(draw % 9) - 3;
    const double number = draw >> 32 & 15 ? small : kOdd[(draw >> 40) % 7];
    if (type.dtype == ir::DType::pred) {
      *to = static_cast<char>(draw & 1);
    } else if (ir::is_int(type.dtype)) {
      const auto integer = static_cast<int64_t>(small);
      std::memcpy(to, &integer, static_cast<size_t>(bytes));
      // Integers of few bits are extended to a byte.
      const int bits = ir::bit_width(type.dtype);
      if (bits < 8) *to = static_cast<char>(draw & 1);
    } else if (type.dtype == ir::DType::f32) {
      const auto narrow = static_cast<float>(number);
      std::memcpy(to, &narrow, 4);
    } else if (type.dtype == ir::DType::f64) {
      std::memcpy(to, &number, 8);
    } else {
      std::memcpy(to, &draw, std::min<size_t>(static_cast<size_t>(bytes), 8));
      if (bytes > 8) std::memcpy(to + 8, &draw, 8);
    }
  }
}

// Nothing where the plan is too long, or fails.
std::optional<ops::Arrays> run(const ir::Module& module, const exec::Plan& plan, uint64_t seed) {
  if (plan.nanoseconds > kMostNanoseconds) return std::nullopt;
  std::mt19937_64 random(seed);
  std::vector<mx::array> arguments;
  const ir::Region& body = module.main()->body;
  for (int i = 0; i < body.arg_count(); ++i) {
    const ir::Type& type = body.arg(i)->type;
    if (!type.is_tensor()) {
      arguments.push_back(mx::zeros({0}, mx::bool_));
      continue;
    }
    const auto bytes = static_cast<size_t>(type.byte_count());
    mx::array a(mx::allocator::malloc(std::max<size_t>(bytes, 1)), ops::storage_shape(type),
                ops::storage_dtype(type.dtype));
    fill(type, random, a.data<char>());
    arguments.push_back(std::move(a));
  }
  static const auto encoder = exec::make_cpu_encoder(mx::default_stream(mx::Device::cpu));
  try {
    exec::RunContext context(*encoder);
    return exec::run_plan(plan, std::move(arguments), context, true);
  } catch (const std::exception&) {
    return std::nullopt;  // becomes the error of the execution
  }
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void expect_equal(const ir::Module& module, const ops::Arrays& fused, const ops::Arrays& alone) {
  const auto& types = module.main()->type.results;
  for (size_t i = 0; i < types.size(); ++i) {
    const ir::Type& type = types[i];
    if (!type.is_tensor() || type.size() == 0) continue;
    const auto* a = fused[i].data<uint8_t>();
    const auto* b = alone[i].data<uint8_t>();
    const auto bytes = static_cast<size_t>(type.byte_count());
    if (std::memcmp(a, b, bytes) == 0) continue;
    const int part = ir::byte_size(type.dtype) / (ir::is_complex(type.dtype) ? 2 : 1);
    const bool is_float = ir::is_float(type.dtype) || ir::is_complex(type.dtype);
    const ir::Type parts(is_float ? ir::real_type(type.dtype) : type.dtype,
                         {static_cast<int64_t>(bytes) / part});
    const ir::Dense x{parts, false, a, nullptr}, y{parts, false, b, nullptr};
    bool differs = false;
    for (int64_t k = 0; k < parts.size(); ++k) {
      if (is_float ? same(x.float_at(k), y.float_at(k)) : x.int_at(k) == y.int_at(k)) continue;
      std::fprintf(stderr, "result %zu differs at %lld: fused %.17g, alone %.17g\n", i,
                   static_cast<long long>(k), x.float_at(k), y.float_at(k));
      differs = true;
    }
    if (!differs) continue;
    std::fprintf(stderr, "%s\n", ir::print(module).c_str());
    std::abort();
  }
}

// ---- Mutation ----

struct Part {
  uint8_t id;
  size_t begin, end;
};

// The sections, as far as they can be found.
std::vector<Part> sections(const uint8_t* data, size_t size) {
  std::vector<Part> parts;
  if (size < 8) return parts;
  const void* producer = std::memchr(data + 5, 0, size - 5);
  if (!producer) return parts;
  bytecode::Cursor rest(
      {data, size}, static_cast<size_t>(static_cast<const uint8_t*>(producer) - data) + 1, size);
  while (!rest.done()) {
    uint8_t id = 0;
    auto body = rest.section("section", &id);
    if (!body.ok()) break;
    parts.push_back({id, body->offset(), body->offset() + body->left()});
  }
  return parts;
}

// Numbers of one byte are written as 2n + 1.
uint8_t other_number(uint8_t old, std::mt19937& random) {
  static constexpr int kSteps[] = {1, -1, 2, -2, 3, -3, 8, -8};
  const int number = old >> 1;
  const int next =
      random() % 4 ? number + kSteps[random() % 8] : static_cast<int>(random() % (number + 8));
  return static_cast<uint8_t>((std::clamp(next, 0, 127) << 1) | 1);
}

// What a number in the section of ops says, and of which op.
enum class Role : uint8_t { operand, properties, type, name };
struct Site {
  size_t at;
  Role role;
  uint8_t op;
};

// Finds the numbers of one byte in the section of ops.
class Sites {
 public:
  // Nothing where the section is not understood.
  static std::vector<Site> find(const uint8_t* data, const Part& part) {
    Sites sites(data);
    bytecode::Cursor in({data, part.end}, part.begin, part.end);
    if (!sites.block(in)) return {};
    return std::move(sites.found_);
  }

 private:
  explicit Sites(const uint8_t* data) : data_(data), version_(data[4] >> 1) {}

  bool region(bytecode::Cursor& in) {
    const auto blocks = in.varint("blocks");
    if (!blocks.ok() || *blocks == 0) return blocks.ok();
    return in.varint("values").ok() && block(in);
  }

  bool block(bytecode::Cursor& in) {
    const auto head = in.flagged("ops");
    if (!head.ok() || (head->flag && !arguments(in))) return false;
    for (uint64_t i = 0; i < head->value; ++i) {
      if (!op(in)) return false;
    }
    return true;
  }

  bool arguments(bytecode::Cursor& in) {
    const auto count = in.count("arguments");
    for (size_t i = 0; count.ok() && i < *count; ++i) {
      const auto type = in.varint("type");
      if (!type.ok()) return false;
      if ((version_ < 4 || (*type & 1)) && !in.varint("location").ok()) return false;
    }
    if (!count.ok() || version_ < 3) return count.ok();
    const auto use_lists = in.u8("use-lists");
    return use_lists.ok() && *use_lists == 0;
  }

  bool op(bytecode::Cursor& in) {
    const uint8_t name = in.left() ? *in.data() : 0;
    if (!site(in, Role::name, name)) return false;
    const auto mask = in.u8("mask");
    if (!mask.ok() || (*mask & ~0x57) != 0 || !in.varint("location").ok()) return false;
    if ((*mask & 1) && !in.varint("dictionary").ok()) return false;
    if ((*mask & 0x40) && !site(in, Role::properties, name)) return false;
    if ((*mask & 2) && !list(in, Role::type, name)) return false;
    if ((*mask & 4) && !list(in, Role::operand, name)) return false;
    return !(*mask & 0x10) || regions(in);
  }

  bool regions(bytecode::Cursor& in) {
    const auto count = in.flagged("regions");
    if (!count.ok()) return false;
    bytecode::Cursor nested = in;
    const bool in_section = count->flag && version_ >= 2;
    if (in_section) {
      uint8_t id = 0;
      auto section = in.section("regions", &id);
      if (!section.ok()) return false;
      nested = *section;
    }
    for (uint64_t i = 0; i < count->value; ++i) {
      if (!region(in_section ? nested : in)) return false;
    }
    return true;
  }

  bool list(bytecode::Cursor& in, Role role, uint8_t op) {
    const auto count = in.count("list");
    for (size_t i = 0; count.ok() && i < *count; ++i) {
      if (!site(in, role, op)) return false;
    }
    return count.ok();
  }

  bool site(bytecode::Cursor& in, Role role, uint8_t op) {
    if (in.left() && (data_[in.offset()] & 1)) found_.push_back({in.offset(), role, op});
    return in.varint("site").ok();
  }

  const uint8_t* data_;
  uint64_t version_;
  std::vector<Site> found_;
};

// Another number for one that an op has: one that says the same elsewhere, or one near.
void mutate_op(uint8_t* data, const std::vector<Site>& sites, std::mt19937& random) {
  static constexpr Role kOften[] = {Role::operand,    Role::operand,    Role::operand,
                                    Role::properties, Role::properties, Role::type,
                                    Role::name};
  const Role role = kOften[random() % std::size(kOften)];
  std::vector<const Site*> alike;
  for (const Site& site : sites) {
    if (site.role == role) alike.push_back(&site);
  }
  if (alike.empty()) return;
  const Site& site = *alike[random() % alike.size()];
  uint8_t& byte = data[site.at];
  for (int tries = 0; tries < 8 && random() % 4 != 0; ++tries) {
    const Site& donor = *alike[random() % alike.size()];
    // Properties mean something to their op alone.
    if (data[donor.at] == byte || (role == Role::properties && donor.op != site.op)) continue;
    byte = data[donor.at];
    return;
  }
  byte = other_number(byte, random);
}

// Mostly ops and operands, then types and attributes; sometimes strings and constants.
void mutate_once(uint8_t* data, const std::vector<Part>& parts, const std::vector<Site>& sites,
                 std::mt19937& random) {
  static constexpr uint8_t kOften[] = {4, 4, 4, 4, 4, 4, 4, 4, 4, 2, 2, 1, 8, 5, 0};
  const uint8_t wanted = kOften[random() % sizeof kOften];
  if (wanted == 4 && !sites.empty()) return mutate_op(data, sites, random);
  std::vector<Part> found;
  for (const Part& part : parts) {
    if (part.id == wanted && part.end > part.begin) found.push_back(part);
  }
  if (found.empty()) return;
  const Part part = found[random() % found.size()];
  const size_t length = part.end - part.begin;
  for (int tries = 0; tries < 8; ++tries) {
    uint8_t& byte = data[part.begin + random() % length];
    if (wanted == 5 || wanted == 0) {
      byte = static_cast<uint8_t>(random() % 3 ? byte ^ (1 << random() % 8) : random());
      return;
    }
    if (!(byte & 1)) continue;
    const uint8_t donor = data[part.begin + random() % length];
    byte = random() % 3 || !(donor & 1) ? other_number(byte, random) : donor;
    return;
  }
}

bool is_accepted(const uint8_t* data, size_t size) {
  ++counts.candidates;
  auto module = read_valid(data, size);
  if (!module) return false;
  valid.bytes.assign(reinterpret_cast<const char*>(data), size);
  valid.module = std::move(module);
  return true;
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, [[maybe_unused]] size_t room,
                                          unsigned seed) {
  std::mt19937 random(seed);
  const std::vector<Part> parts = sections(data, size);
  if (parts.empty()) return size;
  std::vector<Site> sites;
  for (const Part& part : parts) {
    if (part.id == 4) sites = Sites::find(data, part);
  }
  const std::vector<uint8_t> original(data, data + size);
  constexpr int kCandidates = 12;
  for (int candidate = 0; candidate < kCandidates; ++candidate) {
    std::copy(original.begin(), original.end(), data);
    for (unsigned edits = random() % 2 ? 1 : 1 + random() % 4; edits > 0; --edits)
      mutate_once(data, parts, sites, random);
    if (std::equal(original.begin(), original.end(), data)) continue;
    if (is_accepted(data, size)) return size;
  }
  // What is refused is for fuzz_reader: it would only fill the corpus.
  std::copy(original.begin(), original.end(), data);
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ++counts.inputs;
  const DeviceFloats floats;
  const auto module = read_valid(data, size);
  if (!module || !run_passes(*module)) return 0;
  const ir::Region& body = module->main()->body;
  int64_t budget = kMostElements;
  const bool small = is_small(body, 1, &budget), exact = is_exact(body);
  const auto unfused = small && exact ? copy_of(*module) : nullptr;
  if (!exec::fuse_module(*module, ir::kCpu).ok()) return 0;
  const auto plan = plan_of(*module);
  if (!plan) return 0;
  ++counts.planned;
  const auto fused = small ? run(*module, *plan, size) : std::nullopt;
  if (!fused) return 0;
  ++counts.run;
  const auto plain_plan = unfused ? plan_of(*unfused) : nullptr;
  const auto alone = plain_plan ? run(*unfused, *plain_plan, size) : std::nullopt;
  if (!alone) return 0;
  ++counts.compared;
  expect_equal(*module, *fused, *alone);
  return 0;
}
