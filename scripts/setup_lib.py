"""What the scripts share: virtual environments, the wheel, GoogleTest. Standard library only.

Everything made lies in build/ and dist/ of the checkout and is made again only when what it
was made from has changed.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
MLX_VERSION = "0.32.4"
JOBS = str(os.cpu_count() or 2)


class SetupError(Exception):
    """Something on this machine is missing or failed; the text says what."""


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def run(command, quiet=False, what=None, **options) -> None:
    """Runs a command; a failure becomes a SetupError with the end of its output."""
    command = [str(part) for part in command]
    if quiet:
        options.update(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    done = subprocess.run(command, **options)
    if done.returncode != 0:
        tail = "\n" + done.stdout[-4000:] if quiet else ""
        raise SetupError(f"{what or ' '.join(command[:6])} failed ({done.returncode}){tail}")


def digest(paths, extra="") -> str:
    """A hash of the content of files and folders."""
    total = hashlib.sha256(extra.encode())
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if "__pycache__" not in file.parts and file.exists():
                total.update(str(file.relative_to(ROOT)).encode())
                total.update(file.read_bytes())
    return total.hexdigest()


def current(stamp: pathlib.Path, value: str) -> bool:
    return stamp.exists() and stamp.read_text() == value


def find_python(minor: int) -> str | None:
    """A working Python 3.<minor> with venv, or None."""
    name = f"python3.{minor}"
    candidates = [sys.executable] if sys.version_info[:2] == (3, minor) else []
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        candidates.append(os.path.join(folder, name))
    shims = [pathlib.Path(c).parent for c in candidates if pathlib.Path(c).parent.name == "shims"]
    for base in [*(s.parent for s in shims), pathlib.Path.home() / ".pyenv"]:
        candidates += sorted(map(str, base.glob(f"versions/3.{minor}.*/bin/python")), reverse=True)
    check = f"import sys, venv, ensurepip; assert sys.version_info[:2] == (3, {minor})"
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            done = subprocess.run([candidate, "-c", check], capture_output=True)
            if done.returncode == 0:
                return candidate
    return None


def any_python() -> str:
    """The newest of Python 3.11 to 3.13 that is found; this one first."""
    if sys.version_info[:2] >= (3, 11):
        return sys.executable
    for minor in (13, 12, 11):
        if found := find_python(minor):
            return found
    raise SetupError(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")


def environment(name: str, python: str, requirements, wheel=None, extras="") -> pathlib.Path:
    """The interpreter of the virtual environment build/env/<name>, with the wheel in it if one is given."""
    folder = BUILD / "env" / name
    interpreter = folder / "bin" / "python"
    stamp = folder / "stamp"
    version = subprocess.run([python, "-VV"], capture_output=True, text=True).stdout
    wanted = "\n".join([version, *requirements, extras])
    if not current(stamp, wanted) or not interpreter.exists():
        say(f"virtual environment build/env/{name}")
        shutil.rmtree(folder, ignore_errors=True)
        run([python, "-m", "venv", folder], quiet=True, what="python -m venv")
        if requirements:
            install(interpreter, *requirements)
        stamp.write_text(wanted)
    if wheel is not None:
        installed, value = folder / "wheel-stamp", digest([wheel])
        if not current(installed, value):
            name = wheel.name.split("-")[0]
            install(interpreter, "--reinstall-package", name, f"{name}{extras} @ {wheel.resolve().as_uri()}")
            installed.write_text(value)
    return interpreter


def pip(interpreter, *arguments) -> None:
    command = [interpreter, "-m", "pip", "-q", "--disable-pip-version-check", *arguments]
    run(command, quiet=True, what=f"pip {' '.join(map(str, arguments))}")


def install(interpreter, *arguments) -> None:
    """By uv, which takes a tenth of pip's time: modules are compiled when they are first imported."""
    run([uv(), "pip", "install", "-q", "--python", interpreter, *arguments], quiet=True,
        what=f"uv pip install {' '.join(map(str, arguments))}")


def uv() -> pathlib.Path:
    """The one on PATH, or one in build/env/uv."""
    if found := shutil.which("uv"):
        return pathlib.Path(found)
    folder = BUILD / "env" / "uv"
    program = folder / "bin" / "uv"
    if not program.exists():
        run([sys.executable, "-m", "venv", folder], quiet=True, what="python -m venv")
        pip(folder / "bin" / "python", "install", "uv")
    return program


def build_environment() -> pathlib.Path:
    """The interpreter that builds: CMake, Ninja, scikit-build-core and MLX's headers."""
    needs = ["cmake", "ninja", "scikit-build-core", f"mlx-{mlx_wheel()}=={MLX_VERSION}"]
    return environment("build", any_python(), needs)


def mlx_wheel() -> str:
    return "metal" if sys.platform == "darwin" else "cpu"


def tool_path(interpreter: pathlib.Path) -> dict[str, str]:
    """The environment in which the tools of a virtual environment come first."""
    path = os.pathsep.join([str(interpreter.parent), os.environ.get("PATH", "")])
    # ccache can use precompiled headers only if it may trust their stamps. What one checkout compiled
    # serves all: paths in debug information may be those of another.
    cache = {"CCACHE_SLOPPINESS": "pch_defines,time_macros", "CCACHE_BASEDIR": str(ROOT), "CCACHE_NOHASHDIR": "1"}
    return {**cache, **os.environ, "PATH": path, "CMAKE_GENERATOR": "Ninja"}


def launcher() -> list[str]:
    return ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []


def check_compiler() -> None:
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    if not any(map(shutil.which, wanted)):
        raise SetupError("a C++20 compiler is needed (g++ 12, clang 14 or newer); none is on PATH")


def build_wheel(definitions=(), target=None) -> pathlib.Path:
    """The wheel in dist/; it is built only if the sources have changed since. That of another target
    (cross_lib.Target) is in its own folder."""
    check_compiler()
    dist = target.folder / "dist" if target else ROOT / "dist"
    stamp = dist / "stamp"
    sources = [ROOT / name for name in ("src", "python", "cmake", "CMakeLists.txt", "pyproject.toml")]
    if any("JAXMPS_TESTS" in d for d in definitions):
        sources += [ROOT / "tests" / "cpp", ROOT / "tests" / "simulated", ROOT / "tools"]
    wheels = sorted(dist.glob("jax_mps-*.whl"))
    value = digest([s for s in sources if s.exists()], " ".join(definitions))
    if len(wheels) == 1 and current(stamp, value):
        return wheels[0]
    interpreter = build_environment()
    say(f"building the wheel{' for ' + target.tag if target else ''}")
    start = time.monotonic()
    shutil.rmtree(dist, ignore_errors=True)
    settings = [f"-Ccmake.define.{d.removeprefix('-D')}" for d in (*definitions, *launcher())]
    settings += target.build_settings() if target else []
    command = ["wheel", "--no-build-isolation", "--no-deps", "-w", dist, ROOT]
    run([interpreter, "-m", "pip", "-q", "--disable-pip-version-check", *command, *settings], quiet=True,
        what="building the wheel",
        env={**tool_path(interpreter), **(target.build_environment() if target else {})})
    (wheel,) = dist.glob("jax_mps-*.whl")
    stamp.write_text(value)
    size = wheel.stat().st_size / 1e6
    say(f"{wheel.name}: {size:.2f} MB, built in {time.monotonic() - start:.0f} s")
    return wheel


def configure(name: str, options) -> pathlib.Path:
    """Configures build/<name>; returns it."""
    interpreter = build_environment()
    folder = BUILD / name
    cmake = interpreter.parent / "cmake"
    run([cmake, "-S", ROOT, "-B", folder, "-G", "Ninja", f"-DPython_EXECUTABLE={interpreter}",
         *launcher(), *options], quiet=True, what=f"configuring build/{name}", env=tool_path(interpreter))
    return folder


def cmake_build(name: str, options, targets=()) -> pathlib.Path:
    """Configures and builds build/<name>; returns it."""
    folder = configure(name, options)
    interpreter = build_environment()
    wanted = ["--target", *targets] if targets else []
    run([interpreter.parent / "cmake", "--build", folder, "--parallel", JOBS, *wanted],
        quiet=True, what=f"building build/{name}", env=tool_path(interpreter))
    return folder


def googletest() -> list[str]:
    """The CMake options that find GoogleTest: the installed one, else Debian's package unpacked here."""
    check_compiler()
    probe = "#include <gtest/gtest.h>\nint main() { return 0; }\n"
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")))
    done = subprocess.run([compiler, "-std=c++17", "-x", "c++", "-", "-lgtest", "-o", os.devnull],
                          input=probe, text=True, capture_output=True)
    if done.returncode == 0:
        return []
    root = BUILD / "gtest"
    unpack_debian(["libgtest-dev"], root)
    return [f"-DJAXMPS_GTEST_ROOT={root / 'usr'}"]


def unpack_debian(packages, root: pathlib.Path, architecture=None) -> None:
    """Unpacks Debian's packages, with all that they need, into a folder, once. Installs nothing."""
    name = root.relative_to(BUILD)
    if current(root / "stamp", " ".join(packages)):
        return
    say(f"unpacking Debian's {' '.join(packages)} into build/{name}")
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SetupError(f"{' '.join(packages)} is not installed, and this machine has no apt-get to fetch "
                         "it with: install it with your package manager")
    state = BUILD / "apt" / name
    shutil.rmtree(state, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()  # nothing is installed there
    # Folders of our own, so that it works without being root and changes nothing on the machine.
    apt = ["apt-get", "-y", "-o", f"Dir::State={state}", "-o", f"Dir::State::lists={state / 'lists'}",
           "-o", f"Dir::State::status={state / 'status'}", "-o", f"Dir::Cache={state / 'cache'}",
           "-o", "APT::Sandbox::User=", "-o", "APT::Install-Recommends=false",
           "-o", "Debug::NoLocking=1"]
    if architecture:
        apt += ["-o", f"APT::Architecture={architecture}", "-o", f"APT::Architectures={architecture}"]
    what = f"fetching Debian's {' '.join(packages)}"
    run([*apt, "update"], quiet=True, what=what)
    run([*apt, "install", "--download-only", *packages], quiet=True, what=what)
    shutil.rmtree(root, ignore_errors=True)
    for deb in (state / "cache" / "archives").glob("*.deb"):
        run(["dpkg-deb", "-x", deb, root], quiet=True, what=what)
    shutil.rmtree(state)
    (root / "stamp").write_text(" ".join(packages))


def main(function) -> None:
    """Runs a script's main function; errors of the set-up end it with one message."""
    if sys.version_info < (3, 11):
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    try:
        sys.exit(function())
    except SetupError as error:
        sys.exit(f"error: {error}")
