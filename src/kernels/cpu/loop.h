// JAXMPS_LOOP before a loop: its rounds may run at once, whatever its pointers may share.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
#define JAXMPS_LOOP _Pragma("GCC ivdep")
#else
// Some types have no vector form; that is known.
#pragma clang diagnostic ignored "-Wpass-failed"
#define JAXMPS_LOOP _Pragma("clang loop vectorize(assume_safety)")
#endif
