"""Writes a text stub of macOS's C++ runtime that holds just the symbols some object files ask for.

Usage: libcxx_stub.py <stub.tbd> <object files>. Linking against the stub binds a cross-built plugin
to the C++ runtime of the system, which MLX uses too: only then do exceptions, standard containers
and streams cross the border between the two libraries.
"""

import pathlib
import re
import sys

import macho

_RUNTIME = re.compile(
    r"__Z(N[KVr]*St|NSt|TI[NSPK]*St|TI[a-z]$|TIN10__cxxabiv1|TVN10__cxxabiv1|TV[NS]*St|TS[NS]*St|TT|St|n[wa]|d[la])"
    r"|__ZT[ISV]N10__cxxabiv1|__ZT[ISVT][NK]*St|___cxa_|___gxx_personality|___dynamic_cast"
)
# Part of libSystem, not of the C++ runtime.
_SYSTEM = {"___cxa_atexit", "___cxa_finalize", "___cxa_thread_atexit"}


def main(stub: str, objects: list[str]) -> None:
    defined, undefined = set(), set()
    for path in objects:
        symbols = macho.symbols(pathlib.Path(path).read_bytes())
        defined |= symbols.defined
        undefined |= symbols.undefined
    wanted = sorted(s for s in undefined - defined - _SYSTEM if _RUNTIME.match(s))
    names = ",\n      ".join(f"'{name}'" for name in wanted)
    pathlib.Path(stub).write_text(
        "--- !tapi-tbd\ntbd-version: 4\ntargets: [ arm64-macos ]\n"
        "install-name: '/usr/lib/libc++.1.dylib'\ncurrent-version: 1\ncompatibility-version: 1\n"
        f"exports:\n  - targets: [ arm64-macos ]\n    symbols: [\n      {names} ]\n...\n"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
