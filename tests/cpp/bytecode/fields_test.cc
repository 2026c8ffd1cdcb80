// Fields that hold what they cannot hold, one row each: the smallest artifact with it, and the
// text.
#include <gtest/gtest.h>

#include <functional>

#include "bytecode/artifact_builder.h"
#include "bytecode/container.h"
#include "bytecode/op_specs.h"

namespace jaxmps::bytecode {
namespace {

using testing::Artifact;
using testing::Bytes;
using testing::Entry;
using testing::operator+;
using testing::operator+=;
using testing::kBuiltin;
using testing::kFunc;
using testing::kModule;
using testing::kReturn;
using testing::kSdy;
using testing::kVhlo;
using testing::section;
using testing::svarint;
using testing::varint;

using Damage = std::function<void(Artifact&)>;
struct Row {
  Damage damage;
  std::string says;
};

void expect(const std::vector<Row>& rows) {
  for (const auto& [damage, says] : rows) {
    Artifact artifact;
    damage(artifact);
    const std::string message = testing::refusal(artifact);
    EXPECT_NE(message.find(": " + says), std::string::npos) << says << "\ngot: " << message;
  }
}

// An attribute that main's name is read from.
Damage attribute(const Entry& entry) {
  return [entry](Artifact& a) { a.attrs[3] = entry; };
}
Damage vhlo(const Bytes& data) { return attribute({kVhlo, data}); }
// Where all ops are.
Damage location(const Bytes& data) {
  return [data](Artifact& a) { a.attrs[0].data = data; };
}
// The element type of main's tensors; types 3 and 4 are f32 and s8.
Damage element(const Bytes& data) {
  return [data](Artifact& a) {
    a.types[2].data = data;
    a.type({kVhlo, varint(4)});
    a.type({kVhlo, varint(11)});
  };
}
// main's tensors of one dimension of size 2, with bounds.
Damage bounds(const Bytes& data) {
  return [data](Artifact& a) {
    const uint64_t encoding = a.attr({kVhlo, varint(18) + data});
    a.types[0].data = varint(21) + varint(encoding) + varint(1) + svarint(2) + varint(2);
  };
}

TEST(Fields, Attributes) {
  expect({
      {attribute({kBuiltin, varint(17) + varint(2) + varint(3) + varint(4) + Bytes(4, 0)}),
       "array data: 4 bytes for 3 elements"},
      {attribute({kBuiltin, varint(5) + varint(4) + varint(1) + varint(4)}),
       "symbol part: not a symbol"},
      {attribute({kSdy, varint(5) + varint(0) + Bytes{2}}), "is closed: value 2 outside 0..1"},
      {attribute({kSdy, varint(17) + varint(4) + varint(0) + varint(0) + varint(0) + svarint(3)}),
       "reduction kind: value 3 outside 0..2"},
      {vhlo(varint(9) + varint(2)), "integer type: not an integer type"},
      {[](Artifact& a) {
         a.attrs[3].data = varint(8) + varint(a.type({kVhlo, varint(13)}));
       },
       "float type: not a float type"},
      {vhlo(varint(20) + svarint(0) + svarint(0) + svarint(0) + varint(4)),
       "result accuracy mode: not an accuracy mode"},
      {vhlo(varint(6) + varint(2) + varint(4) + varint(1) + varint(4) + varint(1)),
       "dictionary: key \"public\" occurs twice"},
      {vhlo(varint(6) + varint(1) + varint(1) + varint(1)),
       "dictionary key: not a string attribute"},
      {vhlo(varint(15) + varint(0) + varint(3) + Bytes(3, 0)),
       "tensor data: 3 bytes do not hold a tensor<2xf32>"},
      {[](Artifact& a) {
         const uint64_t type =
             a.type({kVhlo, varint(20) + varint(1) + svarint(ir::kDynamic) + varint(2)});
         a.attrs[3].data = varint(15) + varint(type) + varint(4) + Bytes(4, 0);
       },
       "tensor data: of type tensor<?xf32>"},
      {[](Artifact& a) {
         const uint64_t s64 = a.type({kVhlo, varint(14)});
         const uint64_t type =
             a.type({kVhlo, varint(20) + varint(1) + svarint(1 << 21) + varint(s64)});
         const uint64_t attr = a.attr({kVhlo, varint(15) + varint(type) + varint(8) + Bytes(8, 0)});
         a.insert_op(a.op(kVhlo, "reverse_v1"), a.property(varint(attr)));
       },
       "attribute 5 (dimensions): 2097152 elements are more than 1048576"},
      {[](Artifact& a) {
         const uint64_t over = a.attr({kVhlo, varint(23) + varint(3) + varint(1)});
         a.insert_op(a.op(kVhlo, "cross-replica-sum_v1"), a.property(varint(over)));
       },
       "replica_groups: no mesh \"main\""},
      {[](Artifact& a) {
         const uint64_t mesh = a.attr({kVhlo, varint(6) + varint(0)});
         a.more_module_ops.push_back(varint(a.op(kSdy, "mesh")) + Bytes{0x40} + varint(0) +
                                     varint(a.property(varint(mesh) + varint(4))));
       },
       "sdy.mesh: mesh without a valid axes"},
      {[](Artifact& a) {
         const uint64_t first = a.attrs.size();
         for (uint64_t i = 0; i < 99; ++i) {
           a.attrs.push_back({kVhlo, varint(1) + varint(1) + varint(i == 98 ? 1 : first + i + 1)});
         }
         a.attrs[3] = a.attrs[first];
       },
       "attribute 70: nested too deep"},
      {[](Artifact& a) {
         a.more_module_ops.push_back(varint(kFunc) + Bytes{0x50} + varint(0) + varint(1) +
                                     varint(1 << 1 | 1) + section(4, varint(2)));
       },
       "block count: 2 is not 1"},
      {[](Artifact& a) {
         a.body[0][1] = 0x16;
         a.body[0] = a.body[0] + varint(100000 << 1);
       },
       "region count: 100000 does not fit"},
      {location(varint(7)), "location: builtin attribute 7 is no location"},
      {location(varint(22) + varint(3) + varint(5) + Bytes(5, 1)), "location range: 5 numbers"},
      {location(varint(11) + varint(3) + varint(uint64_t{1} << 33) + varint(1)),
       "location line: 8589934592 above 2^32"},
  });
}

TEST(Fields, Types) {
  const auto tuples = [](Artifact& a) {
    const uint64_t first = a.types.size();
    for (uint64_t i = 0; i < 99; ++i) {
      a.types.push_back({kVhlo, varint(23) + varint(1) + varint(i == 98 ? 0 : first + i + 1)});
    }
    a.body[0][4] = varint(first)[0];
  };
  const Bytes per_tensor = varint(24), per_axis = varint(30), is_signed = varint(1),
              f32 = varint(3), s8 = varint(4);
  expect({
      {tuples, "type 68: nested too deep"},
      {[](Artifact& a) { a.types[1].data = varint(8) + varint(1) + varint(2) + varint(0); },
       "function inputs: tensor<f32> is not the type of a value"},
      {element(per_tensor + varint(2)), "quantization flags: unknown flags 2"},
      {element(per_tensor + is_signed + f32 + f32), "storage type: f32 is not an integer"},
      {element(per_tensor + is_signed + s8 + s8), "expressed type: i8 is not a float"},
      {element(per_axis + is_signed + s8 + f32 + varint(0) + svarint(-128) + svarint(127) +
               varint(1) + svarint(0) + varint(0)),
       "zero points: 0 for 1 scales"},
      {bounds(varint(2) + svarint(1) + svarint(1)), "tensor encoding: 2 bounds for rank 1"},
      {bounds(varint(1) + svarint(5)), "tensor encoding: bound 5 of dimension 0"},
  });
}

// One section of an artifact replaced: the number and its bytes.
std::string replaced(size_t number, const Bytes& data) {
  static constexpr uint8_t kIds[] = {1, 3, 2, 4, 6, 5, 0, 8};
  const Artifact artifact;
  const auto parts = artifact.sections();
  Bytes bytes = artifact.header();
  for (size_t i = 0; i < parts.size(); ++i) {
    bytes += (i == number ? section(kIds[i], data) : parts[i]);
  }
  return testing::refusal(bytes);
}

TEST(Fields, Sections) {
  const auto says = [](size_t number, const Bytes& data, std::string_view text) {
    const std::string message = replaced(number, data);
    EXPECT_NE(message.find(text), std::string::npos) << text << "\ngot: " << message;
  };
  says(0, varint(1) + varint(1) + section(5, {}), "dialect version: section id 5");
  Bytes dialects = Artifact().dialect_section();
  dialects[4] = varint(9)[0];
  EXPECT_NE(testing::refusal(Artifact().header()).find("string section: missing"),
            std::string::npos);
  says(0, dialects, "op name count: 9 but the groups hold 4");
  says(1, varint(1) + varint(0) + varint(0) + varint(9) + Bytes(9, 1),
       "attribute group size: 9 exceeds the announced 1");
  Bytes ir = Artifact().ir_section();
  const auto first = [&](uint64_t value) {
    ir[0] = varint(value)[0];
    return ir;
  };
  says(3, first(3), "block arguments: none may be here");
  says(3, first(2 << 1), "op count: 2 is not the one module");
  says(3, first(50 << 1), "op count: 50 does not fit in ");
  says(3, varint(1 << 1) + varint(kReturn) + Bytes{0x00} + varint(0),
       "module: is a vhlo.return_v1");
  const auto module = [](const Bytes& region) {
    return varint(1 << 1) + varint(kModule) + Bytes{0x50} + varint(0) + varint(0) +
           varint(1 << 1 | 1) + region;
  };
  says(3, module(section(4, varint(2) + varint(0))), "module block count: 2 is not 1");
  says(3, module(section(4, varint(1) + varint(1))), "module value count: 1 is not 0");
  says(3, module(section(5, {})), "region section: section id 5");
  const std::span<const uint8_t> huge(ir.data(), size_t{3} << 30);  // not looked into
  EXPECT_EQ(read_container(huge).error().text, "0x0: artifact: larger than 2 GiB");
}

using ir::Attr;
using ir::AttrDict;
using ir::AttrList;

Attr dict(AttrDict items) { return Attr(Attr::Value(std::move(items))); }
Attr list(AttrList items) { return Attr(Attr::Value(std::move(items))); }
Attr text(const char* value) { return Attr(std::string(value)); }
Attr axis(const char* name, int64_t size) {
  return dict({{"name", text(name)}, {"size", Attr(size)}});
}

TEST(Fields, Meshes) {
  const auto says = [](AttrDict mesh, std::string_view what) {
    const auto made = to_mesh(mesh, "m");
    ASSERT_FALSE(made.ok()) << what;
    EXPECT_EQ(made.error().text, what);
  };
  says({}, "mesh without a valid axes");
  says({{"axes", list(AttrList(65, axis("a", 1)))}}, "mesh with 65 axes");
  says({{"axes", list({text("a")})}}, "mesh axis without name and size");
  says({{"axes", list({dict({{"name", text("a")}})})}}, "mesh without a valid size");
  says({{"axes", list({axis("a", 0)})}}, "mesh axis \"a\" of size 0");
  says({{"axes", list({axis("a", 2), axis("a", 2)})}}, "two mesh axes \"a\"");
  says({{"axes", list({axis("a", 2)})}, {"device_ids", Attr(ir::Ints{0, 1, 2})}},
       "mesh of 2 devices with 3 device ids");
}

TEST(Fields, GroupsOverMeshes) {
  const std::vector<ir::Mesh> meshes = {{"m", {{"a", 4}}, {}}};
  const auto says = [&](AttrDict groups, std::string_view what) {
    const auto made = resolve_groups(groups, meshes);
    ASSERT_FALSE(made.ok()) << what;
    EXPECT_EQ(made.error().text, what);
  };
  const auto over = [](Attr axis) {
    return AttrDict{{"axes", list({std::move(axis)})}, {"mesh", text("m")}};
  };
  const auto part = [](Attr sub) {
    return dict({{"name", text("a")}, {"sub_axis", std::move(sub)}});
  };
  says({}, "neither lists nor mesh axes");
  says({{"mesh", text("n")}}, "no mesh \"n\"");
  says({{"axes", list(AttrList(65, text("a")))}, {"mesh", text("m")}}, "65 mesh axes");
  says(over(text("a")), "mesh axis reference without a name");
  says(over(dict({{"name", text("b")}})), "no axis \"b\" in the mesh");
  says(over(part(text("x"))), "sub-axis without sizes");
  says(over(part(dict({{"pre_size", Attr(int64_t{1})}, {"size", Attr(int64_t{0})}}))),
       "sub-axis of no size");
  says(over(part(dict({{"pre_size", Attr(int64_t{1})}, {"size", Attr(int64_t{3})}}))),
       "axis \"a\" of size 4 has no part of size 3 after 1");
}

}  // namespace
}  // namespace jaxmps::bytecode
