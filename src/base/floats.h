// The processor's floating-point mode. XLA's threads flush subnormal numbers to zero, threads
// inherit the mode of those that start them, and results must not depend on who called us.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace jaxmps {

// While it lives, this thread rounds to nearest and keeps subnormal numbers.
class PlainFloats {
 public:
  PlainFloats() : saved_(read()) {
    if (saved_ & kModes) write(saved_ & ~kModes);
  }
  ~PlainFloats() {
    if (saved_ & kModes) write(saved_);
  }
  PlainFloats(const PlainFloats&) = delete;
  PlainFloats& operator=(const PlainFloats&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr uint64_t kModes = 0xE040;  // of MXCSR: flush, rounding, inputs as zero
  static uint64_t read() { return _mm_getcsr(); }
  static void write(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
  static constexpr uint64_t kModes = 0x1C80000;  // of FPCR: FZ16, rounding, FZ
  static uint64_t read() {
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void write(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
  static constexpr uint64_t kModes = 0;
  static uint64_t read() { return 0; }
  static void write(uint64_t) {}
#endif
  const uint64_t saved_;
};

}  // namespace jaxmps
