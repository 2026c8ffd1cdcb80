"""JAX platform `mps`: JAX programs on MLX, that is on Apple GPUs, NVIDIA GPUs and the CPU.

JAX finds this module by itself, through the namespace package `jax_plugins` and through the entry
point, and calls `initialize`. Importing it changes nothing in JAX.
"""

import os
import pathlib
import sys
import threading

from jax_plugins.mps import _install, private

try:
    from jax_plugins.mps._build_info import VERSION as __version__
except ImportError:
    __version__ = "unknown"

__all__ = ["initialize"]

PLATFORM = "mps"
_lock = threading.Lock()
_initialized = False


def initialize() -> None:
    """Registers the platform, once however often it is called."""
    global _initialized
    with _lock:
        if _initialized:
            return
        _initialized = True
        problem = _install.problem() or _load()
        if problem:
            # The platform is registered all the same, so that whoever asks for it reads the reason.
            private.register_broken_platform(PLATFORM, problem, warns=True)
            return
        from jax_plugins.mps import callbacks, dlpack, lowerings

        # The library refuses other names when its client is made.
        name = os.environ.get("JAX_MPS_PLATFORM_NAME") or PLATFORM
        private.allow_donation(PLATFORM)
        private.allow_export(lowerings.custom_call_targets())
        lowerings.register(PLATFORM)
        callbacks.register(PLATFORM, name)
        private.export_by_dlpack(PLATFORM, dlpack.kind, dlpack.export)
        if name == "cpu":
            private.import_by_dlpack(PLATFORM, dlpack.copy_of)
        if name in ("cpu", "gpu"):
            private.present(PLATFORM, name)


def _load() -> str | None:
    """Loads and registers the library; returns a sentence if that fails."""
    path = str(_install.library())
    try:
        try:
            private.register_platform(PLATFORM, path, _client_options)
        except Exception:
            # MLX may lie in another folder than the plugin, such as the user's own site-packages.
            _install.load_mlx()
            private.register_platform(PLATFORM, path, _client_options)
    except Exception as error:  # whatever it is, the user shall read it when asking for the platform
        return _install.load_problem(error)
    return None


def _client_options() -> dict:
    """What the client is created with; called by JAX when somebody first uses the platform."""
    private.arm_compilation_cache()
    from jax_plugins.mps import callbacks, interpreter, machine_code

    callbacks.serve_without_cpu()
    options = {"interpreter": interpreter.address, "python_callbacks": callbacks.address}
    if machine_code.address is not None:
        options["code_generator"] = machine_code.address
    if sys.platform == "linux" and not os.environ.get("JAX_MPS_BLAS_LIBRARY"):
        blas = _install.blas_library()
        if blas is not None:
            options["blas_library"] = str(blas)
    return options


def library_path() -> pathlib.Path:
    """The plugin library, for PJRT clients other than JAX."""
    return _install.library()
