"""Reads symbols of 64-bit little-endian Mach-O files: what they define, lack, export and load."""

import dataclasses
import struct

_SYMTAB, _DYLD_INFO, _DYLD_INFO_ONLY = 0x2, 0x22, 0x80000022
_EXPORTS_TRIE, _LOAD_DYLIB, _RPATH = 0x80000033, 0xC, 0x8000001C


@dataclasses.dataclass
class Symbols:
    defined: set[str]
    undefined: set[str]


def _commands(data: bytes):
    magic, _, _, _, count, _, _, _ = struct.unpack_from("<8I", data)
    if magic != 0xFEEDFACF:
        raise ValueError("this is no 64-bit Mach-O file")
    at = 32
    for _ in range(count):
        kind, size = struct.unpack_from("<2I", data, at)
        yield kind, at
        at += size


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def symbols(data: bytes) -> Symbols:
    """The external symbols that a file defines and those it lacks."""
    result = Symbols(set(), set())
    for kind, at in _commands(data):
        if kind == _SYMTAB:
            offset, count, strings, _ = struct.unpack_from("<4I", data, at + 8)
            for i in range(count):
                name, what, _, _, _ = struct.unpack_from("<IBBHQ", data, offset + 16 * i)
                if what & 0xE0 or not what & 1:  # of the debugger, or local
                    continue
                (result.defined if what & 0xE else result.undefined).add(_string(data, strings + name))
    return result


def libraries(data: bytes) -> list[str]:
    """The libraries that a file loads."""
    return [
        _string(data, at + struct.unpack_from("<I", data, at + 8)[0])
        for kind, at in _commands(data)
        if kind == _LOAD_DYLIB
    ]


def run_paths(data: bytes) -> list[str]:
    return [
        _string(data, at + struct.unpack_from("<I", data, at + 8)[0])
        for kind, at in _commands(data)
        if kind == _RPATH
    ]


def exports(data: bytes) -> set[str]:
    """The symbols that a library exports, from its export trie."""
    for kind, at in _commands(data):
        if kind in (_DYLD_INFO, _DYLD_INFO_ONLY):
            offset, size = struct.unpack_from("<2I", data, at + 40)
        elif kind == _EXPORTS_TRIE:
            offset, size = struct.unpack_from("<2I", data, at + 8)
        else:
            continue
        if size:
            return set(_walk(data[offset : offset + size], 0, ""))
    return set()


def _uleb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _walk(trie: bytes, at: int, prefix: str):
    terminal, at = _uleb(trie, at)
    if terminal:
        yield prefix
    at += terminal
    children, at = trie[at], at + 1
    for _ in range(children):
        edge = _string(trie, at)
        child, at = _uleb(trie, at + len(edge) + 1)
        yield from _walk(trie, child, prefix + edge)
