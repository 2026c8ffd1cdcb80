"""Writes a text stub of macOS's C++ runtime that holds just the symbols some object files ask for.

Usage: libcxx_stub.py <stub.tbd> <object files>. Linking against the stub binds a cross-built plugin
to the C++ runtime of the system, which MLX uses too: only then do exceptions, standard containers
and streams cross the border between the two libraries.
"""

import pathlib
import re
import sys

import lief

_RUNTIME = re.compile(
    r"__Z(N[KVr]*St|NSt|TI[NSPK]*St|TI[a-z]$|TIN10__cxxabiv1|TVN10__cxxabiv1|TV[NS]*St|TS[NS]*St|TT|St|n[wa]|d[la])"
    r"|__ZT[ISV]N10__cxxabiv1|__ZT[ISVT][NK]*St|___cxa_|___gxx_personality|___dynamic_cast"
)
_DEBUGGER, _PLACE, _EXTERNAL = 0xE0, 0x0E, 0x01  # N_STAB, N_TYPE, N_EXT of <mach-o/nlist.h>
# Part of libSystem, not of the C++ runtime.
_SYSTEM = {"___cxa_atexit", "___cxa_finalize", "___cxa_thread_atexit"}


def main(stub: str, objects: list[str]) -> None:
    defined, undefined = set(), set()
    for path in objects:
        binaries = lief.MachO.parse(path)  # must live as long as its symbols
        for symbol in binaries.at(0).symbols:
            if symbol.raw_type & _EXTERNAL and not symbol.raw_type & _DEBUGGER:
                (defined if symbol.raw_type & _PLACE else undefined).add(symbol.name)
    wanted = sorted(s for s in undefined - defined - _SYSTEM if _RUNTIME.match(s))
    names = ",\n      ".join(f"'{name}'" for name in wanted)
    pathlib.Path(stub).write_text(
        "--- !tapi-tbd\ntbd-version: 4\ntargets: [ arm64-macos ]\n"
        "install-name: '/usr/lib/libc++.1.dylib'\ncurrent-version: 1\ncompatibility-version: 1\n"
        f"exports:\n  - targets: [ arm64-macos ]\n    symbols: [\n      {names} ]\n...\n"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
