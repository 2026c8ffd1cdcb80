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


def test_names_of_the_platform():
    import dataclasses

    from jax._src import array, xla_bridge
    from jax._src.export import _export
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client

    for owner in (xla_client.Client, xla_client.Device):
        assert isinstance(owner.platform, property)
    assert isinstance(xla_client.Client._raw_platform, property)
    assert callable(array.ArrayImpl.platform)
    assert "cpu" in xla_bridge._backend_factories
    assert list(inspect.signature(xla_bridge._init_backend).parameters) == ["platform"]
    assert isinstance(xla_bridge._backends, dict)
    assert list(inspect.signature(xla_bridge.canonicalize_platform).parameters) == ["platform"]
    assert isinstance(mlir._platform_specific_lowerings["cpu"], dict)
    assert "exported" in inspect.signature(_export._call_exported_lowering).parameters
    assert "platforms" in {field.name for field in dataclasses.fields(_export.Exported)}
    assert _export.call_exported_p.name == "call_exported"


def test_dlpack():
    from jax._src import array
    from jax._src.lib import xla_client

    from jax._src import lib

    module = getattr(lib, "_jax", None) or lib.xla_client._xla
    assert callable(module.dlpack_managed_tensor_to_buffer)
    assert callable(array.ArrayImpl.__dlpack__) and callable(array.ArrayImpl.__dlpack_device__)
    assert isinstance(xla_client.Client._raw_platform, property)


def test_emit_python_callback():
    from jax._src import callback
    from jax.interpreters import mlir

    names = list(inspect.signature(callback.emit_python_callback).parameters)
    assert names[:6] == ["ctx", "callback", "token", "operands", "operand_avals", "result_avals"]
    assert {"has_side_effect", "sharding"} <= set(names)
    assert callable(mlir.emit_python_callback)


def test_sparse_solver():
    from jax._src import dispatch
    from jax.experimental.sparse import linalg

    assert dispatch.JAXPR_TRACE_EVENT == "/jax/core/compile/jaxpr_trace_duration"
    assert linalg.spsolve_p.name == "spsolve" and callable(linalg._spsolve_cpu_lowering)


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


def test_event_before_each_compilation():
    from jax._src import dispatch

    assert dispatch.JAXPR_TO_MLIR_MODULE_EVENT == "/jax/core/compile/jaxpr_to_mlir_module_duration"


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


def test_platform_dependent():
    from jax._src.lax.control_flow import conditionals

    assert conditionals.platform_index_p.name == "platform_index" and conditionals.cond_p.name == "cond"
    assert "branches" in inspect.signature(conditionals._cond_lowering).parameters
    assert "platforms" in inspect.signature(conditionals._platform_index_lowering).parameters


def test_sparse_products():
    from jax.experimental.sparse import _lowerings

    for name in ("coo_spmv_p", "coo_spmm_p", "csr_spmv_p", "csr_spmm_p"):
        assert not getattr(_lowerings, name).multiple_results


def test_linear_algebra():
    from jax._src.lax import linalg

    for name in ("eig_p", "eigh_p", "hessenberg_p", "lu_p", "schur_p", "svd_p", "tridiagonal_p"):
        assert getattr(linalg, name).multiple_results
    assert callable(linalg._empty_svd)


def test_callbacks():
    from jax._src import callback

    for run in (callback.pure_callback_impl, callback.io_callback_impl):
        assert "callback" in inspect.signature(run).parameters
    assert callback.pure_callback_p.name == "pure_callback"
    assert "ordered" in inspect.signature(callback.io_callback_impl).parameters
    assert callback._OrderedIOEffect is not None


def test_debugging():
    from jax._src import debugging, effects

    assert callable(debugging.debug_callback_p.impl)
    assert effects.ordered_effects.contains(debugging.ordered_debug_effect)
    assert not effects.ordered_effects.contains(debugging.debug_effect)
    if hasattr(debugging, "debug_print_p"):
        assert callable(debugging.debug_print_p.impl)


def test_lowering_helpers():
    from jax._src.interpreters import mlir

    assert 1 <= len(inspect.signature(mlir.aval_to_ir_type).parameters) <= 2
    assert callable(mlir.TokenSet.update_tokens)
    parameters = inspect.signature(mlir.custom_call).parameters
    assert {"result_types", "operands", "backend_config", "has_side_effect"} <= set(parameters)
    assert callable(mlir.ModuleContext.add_keepalive)


def test_callbacks():
    from jax._src import callback, checkify, core, debugging
    from jax._src.interpreters import mlir

    assert list(inspect.signature(callback._callback_op_sharding).parameters) == ["axis_context", "sharding", "avals_out"]
    assert {"op", "sharding"} <= set(inspect.signature(mlir.set_sharding).parameters)
    assert callback.logger.name == "jax._src.callback" and debugging.logger.name == "jax._src.debugging"
    assert core.physical_aval(core.ShapedArray((2,), "float32")).shape == (2,)
    assert callable(checkify.python_err) and callable(checkify.check_lowering_rule_unsupported)
    assert checkify.check_p.name == "check"
    if hasattr(debugging, "debug_print_p"):
        assert list(inspect.signature(debugging._format_print_callback).parameters)[:4] == [
            "fmt", "np_printoptions", "has_placeholders", "logging_record"]
        assert list(inspect.signature(debugging._make_flat_callback).parameters) == ["in_tree", "callback", "static_args"]
