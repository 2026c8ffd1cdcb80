// Graphs store small floats as the scalar functions do.
#include "ops/small_types.h"

#include <gtest/gtest.h>

#include <bit>
#include <vector>

namespace jaxmps::ops {
namespace {

TEST(SmallTypes, GraphsRoundAsTheCodecDoes) {
  for (DType dtype : {DType::f8e5m2, DType::f8e4m3, DType::f8e3m4, DType::f8e4m3fn,
                      DType::f8e4m3b11fnuz, DType::f8e5m2fnuz, DType::f8e4m3fnuz, DType::f8e8m0fnu,
                      DType::f4e2m1fn, DType::f6e2m3fn, DType::f6e3m2fn}) {
    const ir::FloatFormat format = ir::float_format(dtype);
    std::vector<float> values;
    // All numbers, the ties between them and what is beside the ties; a few of every exponent.
    for (uint32_t code = 0; code < format.ones(); ++code) {
      const float low = ir::decode_float(code, format), high = ir::decode_float(code + 1, format);
      const float tie = low + (high - low) / 2;
      for (float x : {low, tie, std::nextafterf(tie, 0), std::nextafterf(tie, 1e30f)}) {
        values.insert(values.end(), {x, -x});
      }
    }
    for (uint32_t bits = 0; bits < 0xffffffffu - 0x3fffffu; bits += 0x3fffffu) {
      values.push_back(std::bit_cast<float>(bits));
    }
    mx::array codes = narrow(mx::array(values.begin(), {static_cast<int>(values.size())}), dtype);
    codes.eval();
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(codes.data<uint8_t>()[i], ir::encode_float(values[i], format))
          << ir::name(dtype) << " of " << values[i];
    }
  }
}

}  // namespace
}  // namespace jaxmps::ops
