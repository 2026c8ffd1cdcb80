// The codec of narrow floats as C++ (float_codec.def), inlined in each file. Pure functions; any
// thread.
#pragma once

#include "base/words.h"
#include "ir/float_format.h"

namespace jaxmps::ir {

#define FN static JAXMPS_INLINE
#define PORTABLE(...) __VA_ARGS__
#include "ir/float_codec.def"
#undef FN

FloatCodec codec_of(const FloatFormat& format);

}  // namespace jaxmps::ir
