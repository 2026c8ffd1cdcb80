"""One test for each private name of JAX in python/jax_plugins/mps/private.py. Needs no device."""

import inspect

import pytest

pytest.importorskip("jax")


def test_register_plugin():
    from jax._src import xla_bridge

    parameters = inspect.signature(xla_bridge.register_plugin).parameters
    assert {"priority", "library_path", "options"} <= set(parameters)


def test_register_backend_factory():
    from jax._src import xla_bridge

    parameters = inspect.signature(xla_bridge.register_backend_factory).parameters
    assert {"priority", "fail_quietly"} <= set(parameters)


def test_platforms_with_donation():
    from jax._src.interpreters import mlir

    assert isinstance(mlir._platforms_with_donation, list)
    assert "cpu" in mlir._platforms_with_donation


def test_compilation_cache_flags():
    from jax._src import compilation_cache as cache

    assert isinstance(cache._cache_checked, bool) and isinstance(cache._cache_used, bool)
    assert cache._is_cache_enabled() in (True, False)
    with cache._cache_initialized_mutex:
        pass


def test_stable_custom_calls():
    from jax._src.export import _export

    assert isinstance(_export._CUSTOM_CALL_TARGETS_GUARANTEED_STABLE, set)


def test_register_lowering():
    from jax._src.interpreters import mlir

    assert "platform" in inspect.signature(mlir.register_lowering).parameters


def test_pbroadcast():
    from jax._src.lax import parallel

    assert callable(parallel._pbroadcast_lowering)
    assert parallel.pbroadcast_p.name == "pbroadcast"
