// What is accepted: the smallest program in all its allowed spellings, and the meaning of types,
// attributes, tensor data and meshes.
#include "bytecode/reader.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <set>

#include "bytecode/artifact_builder.h"
#include "bytecode/op_specs.h"

namespace jaxmps::bytecode {
namespace {

using testing::Artifact;
using testing::Bytes;
using testing::operator+;
using testing::operator+=;
using testing::kBuiltin;
using testing::kVhlo;
using testing::svarint;
using testing::varint;

std::string text_of(const Bytes& bytes) {
  auto module = testing::read(bytes);
  return module.ok() ? ir::print(**module) : "error: " + module.error().text;
}

TEST(Reader, ReadsTheSmallestProgram) {
  auto module = testing::read(Artifact());
  ASSERT_TRUE(module.ok()) << module.error().text;
  EXPECT_EQ((*module)->producer, "StableHLO_v1.16.0");
  const ir::Function* main = (*module)->main();
  ASSERT_NE(main, nullptr);
  EXPECT_TRUE(main->is_public);
  EXPECT_EQ(ir::print(main->type), "(tensor<2xf32>) -> (tensor<2xf32>)");
  ASSERT_EQ(main->body.op_count(), 2);
  const ir::Op* add = main->body.first();
  EXPECT_EQ(add->id, ir::OpId::add);
  EXPECT_EQ(add->operand(0), main->body.arg(0));
  EXPECT_EQ(add->operand(1), main->body.arg(0));
  EXPECT_EQ(main->body.terminator()->operand(0), add->result());
}

TEST(Reader, OrderAndAbsenceOfSectionsDoNotMatter) {
  const Artifact artifact;
  const std::string expected = text_of(artifact.bytes());
  ASSERT_EQ(expected.rfind("module", 0), 0u) << expected;
  Bytes reversed = artifact.header();
  const auto sections = artifact.sections();
  for (size_t i = sections.size(); i-- > 0;) reversed += sections[i];
  EXPECT_EQ(text_of(reversed), expected);
  Artifact bare;
  bare.resources = false;
  EXPECT_EQ(text_of(bare.bytes()), expected);
  Artifact five;
  five.version = 5;
  EXPECT_EQ(text_of(five.bytes()), expected);
}

TEST(Reader, UseListsAreSkipped) {
  const std::string expected = text_of(Artifact().bytes());
  Artifact artifact;
  // One argument, whose two uses are in reversed order.
  artifact.arguments.back() = 0x20;
  artifact.arguments = artifact.arguments + varint(2 << 1) + varint(1) + varint(0);
  EXPECT_EQ(text_of(artifact.bytes()), expected);
}

// The attribute `entry` as seen on a custom call's dictionary.
Result<ir::Attr> read_attribute(Artifact artifact, testing::Entry entry) {
  const uint64_t name = artifact.attr({kBuiltin, varint(2) + varint(artifact.string("x"))});
  const uint64_t value = artifact.attr(std::move(entry));
  const uint64_t dict =
      artifact.attr({kBuiltin, varint(1) + varint(1) + varint(name) + varint(value)});
  // vhlo.add_v1 with a dictionary of discardable attributes.
  artifact.body[0] = varint(testing::kAdd) + Bytes{0x07} + varint(0) + varint(dict) +
                     Bytes{0x03, 0x01, 0x05, 1, 1};
  TRY(auto module, testing::read(artifact));
  return module->main()->body.first()->discardable.at(0).value;
}

Result<ir::Attr> read_typed(uint64_t attr_code, uint64_t type_code, const Bytes& data) {
  Artifact artifact;
  const uint64_t type = artifact.type({kVhlo, varint(type_code)});
  return read_attribute(artifact, {kVhlo, varint(attr_code) + varint(type) + data});
}

int64_t integer(uint64_t type_code, const Bytes& data) {
  auto attr = read_typed(9, type_code, data);
  EXPECT_TRUE(attr.ok()) << attr.error().text;
  return attr.ok() ? attr->get_if<ir::TypedInt>()->value : -12345;
}

double floating(uint64_t type_code, const Bytes& data) {
  auto attr = read_typed(8, type_code, data);
  EXPECT_TRUE(attr.ok()) << attr.error().text;
  return attr.ok() ? attr->get_if<ir::TypedFloat>()->value : -12345;
}

TEST(Reader, IntegersOfEveryWidth) {
  EXPECT_EQ(integer(10, {0x0F}), -1);  // si4
  EXPECT_EQ(integer(10, {0x08}), -8);
  EXPECT_EQ(integer(15, {0x0F}), 15);  // ui4
  EXPECT_EQ(integer(11, {0xFB}), -5);  // si8
  EXPECT_EQ(integer(16, {0xC8}), 200);
  EXPECT_EQ(integer(12, {0x94, 0xFF, 0x0F}), -7);  // si16, written zero-extended
  EXPECT_EQ(integer(13, {0xD0, 0xFF, 0xFF, 0xFF, 0x3F}), -1);
  EXPECT_EQ(integer(18, svarint(4000000000)), 4000000000);
  EXPECT_EQ(integer(14, {0x03}), -1);
  EXPECT_EQ(integer(14, svarint(INT64_MIN)), INT64_MIN);
  EXPECT_EQ(integer(9, svarint(INT64_MAX)), INT64_MAX);  // index
}

TEST(Reader, FloatsOfEveryWidth) {
  EXPECT_EQ(floating(4, {0x10, 0x00, 0x00, 0xE0, 0x0F}), 1.0);
  EXPECT_EQ(floating(5, {0, 0, 0, 0, 0, 0, 0, 0xE0, 0x7F}), 1.0);
  const double zero = floating(5, svarint(std::bit_cast<int64_t>(-0.0)));
  EXPECT_TRUE(zero == 0 && std::signbit(zero));
  EXPECT_EQ(floating(3, svarint(0x3C00)), 1.0);  // f16
  EXPECT_EQ(floating(3, svarint(0xFC00)), -HUGE_VAL);
  EXPECT_EQ(floating(2, svarint(0xC040)), -3.0);  // bf16
  EXPECT_EQ(floating(6, {0x38}), 1.0);            // f8E4M3FN
  EXPECT_EQ(floating(6, {0x7E}), 448.0);
  EXPECT_TRUE(std::isnan(floating(6, {0x7F})));
  EXPECT_EQ(floating(7, {0x3C}), 1.0);   // f8E5M2
  EXPECT_EQ(floating(27, {0x40}), 1.0);  // f8E4M3FNUZ
  EXPECT_TRUE(std::isnan(floating(27, {0x80})));
  EXPECT_EQ(floating(37, {0x07}), 6.0);   // f4E2M1FN
  EXPECT_EQ(floating(38, {0x1F}), 7.5);   // f6E2M3FN
  EXPECT_EQ(floating(39, {0x1F}), 28.0);  // f6E3M2FN
  EXPECT_EQ(floating(40, {0x80}), 2.0);   // f8E8M0FNU
}

// A tensor attribute of `dims` and an element type, with `blob` as data.
Result<ir::Dense> tensor(uint64_t element, const std::vector<int64_t>& dims, const Bytes& blob) {
  Artifact artifact;
  const uint64_t type = artifact.type({kVhlo, varint(element)});
  Bytes shape = varint(dims.size());
  for (int64_t dim : dims) shape += svarint(dim);
  const uint64_t whole = artifact.type({kVhlo, varint(20) + shape + varint(type)});
  TRY(ir::Attr attr,
      read_attribute(artifact, {kVhlo, varint(15) + varint(whole) + varint(blob.size()) + blob}));
  // The bytes outlive the module through the attribute's owner.
  return *attr.get_if<ir::Dense>();
}

std::string bools(int64_t count, const Bytes& blob) {
  auto dense = tensor(0, {count}, blob);
  if (!dense.ok()) return "error";
  std::string out = dense->splat ? "splat " : "";
  if (count == 0) return out;
  for (uint8_t byte : dense->bytes()) out += byte == 0 ? '0' : byte == 1 ? '1' : '?';
  return out;
}

TEST(Reader, BoolTensors) {
  EXPECT_EQ(bools(0, {}), "");
  EXPECT_EQ(bools(0, {0x01}), "");  // an empty splat
  EXPECT_EQ(bools(1, {0x00}), "0");
  EXPECT_EQ(bools(1, {0x01}), "1");
  EXPECT_EQ(bools(1, {0xFF}), "1");
  EXPECT_EQ(bools(2, {0x02}), "01");
  EXPECT_EQ(bools(7, {0x55}), "1010101");
  EXPECT_EQ(bools(8, {0xFF}), "splat 1");
  EXPECT_EQ(bools(8, {0x0F}), "11110000");
  EXPECT_EQ(bools(9, {0x01, 0x01}), "100000001");
  EXPECT_EQ(bools(64, {0x00}), "splat 0");
  EXPECT_EQ(bools(64, {0xFF}), "splat 1");
  EXPECT_EQ(bools(3, {0x01, 0x00, 0x02}), "101");  // a byte per element
  EXPECT_EQ(bools(64, {0x00, 0x00}), "error");
  EXPECT_EQ(bools(0, {0x01, 0x01}), "error");
}

TEST(Reader, TensorData) {
  auto plain = tensor(11, {3}, {0x01, 0xFF, 0x80});
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->int_at(1), -1);
  EXPECT_EQ(plain->int_at(2), -128);
  auto small = tensor(10, {3}, {0x01, 0x0F, 0x08});  // si4
  ASSERT_TRUE(small.ok());
  EXPECT_EQ(small->int_at(1), -1);
  EXPECT_EQ(small->int_at(2), -8);
  auto smaller = tensor(31, {2}, {0x01, 0x02});  // si2
  ASSERT_TRUE(smaller.ok());
  EXPECT_EQ(smaller->int_at(1), -2);
  auto splat = tensor(4, {1 << 20, 1 << 20}, {0, 0, 0x80, 0x3F});
  ASSERT_TRUE(splat.ok());
  EXPECT_TRUE(splat->splat);
  EXPECT_EQ(splat->float_at(12345), 1.0);
  EXPECT_TRUE(tensor(4, {2, 0}, {0, 0, 0x80, 0x3F}).ok());  // an empty splat
  EXPECT_TRUE(tensor(4, {2, 0}, {}).ok());
  EXPECT_FALSE(tensor(4, {3}, Bytes(8)).ok());
  EXPECT_FALSE(tensor(4, {2}, {}).ok());
  EXPECT_FALSE(tensor(4, {0}, Bytes(8)).ok());
  EXPECT_FALSE(tensor(4, {INT64_MIN}, Bytes(4)).ok());  // of unknown size
}

TEST(Reader, QuantizedTypes) {
  Artifact artifact;
  const uint64_t si8 = artifact.type({kVhlo, varint(11)});
  const uint64_t one = artifact.type({kVhlo, varint(24) + varint(1) + varint(si8) + varint(2) +
                                                 svarint(std::bit_cast<int64_t>(0.25)) +
                                                 svarint(3) + svarint(-128) + svarint(127)});
  const uint64_t axis = artifact.type(
      {kVhlo, varint(30) + varint(1) + varint(si8) + varint(2) + varint(0) + svarint(-128) +
                  svarint(127) + varint(2) + svarint(std::bit_cast<int64_t>(0.5)) +
                  svarint(std::bit_cast<int64_t>(2.0)) + varint(2) + svarint(-1) + svarint(1)});
  for (uint64_t element : {one, axis}) {
    Artifact with = artifact;
    with.types[0].data = varint(20) + varint(1) + svarint(2) + varint(element);
    auto module = testing::read(with);
    ASSERT_TRUE(module.ok()) << module.error().text;
    const auto& quantization = (*module)->main()->body.arg(0)->type.quantization;
    ASSERT_NE(quantization, nullptr);
    EXPECT_EQ(quantization->storage, ir::DType::s8);
    EXPECT_EQ(quantization->storage_min, -128);
    EXPECT_EQ(quantization->storage_max, 127);
    if (element == one) {
      EXPECT_EQ(quantization->axis, -1);
      EXPECT_EQ(quantization->scales, std::vector<double>{0.25});
      EXPECT_EQ(quantization->zero_points, std::vector<int64_t>{3});
    } else {
      EXPECT_EQ(quantization->axis, 0);
      EXPECT_EQ(quantization->scales, (std::vector<double>{0.5, 2.0}));
      EXPECT_EQ(quantization->zero_points, (std::vector<int64_t>{-1, 1}));
    }
  }
}

TEST(Reader, FloatTypesAsText) {
  Artifact artifact;
  artifact.types[2] = {kBuiltin, {'f', '8', 'E', '4', 'M', '3', 'F', 'N', 0}, false};
  auto module = testing::read(artifact);
  ASSERT_TRUE(module.ok()) << module.error().text;
  EXPECT_EQ((*module)->main()->body.arg(0)->type.dtype, ir::DType::f8e4m3fn);
  artifact.types[2].data[1] = '9';
  EXPECT_NE(testing::refusal(artifact).find("is not a known type"), std::string::npos);
}

TEST(Reader, DeepCallSitesAreRead) {
  constexpr uint64_t kDepth = 100'000;
  Artifact artifact;
  const uint64_t first = artifact.attrs.size();
  for (uint64_t i = 0; i < kDepth; ++i) {
    const uint64_t caller = i + 1 < kDepth ? first + i + 1 : 0;
    artifact.attrs.push_back({kBuiltin, varint(10) + varint(0) + varint(caller)});
  }
  artifact.body[1] = varint(testing::kReturn) + Bytes{0x04} + varint(first) + Bytes{0x03, 0x03};
  auto module = testing::read(artifact);
  ASSERT_TRUE(module.ok()) << module.error().text;
  int depth = 0;
  for (const ir::Location* at = (*module)->main()->body.terminator()->location;
       at->kind == ir::Location::Kind::call_site; at = at->children.at(1)) {
    ++depth;
  }
  EXPECT_EQ(depth, static_cast<int>(kDepth));
}

std::string groups(const std::vector<std::string>& axes) {
  const std::vector<ir::Mesh> meshes = {{"mesh", {{"a", 2}, {"b", 2}, {"c", 2}}, {}}};
  ir::AttrList list;
  for (const auto& axis : axes) {
    list.push_back(ir::Attr::Value(ir::AttrDict{{"name", ir::Attr(axis)}}));
  }
  const ir::AttrDict by_axes = {{"axes", ir::Attr(ir::Attr::Value(list))},
                                {"mesh", ir::Attr(std::string("mesh"))}};
  auto resolved = resolve_groups(by_axes, meshes);
  if (!resolved.ok()) return resolved.error().text;
  std::string out;
  for (const auto& group : resolved->groups) out += str(group);
  return out;
}

TEST(Reader, GroupsOverMeshAxes) {
  EXPECT_EQ(groups({"b"}), "[0, 2][1, 3][4, 6][5, 7]");
  EXPECT_EQ(groups({"b", "a"}), "[0, 4, 2, 6][1, 5, 3, 7]");
  EXPECT_EQ(groups({"c", "a"}), "[0, 4, 1, 5][2, 6, 3, 7]");
  EXPECT_EQ(groups({}), "[0][1][2][3][4][5][6][7]");
  EXPECT_EQ(groups({"d"}), "no axis \"d\" in the mesh");
  EXPECT_NE(groups({"a", "a"}).find("no part"), std::string::npos);
}

TEST(OpSpecs, AreInWireOrderAndUnique) {
  std::set<std::string_view> names;
  for (const OpSpec& spec : op_specs()) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    for (size_t i = 1; i < spec.attrs.size(); ++i) {
      EXPECT_LT(spec.attrs[i - 1].name, spec.attrs[i].name) << spec.name;
    }
    EXPECT_EQ(find_op_spec(spec.name), &spec);
  }
  EXPECT_EQ(find_op_spec("vhlo.constant_v99"), nullptr);
}

}  // namespace
}  // namespace jaxmps::bytecode
