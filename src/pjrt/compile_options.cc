#include "pjrt/compile_options.h"

#include <cstring>

#include "pjrt/proto.h"
#include "pjrt/xla_options.h"

namespace jaxmps::pjrt {
namespace {

constexpr int64_t kMaxParallelism = 1 << 20;  // replicas or partitions; keeps products small

Status read_assignment(std::string_view bytes, CompileOptions& out) {
  ProtoReader reader(bytes, "compile options: device assignment");
  out.device_assignment.clear();
  while (!reader.at_end()) {
    TRY(ProtoField field, reader.next());
    if (field.number != 3) continue;
    if (field.wire != Wire::bytes) return reader.wrong_type(field);
    auto& ids = out.device_assignment.emplace_back();
    ProtoReader inner(field.bytes, "compile options: device assignment");
    while (!inner.at_end()) {
      TRY(ProtoField id, inner.next());
      if (id.number == 1) CHECK_OK(read_repeated(id, "compile options: device ids", ids));
    }
  }
  return {};
}

Status read_build_options(std::string_view bytes, CompileOptions& out) {
  constexpr std::string_view name = "compile options: executable_build_options";
  ProtoReader reader(bytes, name);
  while (!reader.at_end()) {
    TRY(ProtoField field, reader.next());
    switch (field.number) {
      case 1:
      case 4:
      case 5: {
        if (field.wire != Wire::varint) return reader.wrong_type(field);
        (field.number == 1   ? out.device_ordinal
         : field.number == 4 ? out.num_replicas
                             : out.num_partitions) = field.as_int();
        break;
      }
      case 9:
        if (field.wire != Wire::bytes) return reader.wrong_type(field);
        CHECK_OK(read_assignment(field.bytes, out));
        break;
      case 12:
        CHECK_OK(read_repeated(field, name, out.choose_output_shardings));
        break;
      case 18:
        CHECK_OK(read_repeated(field, name, out.choose_parameter_shardings));
        break;
      default:  // settings of XLA's own compiler
        break;
    }
  }
  return {};
}

Result<OptionValue> read_value(std::string_view bytes) {
  using Form = OptionValue::Form;
  ProtoReader reader(bytes, "compile options: option value");
  OptionValue out;
  while (!reader.at_end()) {
    TRY(ProtoField field, reader.next());
    const Wire expected = field.number == 1   ? Wire::bytes
                          : field.number == 4 ? Wire::fixed64
                                              : Wire::varint;
    if (field.wire != expected) return reader.wrong_type(field);
    switch (field.number) {
      case 1:
        out = {Form::text, std::string(field.bytes)};
        break;
      case 2:
      case 3:
        out = {field.number == 2 ? Form::boolean : Form::integer, str(field.as_int())};
        break;
      case 4: {
        double real;
        std::memcpy(&real, &field.value, sizeof(real));
        out = {Form::real, str(real)};
        break;
      }
      default:
        break;
    }
  }
  return out;
}

// One entry of the map of named options.
Status read_override(std::string_view bytes, CompileOptions& out) {
  ProtoReader reader(bytes, "compile options: env_option_overrides");
  std::string_view key;
  OptionValue value;
  while (!reader.at_end()) {
    TRY(ProtoField field, reader.next());
    if (field.wire != Wire::bytes) return reader.wrong_type(field);
    if (field.number == 1) key = field.bytes;
    if (field.number == 2) {
      TRY(value, read_value(field.bytes));
    }
  }
  TRY(const bool deterministic, check_xla_option(key, value));
  out.deterministic = out.deterministic || deterministic;
  return {};
}

Status check(const CompileOptions& options) {
  auto in_range = [](int64_t n) { return n >= 1 && n <= kMaxParallelism; };
  if (!in_range(options.num_replicas) || !in_range(options.num_partitions)) {
    return invalid(str("compile options: ", options.num_replicas, " replicas and ",
                       options.num_partitions, " partitions; both must be 1 or more"));
  }
  const auto& assignment = options.device_assignment;
  if (assignment.empty()) return {};
  bool fits = static_cast<int64_t>(assignment.size()) == options.num_partitions;
  for (const auto& ids : assignment) {
    fits = fits && static_cast<int64_t>(ids.size()) == options.num_replicas;
  }
  if (fits) return {};
  return invalid(str("compile options: the device assignment is not of ", options.num_replicas,
                     " replicas by ", options.num_partitions, " partitions"));
}

}  // namespace

Result<CompileOptions> parse_compile_options(std::string_view bytes) {
  CompileOptions out;
  out.bytes = bytes;
  ProtoReader reader(bytes, "compile options");
  while (!reader.at_end()) {
    TRY(ProtoField field, reader.next());
    switch (field.number) {
      case 3:
        if (field.wire != Wire::bytes) return reader.wrong_type(field);
        CHECK_OK(read_build_options(field.bytes, out));
        break;
      case 4:
        if (field.wire != Wire::varint) return reader.wrong_type(field);
        out.portable = field.value != 0;
        break;
      case 7:
        if (field.wire != Wire::bytes) return reader.wrong_type(field);
        CHECK_OK(read_override(field.bytes, out));
        break;
      default:
        break;
    }
  }
  // Zero is how the wire format leaves a number out.
  if (out.num_replicas == 0) out.num_replicas = 1;
  if (out.num_partitions == 0) out.num_partitions = 1;
  CHECK_OK(check(out));
  return out;
}

std::string serialize_device_assignment(const std::vector<std::vector<int64_t>>& assignment) {
  ProtoWriter writer;
  writer.number(1, assignment.empty() ? 0 : static_cast<int64_t>(assignment[0].size()));
  writer.number(2, static_cast<int64_t>(assignment.size()));
  for (const auto& ids : assignment) {
    ProtoWriter inner;
    inner.packed(1, ids);
    writer.bytes(3, inner.take());
  }
  return writer.take();
}

}  // namespace jaxmps::pjrt
