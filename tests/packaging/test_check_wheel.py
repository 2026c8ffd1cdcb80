"""scripts/check_wheel.py takes a wheel that is as promised and refuses each kind of damage, on wheels made here."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TAG = "manylinux_2_35_x86_64"
NAME = f"jax_mps-0.1.0-py3-none-{TAG}.whl"
INFO = "jax_mps-0.1.0.dist-info"
PLUGIN = "jax_plugins/mps/pjrt_plugin_mps.so"

lief = pytest.importorskip("lief")
pytest.importorskip("packaging")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("c++") is None, reason="makes libraries with c++ on Linux"
)


@pytest.fixture(scope="module")
def check_wheel():
    spec = importlib.util.spec_from_file_location("check_wheel", ROOT / "scripts" / "check_wheel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mlx(tmp_path_factory):
    """A folder that looks like MLX's, with a library of one function."""
    folder = tmp_path_factory.mktemp("mlx")
    header = folder / "include" / "mlx" / "version.h"
    header.parent.mkdir(parents=True)
    numbers = {"MAJOR": 0, "MINOR": 32, "PATCH": 4}
    header.write_text("".join(f"#define MLX_VERSION_{part} {n}\n" for part, n in numbers.items()))
    (folder / "lib").mkdir()
    library(folder / "lib" / "libmlx.so", EXPORT + "void _ZN3mlx4core3addEv() {}", "-Wl,-soname,libmlx.so")
    return folder


def library(path, text, *options):
    source = path.with_suffix(".cc")
    source.write_text(text)
    subprocess.run(["c++", "-shared", "-fPIC", "-fvisibility=hidden", "-s", "-o", path, source, *options], check=True)
    return path.read_bytes()


EXPORT = 'extern "C" __attribute__((visibility("default"))) '
GOOD = 'extern "C" char* getenv(const char*);\n' + EXPORT + """void _ZN3mlx4core3addEv();
int* made() { return getenv("HOME") ? new int : nullptr; }
""" + EXPORT + "void GetPjrtApi() { _ZN3mlx4core3addEv(); delete made(); }\n"


def make(folder, mlx, text=GOOD, run_path="$ORIGIN/../../mlx/lib", options=(), name=NAME, tag=TAG, extra=(),
         needs="==0.32.4"):  # fmt: skip
    """A wheel like that of `scripts/wheels`, but for what the arguments say."""
    code = library(folder / "plugin.so", text, f"-L{mlx}/lib", "-lmlx", f"-Wl,-rpath,{run_path}", *options)
    files = {
        PLUGIN: code,
        "jax_plugins/mps/_build_info.py": 'VERSION = "0.1.0"\nMLX_VERSION = "0.32.4"\n',
        f"{INFO}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-{tag}\n",
        f"{INFO}/entry_points.txt": "[jax_plugins]\nmps = jax_plugins.mps\n",
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: jax-mps\nVersion: 0.1.0\nRequires-Dist: jax>=0.6.2\n"
        f"Requires-Dist: numpy\nRequires-Dist: mlx-cpu{needs}; extra == 'cpu'\n"
        "Requires-Dist: scipy-openblas32; extra == 'cpu'\nProvides-Extra: cpu\n",
        **dict(extra),
    }
    wheel = folder / name
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return wheel


DAMAGES = {
    "a tag in the name": (dict(name=NAME.replace("2_35", "2_17")), "the tags are"),
    "a tag in the metadata": (dict(tag="linux_x86_64"), "has not the tag"),
    "no run path": (dict(run_path="/usr/lib"), "its run path is"),
    "a symbol that MLX lacks": (
        dict(text=GOOD.replace("void", "void _ZN3mlx4core4loseEv(),", 1)
             .replace("delete", "_ZN3mlx4core4loseEv(); delete")),
        "MLX's library has no"),
    "an export too many": (dict(text=GOOD + EXPORT + "void helper() {}"), "its library exports"),
    "an export too few": (dict(text=GOOD.replace("GetPjrtApi", "PjrtApi")), "its library exports"),
    "another library": (dict(options=("-Wl,--no-as-needed", "-lresolv")), "its library loads"),
    "a file elsewhere": (dict(extra={"jax/stray.py": ""}), "folders of others"),
    "an MLX that is not pinned": (dict(needs=">=0.32"), "it requires"),
    "built for another MLX": (
        dict(extra={"jax_plugins/mps/_build_info.py": 'VERSION = "0.1.0"\nMLX_VERSION = "0.31.0"\n'}),
        "not built for MLX"),
    "no entry point": (dict(extra={f"{INFO}/entry_points.txt": ""}), "no entry point"),
    "too large": (dict(extra={"jax_plugins/mps/data": b"x" * 9_000_000}), "are the most"),
}  # fmt: skip


@pytest.fixture
def checked(check_wheel, mlx, tmp_path, monkeypatch):
    # auditwheel takes seconds and has tests of its own.
    monkeypatch.setattr(check_wheel, "check_symbol_versions", lambda *_: None)
    return lambda **damage: check_wheel.check(make(tmp_path, mlx, **damage), TAG, mlx)


def test_a_good_wheel(checked):
    assert "symbols up to GLIBC" in checked()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_wheels_are_refused(checked, check_wheel, damage):
    arguments, text = DAMAGES[damage]
    with pytest.raises(check_wheel.Wrong, match=text):
        checked(**arguments)


# What `scripts/test macos` or `scripts/wheels` has left.
MACOS = ROOT / "build" / "macos"
MACOS_TAG = "macosx_14_0_arm64"
MACOS_DAMAGES = {
    "none": (lambda code: code, None),
    "a changed byte": (lambda code: code[:99_999] + bytes([code[99_999] ^ 1]) + code[100_000:],
                       "is not what was signed"),
    "another run path": (lambda code: code.replace(b"@loader_path/../../mlx/lib\0", b"@loader_path/../../mlx/lob\0"),
                         "its run path is"),
    "a symbol that MLX lacks": (lambda code: code.replace(b"__ZN3mlx4core", b"__ZN3mlx4gore"), "MLX's library has no"),
    "another export": (lambda code: code.replace(b"_GetPjrtApi\0", b"_GetPjrtApj\0"), "its library exports"),
    "cut short": (lambda code: code[: len(code) // 2], "."),
}  # fmt: skip


@pytest.mark.parametrize("damage", MACOS_DAMAGES)
def test_damaged_libraries_of_macos_are_refused(check_wheel, tmp_path, damage):
    wheels = sorted((MACOS / "dist").glob(f"*-{MACOS_TAG}.whl"))
    mlx_of_macos = sorted(MACOS.glob("mlx-metal-*/mlx"))
    if not wheels or not mlx_of_macos:
        pytest.skip("there is no wheel for macOS: scripts/wheels macos makes one")
    change, text = MACOS_DAMAGES[damage]
    wheel = tmp_path / wheels[0].name
    with zipfile.ZipFile(wheels[0]) as old, zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith(".dylib") else content)
    if text is None:
        check_wheel.check(wheel, MACOS_TAG, mlx_of_macos[0])
        return
    with pytest.raises((check_wheel.Wrong, AttributeError, ValueError), match=text):
        check_wheel.check(wheel, MACOS_TAG, mlx_of_macos[0])
