// What clients send as bytes: compile options, device assignments; and layouts and strided copies.
#include <random>

#include "kernels/cpu/strided_copy.h"
#include "pjrt/compile_options.h"
#include "pjrt/layout.h"
#include "pjrt/proto.h"
#include "pjrt/support.h"

namespace jaxmps::pjrt::test {
namespace {

std::string build_options(int64_t replicas, int64_t partitions,
                          const std::vector<std::vector<int64_t>>& assignment = {}) {
  ProtoWriter build;
  build.number(1, -1);
  build.number(4, replicas);
  build.number(5, partitions);
  if (!assignment.empty()) build.bytes(9, serialize_device_assignment(assignment));
  build.packed(12, {1, 0, 1});
  build.number(18, 1);
  build.number(18, 0);
  return build.take();
}

std::string options(const std::string& build, const std::string& name = {}) {
  ProtoWriter writer;
  writer.bytes(3, build);
  writer.number(5, -1);
  if (!name.empty()) {
    ProtoWriter entry;
    entry.bytes(1, name);
    entry.bytes(2, "");
    writer.bytes(7, entry.take());
  }
  return writer.take();
}

TEST(CompileOptions, Decodes) {
  auto parsed = parse_compile_options(options(build_options(1, 4, {{3}, {2}, {1}, {0}})));
  ASSERT_TRUE(parsed.ok()) << parsed.error().text;
  EXPECT_EQ(parsed->num_devices(), 4);
  EXPECT_EQ(parsed->device_ordinal, -1);
  EXPECT_EQ(parsed->device_assignment[1][0], 2);
  EXPECT_EQ(parsed->choose_output_shardings, (std::vector<int64_t>{1, 0, 1}));
  EXPECT_EQ(parsed->choose_parameter_shardings, (std::vector<int64_t>{1, 0}));
}

TEST(CompileOptions, EmptyMeansOneDevice) {
  auto parsed = parse_compile_options("");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->num_devices(), 1);
}

TEST(CompileOptions, UnknownNamesAreRefused) {
  auto refused = parse_compile_options(options(build_options(1, 1), "fast_please"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid_argument);
  EXPECT_NE(refused.error().text.find("No such compile option: 'fast_please'"), std::string::npos);
  EXPECT_TRUE(parse_compile_options(options(build_options(1, 1), "xla_dump_to")).ok());
}

TEST(CompileOptions, AssignmentMustFit) {
  EXPECT_EQ(parse_compile_options(options(build_options(2, 1, {{0}}))).error().text,
            "compile options: the device assignment is not of 2 replicas by 1 partitions");
  EXPECT_EQ(parse_compile_options(options(build_options(-3, 1))).error().text,
            "compile options: -3 replicas and 1 partitions; both must be 1 or more");
  EXPECT_FALSE(parse_compile_options(options(build_options(int64_t{1} << 40, 1))).ok());
}

TEST(CompileOptions, WhatIsWrongIsSaid) {
  const auto says = [](std::string_view bytes, std::string_view text) {
    const auto refused = parse_compile_options(bytes);
    ASSERT_FALSE(refused.ok()) << text;
    EXPECT_EQ(refused.error().text, text);
  };
  says("\x18", "compile options: byte 1: the message ends inside a number");
  says("\x1d\x01", "compile options: byte 1: the message ends inside a number");
  says("\x1a\x05", "compile options: byte 2: a field is longer than the message");
  says(std::string_view("\0", 1), "compile options: byte 1: a field number is out of range");
  says("\x1b", "compile options: byte 1: wire type 3 does not exist");
  says(std::string(11, '\xff'), "compile options: byte 10: a number is longer than ten bytes");
  says("\x18\x01", "compile options: field 3 has wire type 0, which it cannot have");
  says("\x1a\x03\x62\x01\xff",
       "compile options: executable_build_options: byte 1: the message ends inside a number");
  ProtoWriter entry, value, writer;
  value.bytes(1, "maybe");
  entry.bytes(1, "xla_cpu_enable_fast_math");
  entry.bytes(2, value.take());
  writer.bytes(7, entry.take());
  says(writer.take(),
       "While setting option xla_cpu_enable_fast_math, 'maybe' is not a valid bool value.");
}

TEST(CompileOptions, DamagedBytesAreErrorsOrOptions) {
  const std::string good = options(build_options(1, 2, {{0}, {1}}), "xla_dump_to");
  int refused = 0;
  for (size_t cut = 0; cut < good.size(); ++cut) {
    refused += !parse_compile_options(good.substr(0, cut)).ok();
  }
  EXPECT_GT(refused, 20);
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    bad[random() % bad.size()] = static_cast<char>(random());
    (void)parse_compile_options(bad);
  }
}

TEST(Layout, ReadsAndRefuses) {
  const ir::Type type(ir::DType::f32, {2, 3});
  const int64_t order[] = {0, 1}, twice[] = {1, 1}, strides[] = {4, 8}, gaps[] = {64, 8};
  PJRT_Buffer_MemoryLayout layout{};
  layout.struct_size = sizeof(layout);
  layout.type = PJRT_Buffer_MemoryLayout_Type_Tiled;
  layout.tiled = {sizeof(layout.tiled), nullptr, order, 2, nullptr, nullptr, 0};
  EXPECT_EQ(*read_layout(&layout, type), (MinorToMajor{0, 1}));
  EXPECT_EQ(print_layout(*read_layout(nullptr, type)), "{1,0}");
  layout.tiled.minor_to_major = twice;
  const auto said = [&] { return read_layout(&layout, type).error().text; };
  EXPECT_EQ(said(), "layout: minor_to_major [1, 1] is no permutation");
  layout.tiled.minor_to_major_size = 1;
  EXPECT_EQ(said(), "layout: minor_to_major has 1 entries for an array of rank 2");
  layout.tiled.num_tiles = 1;
  EXPECT_EQ(said(), "layout: tiles; only untiled layouts are kept");
  layout.type = PJRT_Buffer_MemoryLayout_Type_Strides;
  layout.strides = {sizeof(layout.strides), nullptr, strides, 2};
  EXPECT_EQ(*read_layout(&layout, type), (MinorToMajor{0, 1}));
  layout.strides.byte_strides = gaps;
  EXPECT_EQ(said(), "layout: byte strides [64, 8] leave gaps; only dense layouts are kept");
  layout.strides.num_byte_strides = 1;
  EXPECT_EQ(said(), "layout: 1 strides for an array of rank 2");
  layout.type = static_cast<PJRT_Buffer_MemoryLayout_Type>(9);
  EXPECT_EQ(said(), "layout: type 9 does not exist");
}

// Against the definition, with random shapes and strides of any sign.
TEST(Layout, StridedCopiesFollowTheDefinition) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const int64_t item = int64_t{1} << (random() % 5);
    ir::Dims dims(random() % 4);
    for (auto& dim : dims) dim = static_cast<int64_t>(random() % 4) + (random() % 9 != 0);
    MinorToMajor order = row_major(dims.size());
    std::shuffle(order.begin(), order.end(), random);
    // Records of arrays have strides that are no multiples of an element.
    ir::Dims src_strides(dims.size());
    int64_t size = item, base = round % 3;
    for (const int64_t dim : order) {
      src_strides[dim] = size;
      size = size * dims[dim] + (random() % 4 == 0);
    }
    for (size_t i = 0; i < dims.size(); ++i) {
      if (random() % 3 == 0 && dims[i] > 0) {
        base += src_strides[i] * (dims[i] - 1);
        src_strides[i] = -src_strides[i];
      } else if (random() % 5 == 0) {
        src_strides[i] = 0;
      }
    }
    std::shuffle(order.begin(), order.end(), random);
    const auto dst_strides = dense_strides(dims, order, item);
    const int64_t count = ir::element_count(dims);
    std::string src(base + size + 1, 0), dst(count * item + 1, '?'), expected = dst;
    for (char& c : src) c = static_cast<char>(random());
    ir::Dims index(dims.size());
    for (int64_t n = 0; n < count; ++n) {
      int64_t from = base, to = 0, rest = n;
      for (size_t i = dims.size(); i-- > 0; rest /= dims[i]) {
        from += rest % dims[i] * src_strides[i];
        to += rest % dims[i] * dst_strides[i];
      }
      expected.replace(to, item, src, from, item);
    }
    cpu::StridedCopy(dims, src_strides, dst_strides, item).copy(src.data() + base, dst.data());
    ASSERT_EQ(dst, expected) << "round " << round;
  }
}

}  // namespace
}  // namespace jaxmps::pjrt::test
