"""abi.h against an independent description of the PJRT interface: the tables of pypjrt.

A C++ file of static_asserts is generated from the tables (sizes, offsets, slot order, enum values,
announced struct sizes) and compiled against our headers. Nothing is executed, so nothing can pass
by not running; the last test shows that one wrong number fails the compilation.
"""

import ctypes
import importlib
import os
import pathlib
import re
import shutil
import subprocess

import pytest

pytest.importorskip("pypjrt")  # the environment of the main test run has it

abi = importlib.import_module("pypjrt._abi.pjrt_0_114")

SRC = pathlib.Path(__file__).resolve().parents[2] / "src"

# Extensions that this plugin does not offer; their structs are not declared in our headers.
NOT_OFFERED = re.compile(
    r"PJRT_(AbiVersion|ExecutableAbiVersion|RuntimeAbiVersion|Client_RuntimeAbiVersion"
    r"|Executable_GetAbiVersion|Callback_|Collectives_|CrossHostTransfers|Custom_Partitioner"
    r"|DeviceEvent|Example|Executable_?Metadata|FFI_|Get_Stream|Gpu_|HostAllocator|HostMemory"
    r"|Megascale|MultiSlice|PhaseCompile|RawBuffer|Register_|RunId|Stream|Tpu|Triton"
    r"|Wait_Until|Xla|Clear_Xla|Transfers_|Multi_Slice|RawBufferShape|Set_)"
)

ENUMS = (
    "PJRT_Error_Code_",
    "PJRT_NamedValue_k",
    "PJRT_Buffer_Type_",
    "PJRT_HostBufferSemantics_",
    "PJRT_Buffer_MemoryLayout_Type_",
    "PJRT_ProcessState_",
)


def structs():
    for name, value in sorted(vars(abi).items()):
        if not (isinstance(value, type) and issubclass(value, ctypes.Structure)):
            continue
        if name.startswith(("PJRT_", "PLUGIN_")) and not NOT_OFFERED.match(name):
            yield name, value


def layout_asserts():
    for name, struct in structs():
        yield f"sizeof({name}) == {ctypes.sizeof(struct)}"
        for field, *_ in struct._fields_:
            if not field.startswith("_"):  # anonymous unions have no name to ask for
                yield f"offsetof({name}, {field}) == {getattr(struct, field).offset}"
                yield f"sizeof({name}::{field}) == {getattr(struct, field).size}"
        for union in getattr(struct, "_anonymous_", ()):
            offset = getattr(struct, union).offset
            for member, *_ in dict(struct._fields_)[union]._fields_:
                yield f"offsetof({name}, {member}) == {offset}"


def slot_asserts():
    yield f"kPjrtApiMajor == {abi.PJRT_API_MAJOR}"
    yield f"kPjrtApiMinor == {abi.PJRT_API_MINOR}"
    yield f"sizeof(PJRT_Api) == {abi.PJRT_Api_STRUCT_SIZE}"
    yield f"kPjrtSlots == {len(abi.SLOT)}"
    for name, index in abi.SLOT.items():
        yield f"offsetof(PJRT_Api, {name}) == {abi.VTABLE_OFFSET + 8 * index}"
        announced = getattr(abi, f"{name}_Args_STRUCT_SIZE")
        yield f"jaxmps::pjrt::ArgsInfo<{name}_Args>::size >= {announced}"
        if name != "PJRT_Plugin_Attributes":
            yield f"jaxmps::pjrt::ArgsInfo<{name}_Args>::size == {announced}"


def declared_extension_types():
    text = (SRC / "pjrt" / "abi.h").read_text()
    return re.findall(r"(PJRT_Extension_Type_\w+) = ", text)


def enum_asserts():
    for name, value in vars(abi).items():
        if name.startswith(ENUMS) and isinstance(value, int) and not name.endswith("STRUCT_SIZE"):
            yield f"{name} == {value}"
    for name in declared_extension_types():
        yield f"{name} == {getattr(abi, name)}"


def compile_asserts(tmp_path, asserts):
    source = tmp_path / "layout.cc"
    lines = ['#include "pjrt/abi_extensions.h"', '#include "pjrt/entry.h"']
    lines += [f"static_assert({condition});" for condition in asserts]
    source.write_text("\n".join(lines) + "\n")
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    assert compiler, "a C++ compiler is needed to check the layout of abi.h"
    return subprocess.run(
        [compiler, "-std=c++20", "-fsyntax-only", "-fmax-errors=50" if "clang" not in compiler else
         "-ferror-limit=50", f"-I{SRC}", str(source)],
        capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("kind", [layout_asserts, slot_asserts, enum_asserts],
                         ids=["layouts", "slots", "enums"])
def test_matches(tmp_path, kind):
    asserts = list(kind())
    assert len(asserts) > {"layout_asserts": 1500, "slot_asserts": 400, "enum_asserts": 75}[
        kind.__name__]
    result = compile_asserts(tmp_path, asserts)
    assert result.returncode == 0, result.stderr


def test_every_argument_struct_is_compared():
    names = {name for name, _ in structs()}
    missing = {f"{slot}_Args" for slot in abi.SLOT} - names
    assert not missing
    for needed in ("PJRT_ExecuteOptions", "PJRT_NamedValue", "PJRT_Layouts_Extension",
                   "PJRT_Shardings_Extension", "PLUGIN_Profiler_Api", "PJRT_Profiler_Extension",
                   "PJRT_MemoryDescriptions_Extension", "PJRT_Error_FunctionTable"):
        assert needed in names


def test_a_wrong_number_fails(tmp_path):
    size = abi.PJRT_Client_Create_Args_STRUCT_SIZE
    result = compile_asserts(tmp_path, [f"sizeof(PJRT_Client_Create_Args) == {size + 8}"])
    assert result.returncode != 0 and "static" in result.stderr
