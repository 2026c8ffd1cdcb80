"""Programs for the tests of the PJRT interface, and where the library is."""

import importlib
import pathlib

F32, S32 = 11, 4


def library_path():
    info = importlib.import_module("jax_plugins.mps._build_info")
    return pathlib.Path(info.__file__).parent / info.LIBRARY


def artifact(text, version="1.9.0"):
    """StableHLO text as the portable artifact that clients send."""
    from jaxlib.mlir.dialects import stablehlo

    return stablehlo.serialize_portable_artifact_str(text, version)


def function(arguments, results, body):
    """A module with one function; `arguments` and `results` are type lists."""
    return f"module @program {{\n  func.func public @main({arguments}) -> {results} {{\n{body}\n  }}\n}}"
