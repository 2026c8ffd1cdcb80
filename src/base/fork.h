// What a fork leaves of a process: the memory, but only the thread that forked. Locks that other
// threads held would stay locked in the child for ever, and whoever waited there would wait in
// vain. Locks registered here are held by the forking thread during the fork, so that what they
// guard is whole in the child; handlers then put right what the lost threads would have done.
// Register during the construction of an object that lives for ever. Thread-safe.
#pragma once

#include <functional>
#include <mutex>
#include <new>

namespace jaxmps {

// `mutex` must not be held when another registered one is locked.
void hold_over_fork(std::mutex& mutex);
// A new one that is, and lives for ever.
std::mutex& lasting_mutex();

// Runs `handler` in the child, on its only thread, with no lock held, in order of registration.
void after_fork_in_child(std::function<void()> handler);

// Whether this process is the child of a fork that found the plugin in use.
bool is_forked();

// Makes a mutex or condition variable new in the child. Its destructor is not run: it would wait
// for threads that exist no more.
template <typename T>
void renew(T& object) {
  new (&object) T;
}

}  // namespace jaxmps
