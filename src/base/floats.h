// The processor's floating-point mode, which a thread inherits from the one that starts it: results
// must not depend on who called us.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace jaxmps {

// While one of these lives, its thread rounds to nearest.
class FloatScope {
 public:
  FloatScope(const FloatScope&) = delete;
  FloatScope& operator=(const FloatScope&) = delete;

 protected:
  explicit FloatScope(uint64_t mode) : saved_(read()), changes_((saved_ & kModes) != mode) {
    if (changes_) write((saved_ & ~kModes) | mode);
  }
  ~FloatScope() {
    if (changes_) write(saved_);
  }

#if defined(__x86_64__)
  static constexpr uint64_t kModes = 0xE040;  // of MXCSR: flush, rounding, inputs as zero
  static constexpr uint64_t kFlush = 0x8040;
  static uint64_t read() { return _mm_getcsr(); }
  static void write(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
  static constexpr uint64_t kModes = 0x1C80000;  // of FPCR: FZ16, rounding, FZ
  static constexpr uint64_t kFlush = 0x1000000;  // half numbers keep them, as on other processors
  static uint64_t read() {
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void write(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
  static constexpr uint64_t kModes = 0;
  static constexpr uint64_t kFlush = 0;
  static uint64_t read() { return 0; }
  static void write(uint64_t) {}
#endif

 private:
  const uint64_t saved_;
  const bool changes_;
};

// Arithmetic reads subnormal numbers as zero and makes none, as on XLA's CPU backend.
struct DeviceFloats : FloatScope {
  DeviceFloats() : FloatScope(kFlush) {}
};

// Subnormal numbers are kept, as Python and NumPy have them.
struct HostFloats : FloatScope {
  HostFloats() : FloatScope(0) {}
};

}  // namespace jaxmps
