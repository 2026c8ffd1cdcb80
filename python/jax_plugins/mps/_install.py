"""What is installed beside the plugin, found without importing any of it."""

import ctypes
import importlib.metadata
import importlib.util
import pathlib
import platform
import re
import sys

_WHEELS = ("mlx-metal", "mlx-cpu", "mlx-cuda-13", "mlx-cuda-12")
_EXTRAS = "cpu, or cuda13 or cuda12 for an NVIDIA GPU"


def library() -> pathlib.Path:
    """The plugin library: beside `_build_info`, which in an editable installation is not beside us."""
    from jax_plugins.mps import _build_info

    return pathlib.Path(_build_info.__file__).absolute().with_name(_build_info.LIBRARY)


def problem() -> str | None:
    """One sentence that says why the plugin can't work as it is installed, or None."""
    try:
        from jax_plugins.mps import _build_info
    except ImportError:
        return "jax-mps is not built: pip install it, a source folder alone has no plugin library."
    if not library().exists():
        return f"jax-mps lacks its library {library()}: install it again."
    if sys.platform == "darwin":
        found = mac_problem(platform.machine(), platform.mac_ver()[0])
        if found:
            return found
    return mlx_problem(mlx_folder(), _build_info.MLX_VERSION)


def mac_problem(machine: str, macos: str) -> str | None:
    """As `problem`, for the processor that Python was built for and the version of macOS."""
    if machine != "arm64":
        return (
            f"jax-mps runs on Apple silicon and this Python is for {machine}: "
            "use a Python for arm64, on a Mac with an M1 or newer."
        )
    if int(macos.split(".")[0]) < 14:
        return (
            f"jax-mps needs macOS 14 or newer, as MLX does, and this is macOS {macos}: update macOS, "
            "or set JAX_PLATFORMS=cpu to use JAX's own CPU backend."
        )
    return None


def load_problem(error: Exception) -> str:
    """One sentence about a library that can't be loaded although nothing is missing."""
    from jax_plugins.mps import _build_info

    return load_problem_of(_build_info.MLX_VERSION, mlx_version(mlx_folder()), error)


def load_problem_of(built_for: str, found: str | None, error: Exception, platform: str = sys.platform) -> str:
    """As `load_problem`, with MLX `found`, whose interface may differ in the last number, too."""
    if found == built_for:
        return f"jax-mps can't load {library()}: {error}"
    return (
        f"jax-mps was built for MLX {built_for} and can't be loaded with MLX {found}: "
        f"{_installation(built_for, platform)} ({error})."
    )


def _installation(built_for: str, platform: str) -> str:
    if platform == "darwin":
        return f"pip install mlx-metal=={built_for}"
    return f"pip install 'jax-mps[EXTRA]' with EXTRA being {_EXTRAS}"


def mlx_folder() -> pathlib.Path:
    """The folder of the MLX wheel: where the plugin's run path looks for it, or elsewhere."""
    beside = library().parents[2] / "mlx"
    if not (beside / "lib").is_dir():
        spec = importlib.util.find_spec("mlx")
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (pathlib.Path(folder) / "lib").is_dir():
                return pathlib.Path(folder)
    return beside


def load_mlx() -> None:
    """Loads MLX by its path, so that a plugin library that does not find it needs not to."""
    lib = mlx_folder() / "lib"
    ctypes.CDLL(str(lib / ("libmlx.dylib" if sys.platform == "darwin" else "libmlx.so")))


def mlx_problem(mlx: pathlib.Path, built_for: str, platform: str = sys.platform) -> str | None:
    """As `problem`, for the MLX in folder `mlx`."""
    darwin = platform == "darwin"
    install = _installation(built_for, platform)
    found = installed_wheels()
    if not (mlx / "lib" / ("libmlx.dylib" if darwin else "libmlx.so")).exists():
        if found:
            # The CPU and the CUDA wheel own the same files: removing one breaks the other.
            wheels = " ".join(f"{name}=={version}" for name, version in found.items())
            return (
                f"jax-mps finds no MLX library in {mlx} although {' and '.join(found)} is installed: "
                f"keep one of them and repair it with pip install --force-reinstall {wheels.split()[0]}."
            )
        return f"jax-mps needs MLX {built_for}, which is not installed: {install}."
    version = mlx_version(mlx)
    if version is None or version.split(".")[:2] != built_for.split(".")[:2]:
        return (
            f"jax-mps was built for MLX {built_for} and finds MLX {version or 'of unknown version'} "
            f"in {mlx}, whose library interface differs: {install}."
        )
    return None


def mlx_version(mlx: pathlib.Path) -> str | None:
    """The version of the MLX library in folder `mlx`, from the header that comes with it."""
    try:
        text = (mlx / "include" / "mlx" / "version.h").read_text()
    except OSError:
        return None
    numbers = [
        re.search(rf"#define MLX_VERSION_{part}\s+(\d+)", text)
        for part in ("MAJOR", "MINOR", "PATCH")
    ]
    return ".".join(n.group(1) for n in numbers) if all(numbers) else None


def installed_wheels() -> dict[str, str]:
    """The wheels that own an MLX library, by name, with their versions."""
    found = {}
    for name in _WHEELS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def blas_library() -> pathlib.Path | None:
    """The OpenBLAS that the scipy-openblas32 package ships, if it is installed."""
    spec = importlib.util.find_spec("scipy_openblas32")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted((pathlib.Path(folder) / "lib").glob("libscipy_openblas*.so")):
            return path
    return None
