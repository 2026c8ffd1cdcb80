#include "pjrt/faults.h"

#include <atomic>

#if defined(__linux__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define JAXMPS_FAULTS 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#undef JAXMPS_FAULTS
#endif
#endif

namespace jaxmps::faults {
namespace {

std::atomic<Kind> armed{Kind::none};
std::atomic<int64_t> calls{0}, first{0};
std::atomic<bool> persists{false};
std::atomic<int64_t> blocks{0};
thread_local int exempt = 0;

[[maybe_unused]] bool fails(Kind kind) {
  if (armed.load(std::memory_order_relaxed) != kind || exempt > 0) return false;
  const int64_t n = ++calls;
  return n == first || (persists && n > first);
}

}  // namespace

void arm(Kind kind, int64_t n, bool persist) {
  calls = 0;
  first = n;
  persists = persist;
  armed = kind;
}

int64_t disarm() {
  armed = Kind::none;
  return calls;
}

int64_t live_blocks() { return blocks; }

Exempt::Exempt() { ++exempt; }
Exempt::~Exempt() { --exempt; }
Exposed::Exposed() { --exempt; }
Exposed::~Exposed() { ++exempt; }

}  // namespace jaxmps::faults

#ifndef JAXMPS_FAULTS

bool jaxmps::faults::supported() { return false; }

#else

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>

bool jaxmps::faults::supported() { return true; }

namespace faults = jaxmps::faults;

// Libraries call these too.
#pragma GCC visibility push(default)
extern "C" {

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

static void* counted(void* block) {
  if (block) ++faults::blocks;
  return block;
}

static bool out_of_memory() {
  if (!faults::fails(faults::Kind::memory)) return false;
  errno = ENOMEM;
  return true;
}

void* malloc(size_t size) { return out_of_memory() ? nullptr : counted(__libc_malloc(size)); }

void* calloc(size_t count, size_t size) {
  return out_of_memory() ? nullptr : counted(__libc_calloc(count, size));
}

void* realloc(void* old, size_t size) {
  if (out_of_memory()) return nullptr;
  void* block = __libc_realloc(old, size);
  if (!old && block) ++faults::blocks;
  if (old && size == 0) --faults::blocks;
  return block;
}

void* memalign(size_t alignment, size_t size) {
  return out_of_memory() ? nullptr : counted(__libc_memalign(alignment, size));
}

void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void** block, size_t alignment, size_t size) {
  void* made = memalign(alignment, size);
  if (made) *block = made;
  return made ? 0 : ENOMEM;
}

void free(void* block) {
  if (block) --faults::blocks;
  __libc_free(block);
}

#define NEXT(function) reinterpret_cast<decltype(&function)>(dlsym(RTLD_NEXT, #function))

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*work)(void*),
                   void* argument) {
  static const auto next = NEXT(pthread_create);
  return faults::fails(faults::Kind::thread) ? EAGAIN : next(thread, attributes, work, argument);
}

void* dlopen(const char* path, int flags) {
  static const auto next = NEXT(dlopen);
  return faults::fails(faults::Kind::library) ? nullptr : next(path, flags);
}

FILE* fopen(const char* path, const char* mode) {
  static const auto next = NEXT(fopen);
  if (!faults::fails(faults::Kind::file)) return next(path, mode);
  errno = EMFILE;
  return nullptr;
}

FILE* fopen64(const char* path, const char* mode) { return fopen(path, mode); }

int open(const char* path, int flags, ...) {
  static const auto next = NEXT(open);
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) ? va_arg(more, mode_t) : 0;
  va_end(more);
  if (!faults::fails(faults::Kind::file)) return next(path, flags, mode);
  errno = EMFILE;
  return -1;
}

// Not of the streams that messages are written to.
static bool is_broken(int file) {
  if (file <= STDERR_FILENO || !faults::fails(faults::Kind::file)) return false;
  errno = EIO;
  return true;
}

ssize_t read(int file, void* to, size_t size) {
  static const auto next = NEXT(read);
  return is_broken(file) ? -1 : next(file, to, size);
}

ssize_t write(int file, const void* from, size_t size) {
  static const auto next = NEXT(write);
  return is_broken(file) ? -1 : next(file, from, size);
}

ssize_t writev(int file, const iovec* parts, int count) {
  static const auto next = NEXT(writev);
  return is_broken(file) ? -1 : next(file, parts, count);
}

}  // extern "C"
#pragma GCC visibility pop

#endif
