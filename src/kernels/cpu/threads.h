// The process-wide pool of worker threads behind every CPU kernel.
//
// Owns its threads for the life of the process; they are started by the first parallel call, and
// again in a child after fork(). parallel_for may be called from any number of threads at once;
// a call made from inside a chunk runs on the calling thread alone.

#ifndef JAXMPS_KERNELS_CPU_THREADS_H_
#define JAXMPS_KERNELS_CPU_THREADS_H_

#include <cstdint>
#include <memory>
#include <type_traits>

namespace jaxmps::cpu {

// A reference to a callable; the callable must outlive it. Never allocates.
template <typename Signature>
class FunctionRef;

template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F, typename = std::enable_if_t<!std::is_same_v<std::decay_t<F>, FunctionRef>>>
  FunctionRef(F&& f)  // NOLINT(google-explicit-constructor)
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(static_cast<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, static_cast<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// Runs body(begin, end) over [0, n) in chunks of `grain` (the last may be shorter) and returns when
// all are done. The chunks depend on n and grain only, never on the number of threads, so a kernel
// that is deterministic per chunk is deterministic. Throws std::bad_alloc when a chunk did;
// chunks not yet begun are then skipped.
void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t begin, int64_t end)> body);

// The number of threads that work on one call, the caller included.
int thread_count();

// Replaces the pool by one of `count` threads; 0 restores the default, which is the environment
// variable JAX_MPS_CPU_THREADS or else the number of cores. No parallel_for may be running.
void set_thread_count(int count);

}  // namespace jaxmps::cpu

#endif  // JAXMPS_KERNELS_CPU_THREADS_H_
