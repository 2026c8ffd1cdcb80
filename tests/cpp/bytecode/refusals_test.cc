// What is refused, one case per rule: each message names the offset and the thing.
#include <gtest/gtest.h>

#include <functional>

#include "bytecode/artifact_builder.h"

namespace jaxmps::bytecode {
namespace {

using testing::Artifact;
using testing::Bytes;
using testing::operator+;
using testing::operator+=;
using testing::kAdd;
using testing::kBuiltin;
using testing::kReturn;
using testing::kSdy;
using testing::kVhlo;
using testing::section;
using testing::svarint;
using testing::varint;

struct Case {
  std::string name;
  std::function<void(Artifact&)> damage;
  std::string message;  // a part of it
};

void expect_refused(const std::vector<Case>& cases) {
  for (const Case& test : cases) {
    Artifact artifact;
    test.damage(artifact);
    const std::string message = testing::refusal(artifact);
    EXPECT_EQ(message.rfind("0x", 0), 0u) << test.name << ": " << message;
    EXPECT_NE(message.find(test.message), std::string::npos) << test.name << ": " << message;
  }
}

TEST(Refusals, Header) {
  EXPECT_NE(testing::refusal(Bytes{}).find("not MLIR bytecode"), std::string::npos);
  const std::string text = "module { func.func @main() { return } }";
  EXPECT_NE(testing::refusal(Bytes(text.begin(), text.end())).find("not MLIR bytecode"),
            std::string::npos);
  EXPECT_NE(testing::refusal(Bytes{'M', 'L', 0xEF, 'R', 0x0D, 'x', 'y'}).find("producer"),
            std::string::npos);
  expect_refused({
      {"magic", [](Artifact& a) { a.magic[0] = 'X'; }, "magic: not MLIR bytecode"},
      {"version", [](Artifact& a) { a.version = 7; }, "bytecode version: 7 is newer than 6"},
      {"huge version", [](Artifact& a) { a.version = ~uint64_t{0}; }, "bytecode version"},
  });
}

TEST(Refusals, Sections) {
  const Artifact artifact;
  const auto parts = artifact.sections();
  const Bytes whole = artifact.bytes();
  const char* kNames[] = {"dialect section", "size section",     "attribute and type section",
                          "IR section",      "resource section", "resource offset section",
                          "string section",  "property section"};
  // Without each section: resources (4 and 5) only both together.
  for (size_t skip = 0; skip < parts.size(); ++skip) {
    Bytes bytes = artifact.header();
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i != skip) bytes += parts[i];
    }
    const std::string message = testing::refusal(bytes);
    const bool is_resource = skip == 4 || skip == 5;
    EXPECT_NE(message.find(is_resource ? ": missing" : str(kNames[skip], ": missing")),
              std::string::npos)
        << kNames[skip] << ": " << message;
  }
  EXPECT_NE(testing::refusal(whole + parts[0]).find("dialect section: occurs twice"),
            std::string::npos);
  EXPECT_NE(testing::refusal(whole + section(9, {})).find("section: unknown id 9"),
            std::string::npos);
  EXPECT_NE(testing::refusal(whole + section(7, {})).find("unknown id 7"), std::string::npos);
  EXPECT_NE(testing::refusal(whole + Bytes{0x05, 0x09}).find("exceeds"), std::string::npos);
  Bytes external = artifact.header();
  for (size_t i = 0; i < parts.size(); ++i) {
    external += (i == 4 ? section(6, varint(1)) : parts[i]);
  }
  EXPECT_NE(testing::refusal(external).find("resources are not supported"), std::string::npos);
}

// A count of 2^40 (or one more than there is) at each place of the container.
TEST(Refusals, CountsInTheContainer) {
  const Artifact artifact;
  const auto replaced = [&](size_t number, uint8_t id, const Bytes& data) {
    const auto parts = artifact.sections();
    Bytes bytes = artifact.header();
    for (size_t i = 0; i < parts.size(); ++i) {
      bytes += (i == number ? section(id, data) : parts[i]);
    }
    return testing::refusal(bytes);
  };
  const Bytes huge = varint(uint64_t{1} << 40);
  EXPECT_NE(replaced(0, 1, huge + Bytes(8, 1)).find("dialect count"), std::string::npos);
  EXPECT_NE(replaced(0, 1, varint(1) + varint(0) + varint(1) + varint(0) + huge)
                .find("op name group size"),
            std::string::npos);
  EXPECT_NE(replaced(1, 3, huge + varint(0)).find("attribute count"), std::string::npos);
  EXPECT_NE(replaced(1, 3, varint(0) + huge).find("type count"), std::string::npos);
  EXPECT_NE(replaced(1, 3, varint(1) + varint(0) + varint(0) + huge).find("attribute group size"),
            std::string::npos);
  EXPECT_NE(replaced(1, 3, varint(1) + varint(0) + varint(0) + varint(1) + huge)
                .find("size of attribute 0: 549755813888 exceeds the "),
            std::string::npos);
  EXPECT_NE(replaced(2, 2, artifact.entry_section() + Bytes{0}).find("bytes too many"),
            std::string::npos);
  EXPECT_NE(replaced(1, 3, artifact.size_section() + Bytes{1}).find("bytes too many"),
            std::string::npos);
  EXPECT_NE(replaced(6, 0, huge + Bytes(8, 1)).find("string count"), std::string::npos);
  EXPECT_NE(replaced(6, 0, varint(1) + huge).find("size of string 0"), std::string::npos);
  EXPECT_NE(replaced(6, 0, varint(1) + varint(0) + Bytes{0}).find("size of string 0"),
            std::string::npos);
  EXPECT_NE(replaced(6, 0, varint(1) + varint(1) + Bytes{'x'}).find("no terminating NUL"),
            std::string::npos);
  EXPECT_NE(replaced(6, 0, artifact.string_section() + Bytes{0}).find("sizes add up"),
            std::string::npos);
  EXPECT_NE(replaced(7, 8, huge).find("property count"), std::string::npos);
  EXPECT_NE(replaced(7, 8, varint(1) + huge).find("property size"), std::string::npos);
  EXPECT_NE(replaced(7, 8, artifact.property_section() + Bytes{1}).find("bytes too many"),
            std::string::npos);
}

TEST(Refusals, IndicesOutOfRange) {
  expect_refused({
      {"dialect name", [](Artifact& a) { a.dialects[0] = 99; }, "dialect name: index 99 out of 9"},
      {"op dialect", [](Artifact& a) { a.ops[1].first = 9; }, "op name dialect: index 9 out of 3"},
      {"op string", [](Artifact& a) { a.ops[1].second = 99; }, "op name: index 99 out of 9"},
      {"entry dialect", [](Artifact& a) { a.attrs[0].dialect = 9; },
       "attribute group dialect: index 9 out of 3"},
      {"string", [](Artifact& a) { a.attrs[3].data = varint(14) + varint(99); },
       "attribute 3: string: index 99 out of 9"},
      {"type in attribute", [](Artifact& a) { a.attrs[2].data = varint(17) + varint(99); },
       "attribute 2: type: index 99 out of 3"},
      {"type in type", [](Artifact& a) { a.types[0].data.back() = varint(99)[0]; },
       "element type: index 99 out of 3"},
      {"attribute in property", [](Artifact& a) { a.properties[1] = varint(99); },
       "op vhlo.func_v1: arg_attrs: index 99 out of 5"},
      {"op name", [](Artifact& a) { a.body[0][0] = varint(99)[0]; }, "op name: index 99 out of 4"},
      {"location", [](Artifact& a) { a.body[0][2] = varint(99)[0]; },
       "op vhlo.add_v1: location: index 99 out of 5"},
      {"property", [](Artifact& a) { a.insert_op(kAdd, 99); }, "properties: index 99 out of 2"},
      {"result type", [](Artifact& a) { a.body[0][4] = varint(99)[0]; },
       "result type: index 99 out of 3"},
      {"operand", [](Artifact& a) { a.body[0][6] = varint(99)[0]; },
       "operand 0: index 99 out of 2"},
      {"argument type", [](Artifact& a) { a.arguments[1] = varint(99 << 1 & 0x7f)[0]; },
       "type of argument 0: index"},
  });
}

TEST(Refusals, AttributesAndTypes) {
  expect_refused({
      {"vhlo attribute", [](Artifact& a) { a.attrs[3].data = varint(99); },
       "vhlo attribute code: unknown code 99"},
      {"builtin attribute",
       [](Artifact& a) {
         a.attrs[3] = {kBuiltin, varint(99)};
       },
       "builtin attribute code: unknown code 99"},
      {"sdy attribute",
       [](Artifact& a) {
         a.attrs[3] = {kSdy, varint(99)};
       },
       "sdy attribute code: unknown code 99"},
      {"vhlo type", [](Artifact& a) { a.types[2].data = varint(99); },
       "vhlo type code: unknown code 99"},
      {"builtin type",
       [](Artifact& a) {
         a.types[2] = {kBuiltin, varint(99)};
       },
       "builtin type code: unsupported code 99"},
      {"sdy type", [](Artifact& a) { a.types[2].dialect = kSdy; }, "no types known of dialect"},
      {"enum", [](Artifact& a) { a.attrs[3].data = varint(3) + varint(6); },
       "comparison direction: value 6 outside 0..5"},
      {"enum without 0", [](Artifact& a) { a.attrs[3].data = varint(13) + varint(0); },
       "RNG distribution: value 0 outside 1..2"},
      {"boolean", [](Artifact& a) { a.attrs[3].data = varint(2) + varint(2); }, "boolean"},
      {"trailing bytes", [](Artifact& a) { a.attrs[3].data.push_back(0); }, "1 bytes too many"},
      {"trailing type bytes", [](Artifact& a) { a.types[2].data.push_back(0); },
       "1 bytes too many"},
      {"truncated entry", [](Artifact& a) { a.attrs[3].data.pop_back(); }, "string: truncated"},
      {"location as attribute", [](Artifact& a) { a.properties[1][0] = varint(0)[0]; },
       "location (code 15) where an attribute is expected"},
      {"attribute as location", [](Artifact& a) { a.body[0][2] = varint(3)[0]; },
       "location: attribute of dialect \"vhlo\""},
      {"wrong kind", [](Artifact& a) { a.properties[1][3] = varint(1)[0]; },
       "attribute 1 (sym_name): not a string"},
      {"element as value", [](Artifact& a) { a.body[0][4] = varint(2)[0]; },
       "where the type of a value is expected"},
      {"function as value", [](Artifact& a) { a.body[0][4] = varint(1)[0]; },
       "where the type of a value is expected"},
      {"tensor of tensor",
       [](Artifact& a) {
         a.types[2].data = varint(20) + varint(0) + varint(3);
         a.type({kVhlo, varint(4)});
       },
       "is not an element type"},
      {"attribute as text",
       [](Artifact& a) {
         a.attrs[3] = {kVhlo, {'x', 0}, false};
       },
       "(sym_name): not a string"},
      {"bounds",
       [](Artifact& a) {
         a.types[0].data = varint(21) + varint(3) + varint(1) + svarint(2) + varint(2);
       },
       "tensor encoding: not a list of bounds"},
      {"complex of int",
       [](Artifact& a) {
         a.type({kVhlo, varint(13)});
         a.types[2].data = varint(1) + varint(3);
       },
       "is not f32 or f64"},
      {"wide integer",
       [](Artifact& a) {
         a.types[2] = {kBuiltin, varint(0) + varint(24 << 2)};
       },
       "integer type: width 24"},
  });
}

TEST(Refusals, Shapes) {
  const auto shaped = [](const Bytes& dims) {
    return [dims](Artifact& a) { a.types[0].data = varint(20) + dims + varint(2); };
  };
  Bytes deep = varint(65);
  for (int i = 0; i < 65; ++i) deep += svarint(1);
  expect_refused({
      {"negative", shaped(varint(1) + svarint(-2)), "dimensions: negative dimension -2"},
      {"too large", shaped(varint(2) + svarint(int64_t{1} << 40) + svarint(int64_t{1} << 40)),
       "more bytes than 2^63"},
      {"too large but empty",
       shaped(varint(3) + svarint(int64_t{1} << 40) + svarint(int64_t{1} << 40) + svarint(0)),
       "more bytes than 2^63"},
      {"rank", shaped(deep), "dimensions: rank 65 above 64"},
      {"count", shaped(varint(uint64_t{1} << 40)), "dimensions: count 1099511627776 above 2^32"},
  });
}

TEST(Refusals, CyclesAndBombs) {
  const auto array_of = [](const std::vector<uint64_t>& items) {
    Bytes out = varint(1) + varint(items.size());
    for (uint64_t item : items) out += varint(item);
    return testing::Entry{kVhlo, out};
  };
  const auto chain = [&](uint64_t length, bool twice) {
    return [=](Artifact& a) {
      const uint64_t first = a.attrs.size();
      for (uint64_t i = 0; i < length; ++i) {
        const uint64_t next = i + 1 < length ? first + i + 1 : 1;
        a.attrs.push_back(
            array_of(twice ? std::vector<uint64_t>{next, next} : std::vector<uint64_t>{next}));
      }
      a.properties[1] = varint(first) + varint(2) + varint(1) + varint(3) + varint(4);
    };
  };
  expect_refused({
      {"array in itself", [&](Artifact& a) { a.attrs[1] = array_of({1}); },
       "attribute 1: contains itself"},
      {"type in itself", [](Artifact& a) { a.types[0].data = varint(23) + varint(1) + varint(0); },
       "type 0: contains itself"},
      {"type through attribute",
       [](Artifact& a) {
         const uint64_t attr = a.attr({kVhlo, varint(17) + varint(0)});
         a.types[0].data = varint(21) + varint(attr) + varint(0) + varint(2);
       },
       "contains itself"},
      {"location in itself",
       [](Artifact& a) { a.attrs[0].data = varint(10) + varint(0) + varint(0); },
       "location contains itself"},
      {"deep array", chain(100'000, false), "nested too deep"},
      {"doubling array", chain(60, true), "grow beyond what its size allows"},
      {"doubling tuple",
       [](Artifact& a) {
         const uint64_t first = a.types.size();
         for (uint64_t i = 0; i < 50; ++i) {
           const uint64_t next = i + 1 < 50 ? first + i + 1 : 0;
           a.types.push_back({kVhlo, varint(23) + varint(2) + varint(next) + varint(next)});
         }
         a.body[0][4] = varint(first)[0];
       },
       "grow beyond what its size allows"},
  });
}

TEST(Refusals, Operations) {
  const auto unknown = [](uint64_t dialect, const char* name) {
    return [=](Artifact& a) {
      const uint64_t op = a.op(dialect, name);
      a.insert_op(op, 0);
    };
  };
  expect_refused({
      {"future op", unknown(kVhlo, "constant_v99"),
       "op name: unknown op \"vhlo.constant_v99\" in an artifact of \"StableHLO_v1.16.0\""},
      {"retired op", unknown(kVhlo, "trace_v1"), "unknown op \"vhlo.trace_v1\""},
      {"other dialect", unknown(kSdy, "all_gather"), "unknown op \"sdy.all_gather\""},
      {"plain dialect", unknown(kBuiltin, "unregistered"), "unknown op \"builtin.unregistered\""},
      {"mask", [](Artifact& a) { a.body[0][1] = 0x86; }, "op mask: 134 in bytecode version 6"},
      {"successors", [](Artifact& a) { a.body[1][1] = 0x0C; }, "successors"},
      {"undefined value", [](Artifact& a) { a.body[0][6] = varint(1)[0]; },
       "operand 0: value 1 is not defined"},
      {"too many values", [](Artifact& a) { a.values = 1; },
       "defines more values than it announces"},
      {"too few values", [](Artifact& a) { a.values = 3; }, "value count: 3 announced, 2 defined"},
      {"huge value count", [](Artifact& a) { a.values = 1 << 20; },
       "value count: count 1048576 does not fit in "},
      {"too few attributes", [](Artifact& a) { a.properties[1].pop_back(); },
       "sym_visibility: truncated"},
      {"too many attributes", [](Artifact& a) { a.properties[1].push_back(0x03); },
       "end of properties: 1 bytes too many"},
      {"attributes of an op without any",
       [](Artifact& a) {
         a.body[0].insert(a.body[0].begin() + 3, varint(0)[0]);
         a.body[0][1] = 0x46;
       },
       "end of properties: 2 bytes too many"},
      {"missing attribute",
       [](Artifact& a) {
         const uint64_t op = a.op(kVhlo, "cholesky_v1");
         a.body[0] = varint(op) + Bytes{0x06} + varint(0) + Bytes{0x03, 0x01, 0x03, 0x01};
       },
       "op vhlo.cholesky_v1: lower: attribute missing"},
      {"dictionary",
       [](Artifact& a) {
         a.body[0] =
             varint(kAdd) + Bytes{0x07} + varint(0) + varint(1) + Bytes{0x03, 0x01, 0x05, 1, 1};
       },
       "not a builtin dictionary"},
      {"function in a function",
       [](Artifact& a) {
         a.body[0] = varint(testing::kFunc) + Bytes{0x50} + varint(0) + varint(1) +
                     varint(1 << 1 | 1) + section(4, varint(0));
       },
       "vhlo.func_v1 inside a function"},
      {"op in the module",
       [](Artifact& a) { a.more_module_ops.push_back(varint(kReturn) + Bytes{0x00} + varint(0)); },
       "module: holds a vhlo.return_v1"},
  });
}

// What is no program though it can be read, by the verifier.
TEST(Refusals, Programs) {
  const std::vector<Case> cases = {
      {"operand count",
       [](Artifact& a) {
         a.body[0] = varint(kAdd) + Bytes{0x06} + varint(0) + Bytes{0x03, 0x01, 0x03, 0x01};
       },
       "needs 2 operands, has 1"},
      {"no return", [](Artifact& a) { a.body.pop_back(); },
       "@main: has a region without a terminator"},
      {"return in the middle", [](Artifact& a) { a.body.push_back(a.body[1]); },
       "ops follow the terminator"},
      {"not a function type", [](Artifact& a) { a.attrs[2].data[1] = varint(0)[0]; },
       "has no function type"},
      {"no main", [](Artifact& a) { a.strings[7] = "niam"; }, "has no function @main with a body"},
      {"argument type",
       [](Artifact& a) {
         const uint64_t other = a.type({kVhlo, varint(20) + varint(0) + varint(2)});
         a.types[1].data = varint(8) + varint(1) + varint(other) + varint(1) + varint(0);
       },
       "argument 0 must be f32[], is f32[2]"},
      {"results",
       [](Artifact& a) { a.types[1].data = varint(8) + varint(1) + varint(0) + varint(0); },
       "has 0 results, returns 1"},
      {"argument attributes",
       [](Artifact& a) {
         const uint64_t dict = a.attr({kVhlo, varint(6) + varint(0)});
         const uint64_t list = a.attr({kVhlo, varint(1) + varint(2) + varint(dict) + varint(dict)});
         a.properties[1] = varint(list) + varint(2) + varint(1) + varint(3) + varint(4);
       },
       "has attributes for another number of arguments"},
      {"twice",
       [](Artifact& a) {
         a.more_module_ops.push_back(varint(testing::kFunc) + Bytes{0x50} + varint(0) + varint(1) +
                                     varint(1 << 1 | 1) + section(4, varint(0)));
       },
       "function @main: is defined twice"},
      {"calls itself",
       [](Artifact& a) {
         const uint64_t call = a.op(kVhlo, "call_v1");
         a.insert_op(call, a.property(varint(3)));
       },
       "calls itself"},
      {"calls nobody",
       [](Artifact& a) {
         const uint64_t call = a.op(kVhlo, "call_v1");
         a.insert_op(call, a.property(varint(4)));
       },
       "calls @public, which does not exist"},
  };
  for (const Case& test : cases) {
    Artifact artifact;
    test.damage(artifact);
    auto module = testing::read(artifact);
    ASSERT_TRUE(module.ok()) << test.name << ": " << module.error().text;
    const Status verified = ir::verify(**module);
    ASSERT_FALSE(verified.ok()) << test.name;
    EXPECT_NE(verified.error().text.find(test.message), std::string::npos)
        << test.name << ": " << verified.error().text;
  }
}

TEST(Refusals, Functions) {
  expect_refused({
      {"two bodies",
       [](Artifact& a) {
         a.more_module_ops.push_back(varint(testing::kFunc) + Bytes{0x50} + varint(0) + varint(1) +
                                     varint(2 << 1 | 1) + section(4, varint(0) + varint(0)));
       },
       "region count: 2 is not 1"},
      {"deep regions",
       [](Artifact& a) {
         const uint64_t op = a.op(kVhlo, "case_v1");
         Bytes inner = varint(kReturn) + Bytes{0x00} + varint(0);
         for (int i = 0; i < 300; ++i) {
           inner = varint(op) + Bytes{0x14} + varint(0) + varint(1) + varint(0) + varint(1 << 1) +
                   varint(1) + varint(0) + varint((i == 0 ? 1 : 2) << 1) + inner;
           inner += (varint(kReturn) + Bytes{0x00} + varint(0));
         }
         a.body.insert(a.body.begin(), inner);
       },
       "region: nested too deep"},
  });
}

}  // namespace
}  // namespace jaxmps::bytecode
