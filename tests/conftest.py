"""Common to all Python tests: the platform under test is `mps`, JAX's CPU backend is the oracle."""

import gc
import importlib.metadata
import importlib.util
import os
import pathlib
import sys
import threading
import zlib

import pytest

# Folders whose tests need no plugin.
_WITHOUT_PLUGIN = ("private_api", "packaging", "bytecode", "install")


def _plugin_installed() -> bool:
    try:
        return importlib.util.find_spec("jax_plugins.mps._build_info") is not None
    except ImportError:
        return False


def _oracle_flags() -> str:
    """XLA:CPU compiles quickly rather than well: most of the time of the tests would be its compiler's."""
    flags = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
    # Later ones have no other emitters, and refuse what they do not know.
    if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return " ".join(flags)


if _plugin_installed():
    # Before anything imports jax: `mps` is the default, `cpu` stays available as the oracle.
    os.environ.setdefault("JAX_PLATFORMS", "mps,cpu")
    os.environ.setdefault("JAX_MPS_STRICT", "1")
    os.environ.setdefault("MLX_ENABLE_TF32", "0")  # products on GPUs as exact as the oracle's
    os.environ.setdefault("XLA_FLAGS", _oracle_flags())


def pytest_addoption(parser):
    parser.addoption(
        "--every-route",
        action="store_true",
        help="tests/ops: each row in each type op by op on every route of eager.py, not on some",
    )
    parser.addoption(
        "--ops-share",
        metavar="K/N",
        help="the Kth (from 0) of N parts of the rows of tests about values, the same parts every time",
    )
    parser.addoption("--share-of", metavar="TEST,...", help="--ops-share: of these test functions only")


def pytest_configure(config):
    config.addinivalue_line("markers", "needs_plugin: needs the installed plugin")
    config.addinivalue_line("markers", "cpu_only(reason): is about the CPU device, or does not hold on a GPU")
    config.addinivalue_line("markers", "not_simulated(reason): does not run on the simulated Metal")
    # What the plugin warns about is a failure; only JAX's word on platforms it does not know is not.
    config.addinivalue_line("filterwarnings", "error:.*(jax-mps|jax_plugins|[Dd]onat):")


def _folder(item) -> str:
    return pathlib.Path(item.path).relative_to(pathlib.Path(__file__).parent).parts[0]


# Their values hang little on what a version of JAX sends.
_ABOUT_VALUES = {f"test_{name}" for name in ("complex_plane", "empty", "expressions", "indices", "linalg_edges", "regions")}


def _is_row(item, functions) -> bool:
    if functions:
        return item.originalname in functions.split(",")
    return _folder(item) == "ops" or (item.path.stem in _ABOUT_VALUES and hasattr(item, "callspec"))


def _keep_share_of_ops(config, items):
    part, parts = map(int, config.getoption("--ops-share").split("/"))
    functions = config.getoption("--share-of")
    left_out = [i for i in items if _is_row(i, functions) and zlib.crc32(i.nodeid.encode()) % parts != part]
    config.hook.pytest_deselected(items=left_out)
    names = {i.nodeid for i in left_out}
    items[:] = [i for i in items if i.nodeid not in names]


def pytest_collection_modifyitems(config, items):
    if config.getoption("--ops-share"):
        _keep_share_of_ops(config, items)
    if _plugin_installed():
        return
    if os.environ.get("JAX_MPS_REQUIRE_PLUGIN"):
        pytest.exit("the plugin jax-mps is not installed for this Python", returncode=3)
    skip = pytest.mark.skip(reason="the plugin jax-mps is not installed for this Python")
    for item in items:
        folder = _folder(item)
        marked = item.get_closest_marker("needs_plugin")
        if marked or folder not in (*_WITHOUT_PLUGIN, "examples"):
            item.add_marker(skip)


def _share_contexts() -> None:
    """Several programs of a thread are lowered in one MLIR context, as JAX 0.12 does it.

    Versions before make one for each program and load all dialects: a third of the time of these tests.
    """
    from jax._src.interpreters import mlir

    programs = 64  # of one context: what it interns it keeps
    make, own = mlir.make_ir_context, threading.local()

    def shared():
        if getattr(own, "left", 0) == 0:
            own.context, own.left = make(), programs
        own.left -= 1
        return own.context

    mlir.make_ir_context = shared


def pytest_collection_finish(session):
    if "jax" in sys.modules:
        _share_contexts()
    # What is there stays: it need not be looked through with every full collection.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _is_on_gpu() -> bool:
    if not _plugin_installed():
        return False
    import jax

    return jax.devices("mps")[0].device_kind != "cpu"


def pytest_runtest_setup(item):
    marker = item.get_closest_marker("cpu_only")
    if marker and _is_on_gpu():
        pytest.skip(marker.args[0])
    marker = item.get_closest_marker("not_simulated")
    if marker and os.environ.get("JAX_MPS_DEVICE") == "simulated":
        pytest.skip(marker.args[0])


# Words of an error -> why it is none on a GPU.
_REFUSED_BY_GPUS = {
    "does not exist on the GPU": "float64 does not exist on the GPU",
    "memory that the CPU cannot read": "the CPU cannot read the GPU's memory",
    "buffer protocol is only defined for CPU buffers": "the CPU cannot read the GPU's memory",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What a GPU rightly refuses is skipped there."""
    report = yield
    reason = report.failed and next(
        (why for words, why in _REFUSED_BY_GPUS.items() if words in str(call.excinfo.value)), None
    )
    if reason and _is_on_gpu():
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1], f"Skipped: {reason}")
    return report


@pytest.fixture(autouse=True)
def _plugin_warnings_are_errors(caplog):
    """A warning logged by the plugin's Python part fails the test that provoked it."""
    yield
    logged = [
        r.getMessage()
        for when in ("setup", "call")
        for r in caplog.get_records(when)
        if r.name.startswith("jax_plugins") and r.levelname in ("WARNING", "ERROR")
    ]
    assert not logged, logged


@pytest.fixture(scope="session")
def cpu():
    """JAX's own CPU device, the oracle."""
    import jax

    return jax.devices("cpu")[0]


@pytest.fixture(scope="session")
def mps():
    """The device under test."""
    import jax

    return jax.devices("mps")[0]
