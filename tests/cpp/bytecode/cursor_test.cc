#include "bytecode/cursor.h"

#include <gtest/gtest.h>

#include <limits>

#include "bytecode/artifact_builder.h"

namespace jaxmps::bytecode {
namespace {

using testing::Bytes;
using testing::operator+;
using testing::operator+=;

uint64_t decode(const Bytes& bytes) {
  Cursor in(bytes, 0, bytes.size());
  auto value = in.varint("x");
  EXPECT_TRUE(value.ok() && in.done());
  return value.ok() ? *value : 0;
}

int64_t decode_signed(const Bytes& bytes) {
  Cursor in(bytes, 0, bytes.size());
  auto value = in.svarint("x");
  EXPECT_TRUE(value.ok() && in.done());
  return value.ok() ? *value : 0;
}

TEST(Cursor, DecodesVarints) {
  EXPECT_EQ(decode({0x01}), 0u);
  EXPECT_EQ(decode({0x03}), 1u);
  EXPECT_EQ(decode({0xff}), 127u);
  EXPECT_EQ(decode({0x02, 0x02}), 128u);
  EXPECT_EQ(decode({0xb2, 0x04}), 300u);
  EXPECT_EQ(decode({0xfe, 0xff}), 16383u);
  EXPECT_EQ(decode({0x04, 0x00, 0x02}), 16384u);
  EXPECT_EQ(decode({0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), (uint64_t{1} << 56) - 1);
  EXPECT_EQ(decode({0x00, 0, 0, 0, 0, 0, 0, 0, 0x01}), uint64_t{1} << 56);
  EXPECT_EQ(decode({0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), ~uint64_t{0});
}

TEST(Cursor, DecodesEveryLengthAndLongForms) {
  for (int bits = 0; bits < 64; ++bits) {
    const uint64_t value = (uint64_t{1} << bits) | 1;
    EXPECT_EQ(decode(testing::varint(value)), value);
  }
  EXPECT_EQ(decode({0x06, 0x00}), 1u);                       // two bytes for 1
  EXPECT_EQ(decode({0x00, 0x05, 0, 0, 0, 0, 0, 0, 0}), 5u);  // nine bytes for 5
}

TEST(Cursor, DecodesSignedVarints) {
  EXPECT_EQ(decode_signed({0x01}), 0);
  EXPECT_EQ(decode_signed({0x03}), -1);
  EXPECT_EQ(decode_signed({0x05}), 1);
  EXPECT_EQ(decode_signed({0xfd}), 63);
  EXPECT_EQ(decode_signed({0xff}), -64);
  EXPECT_EQ(decode_signed({0x02, 0x02}), 64);
  for (int64_t value : {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(decode_signed(testing::svarint(value)), value);
  }
}

TEST(Cursor, RefusesTruncatedVarints) {
  for (int bits : {0, 8, 20, 30, 40, 50, 55, 60}) {
    const Bytes whole = testing::varint(uint64_t{1} << bits);
    for (size_t size = 0; size < whole.size(); ++size) {
      const Bytes part(whole.begin(), whole.begin() + static_cast<long>(size));
      Cursor in(part, 0, part.size());
      auto value = in.varint("size of it");
      ASSERT_FALSE(value.ok());
      EXPECT_EQ(value.error().text, "0x0: size of it: truncated");
    }
  }
}

TEST(Cursor, RefusesCountsThatCannotBe) {
  for (uint64_t count : {uint64_t{6}, uint64_t{1} << 40, ~uint64_t{0}}) {
    const Bytes bytes = testing::varint(count) + Bytes(5, 0x01);
    Cursor in(bytes, 0, bytes.size());
    EXPECT_FALSE(in.count("count").ok()) << count;
  }
  const Bytes six = testing::varint(6) + Bytes(5, 0x01);
  EXPECT_EQ(Cursor(six, 0, six.size()).count("it").error().text,
            "0x0: it: count 6 does not fit in 5 bytes");
  const Bytes bytes = testing::varint(3) + Bytes(5, 0x01);
  Cursor in(bytes, 0, bytes.size());
  EXPECT_FALSE(Cursor(in).count("count", 2).ok());
  EXPECT_TRUE(in.count("count", 1).ok());
}

TEST(Cursor, NamesFieldAndOffset) {
  const Bytes bytes = {0x01, 0x01, 0x19};
  Cursor in(bytes, 2, bytes.size());
  auto index = in.index("dimension", 9);
  ASSERT_FALSE(index.ok());
  EXPECT_EQ(index.error().text, "0x2: dimension: index 12 out of 9");
  EXPECT_EQ(within(index.error(), "attribute 7").text,
            "0x2: attribute 7: dimension: index 12 out of 9");
}

TEST(Cursor, ReadsAlignedSections) {
  // At offset 3 after id, length and alignment (8): five padding bytes.
  const Bytes good = {0x84, 0x05, 0x11, 0xCB, 0xCB, 0xCB, 0xCB, 0xCB, 0xAA, 0xBB};
  Cursor in(good, 0, good.size());
  uint8_t id = 0;
  auto body = in.section("section", &id);
  ASSERT_TRUE(body.ok());
  EXPECT_EQ(id, 4);
  EXPECT_EQ(body->offset(), 8u);
  EXPECT_EQ(body->left(), 2u);
  EXPECT_TRUE(in.done());
  for (size_t at : {size_t{3}, size_t{7}}) {
    Bytes bad = good;
    bad[at] = 0x00;
    const auto section = Cursor(bad, 0, bad.size()).section("section", &id);
    ASSERT_FALSE(section.ok());
    EXPECT_NE(section.error().text.find("section: padding byte 0 is not 0xCB"), std::string::npos);
  }
  for (uint64_t alignment : {uint64_t{0}, uint64_t{3}, uint64_t{8192}, ~uint64_t{0}}) {
    const Bytes bad = Bytes{0x84, 0x05} + testing::varint(alignment) + Bytes(64, 0xCB);
    EXPECT_FALSE(Cursor(bad, 0, bad.size()).section("section", &id).ok()) << alignment;
  }
  const Bytes three = Bytes{0x84, 0x05} + testing::varint(3) + Bytes(64, 0xCB);
  EXPECT_EQ(Cursor(three, 0, three.size()).section("section", &id).error().text,
            "0x2: section: alignment 3 is not a power of two in 1..4096");
}

}  // namespace
}  // namespace jaxmps::bytecode
