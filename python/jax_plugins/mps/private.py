"""Every private name of JAX that the plugin uses, and nothing else touches `jax._src`.

Each use is guarded: a JAX that moved a name costs the feature and a warning, not the platform. Each
name is pinned by a test in tests/private_api.
"""

import dataclasses
import functools
import inspect
import logging
import sys

import jax
import numpy as np

logger = logging.getLogger("jax_plugins.mps")


def register_platform(platform: str, library: str, options) -> None:
    """Loads the plugin library and makes its platform known to JAX."""
    from jax._src import xla_bridge

    xla_bridge.register_plugin(platform, priority=400, library_path=library, options=options)


def register_broken_platform(platform: str, problem: str, warns: bool) -> None:
    """Makes the platform known to JAX in such a way that using it raises `problem`. Where JAX was not
    asked for a platform by name it goes on with another one: with a warning, if `warns`."""
    from jax._src import xla_bridge

    def fail():
        if warns and not jax.config.jax_platforms:
            logger.warning("%s", problem)
        raise RuntimeError(problem)

    xla_bridge.register_backend_factory(platform, fail, priority=400, fail_quietly=True)


def present(platform: str, name: str) -> None:
    """Makes our platform answer to `name`, cpu or gpu, wherever JAX tells the name of a platform or is
    told one. Call it once all rules of ours are registered."""
    try:
        from jax._src import array, xla_bridge
        from jax._src.lib import xla_client

        for owner in (xla_client.Client, xla_client.Device):
            owner.platform = property(_renaming(owner.platform.__get__, platform, name))
        array.ArrayImpl.platform = _renaming(array.ArrayImpl.platform, platform, name)
        for kind, text in (("__repr__", "{}Device(id={})"), ("__str__", "{}:{}")):
            setattr(xla_client.Device, kind, _describing(getattr(xla_client.Device, kind), platform, name, text))
        (_take_the_place_of_the_cpu if name == "cpu" else _be_a_gpu)(platform, name)
    except (ImportError, AttributeError, TypeError) as error:
        _warn(f"the platform is not called {name} everywhere", error)


def _renaming(tell, platform: str, name: str):
    def presented_platform(self):
        told = tell(self)
        return name if told == platform else told

    return presented_platform


def _describing(tell, platform: str, name: str, text: str):
    def description(self):
        ours = tell(self).lower().startswith(platform)
        return text.format(name.capitalize() if "(" in text else name, self.id) if ours else tell(self)

    return description


def _take_the_place_of_the_cpu(platform: str, name: str) -> None:
    """JAX's CPU backend is gone, and programs for the CPU are lowered by our rules."""
    from jax._src import xla_bridge
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client

    del xla_bridge._backend_factories[name]
    gone = "JAX's CPU backend is gone: JAX_MPS_PLATFORM_NAME gives its name to mps; use JAX_PLATFORMS=mps"
    register_broken_platform(name, gone, warns=False)
    make = xla_bridge._init_backend

    def init_backend(asked):
        backend = make(asked)
        if asked == platform:
            xla_bridge._backends[name] = backend  # as well as under its own name
        return backend

    xla_bridge._init_backend = init_backend
    raw = xla_client.Client._raw_platform
    xla_client.Client._raw_platform = property(_renaming(raw.__get__, platform, name))
    rules = mlir._platform_specific_lowerings
    for prim, entry in rules[name].items():
        rule = getattr(entry, "rule", entry)
        while isinstance(rule, functools.partial):
            rule = rule.func
        if rule.__module__ == "jax._src.lax.linalg":  # its kernels run here, and wherever it is exported to
            rules[platform][prim] = entry
        elif not rule.__module__.startswith("jax."):  # a package's own for the CPU
            rules[platform].setdefault(prim, entry)
    rules[name] = rules[platform]


def _be_a_gpu(platform: str, name: str) -> None:
    """Ours is what `gpu` stands for. It is neither CUDA nor ROCm: programs are lowered under our own
    name, but those that were exported for these two are accepted. Their kernels are refused."""
    from jax._src import xla_bridge
    from jax._src.export import _export
    from jax._src.interpreters import mlir

    canonical = xla_bridge.canonicalize_platform

    def canonicalize_platform(asked):
        ours = asked == name and platform in xla_bridge.backends()
        return platform if ours else canonical(asked)

    def lower(ctx, *operands, exported):
        names = list(exported.platforms)
        theirs = next((n for n in ("cuda", "rocm") if n in names), None)
        if platform not in names and theirs:
            names[names.index(theirs)] = platform
        return _export._call_exported_lowering(
            ctx, *operands, exported=dataclasses.replace(exported, platforms=tuple(names))
        )

    xla_bridge.canonicalize_platform = canonicalize_platform
    mlir.register_lowering(_export.call_exported_p, lower, platform=platform)


def export_by_dlpack(platform: str, kind, export) -> None:
    """Gives arrays that are on one device of ours the two methods of DLPack, if it has a `kind` there."""
    try:
        from jax._src import array
        from jax._src.lib import xla_client

        raw_platform = xla_client.Client._raw_platform.__get__  # whatever name is presented
        methods = array.ArrayImpl.__dlpack__, array.ArrayImpl.__dlpack_device__

        def kind_of(self):
            device, *others = self.sharding.device_set
            return None if others or raw_platform(device.client) != platform else kind(device)

        def dlpack(self, **options):
            return methods[0](self, **options) if kind_of(self) is None else export(self, **options)

        def dlpack_device(self):
            return methods[1](self) if kind_of(self) is None else (kind_of(self), 0)

        array.ArrayImpl.__dlpack__, array.ArrayImpl.__dlpack_device__ = dlpack, dlpack_device
    except (ImportError, AttributeError, TypeError) as error:
        _warn("arrays are not exported by DLPack", error)


def import_by_dlpack(platform: str, copy_of) -> None:
    """Where arrays of others arrive on our devices: what cannot be viewed is copied by `copy_of`. The
    way in which jaxlib makes copies is closed to plugins."""
    try:
        from jax._src import lib

        module = getattr(lib, "_jax", None) or lib.xla_client._xla
        theirs = module.dlpack_managed_tensor_to_buffer
        raw_platform = lib.xla_client.Client._raw_platform.__get__

        def to_buffer(tensor, device, *options):
            if not isinstance(device, lib.xla_client.Device) or raw_platform(device.client) != platform:
                return theirs(tensor, device, *options)
            copy = options[1] if len(options) > 1 else None
            if not copy:
                try:
                    return theirs(tensor, device, *options)
                except RuntimeError:
                    if copy is False:
                        raise
            return jax.device_put(copy_of(tensor), device)

        module.dlpack_managed_tensor_to_buffer = to_buffer
    except (ImportError, AttributeError, TypeError) as error:
        _warn("arrays in other layouts are not imported by DLPack", error)


def allow_donation(platform: str) -> None:
    """Lets `donate_argnums` through to the plugin; JAX drops it for platforms not in its list."""
    try:
        from jax._src.interpreters import mlir

        platforms = mlir._platforms_with_donation
        if platform not in platforms:
            platforms.append(platform)
    except (ImportError, AttributeError, TypeError) as error:
        _warn("donated arrays are copied", error)


def arm_compilation_cache() -> None:
    """Turns JAX's persistent compilation cache on for us; its own list of platforms is fixed. Again
    before each compilation, because `reset_cache()` turns it off."""
    _arm_compilation_cache()
    if _arm_before_compiling not in _listening:
        _listening.append(_arm_before_compiling)
        jax.monitoring.register_event_duration_secs_listener(_arm_before_compiling)


_listening = []


def _arm_before_compiling(event: str, duration: float, **_) -> None:
    if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
        _arm_compilation_cache()


def _arm_compilation_cache() -> None:
    try:
        from jax._src import compilation_cache as cache

        if not cache._cache_checked and cache._is_cache_enabled():
            with cache._cache_initialized_mutex:
                cache._cache_checked, cache._cache_used = True, True
            jax.monitoring.record_event("/jax/compilation_cache/tasks_using_cache")
    except (ImportError, AttributeError, TypeError) as error:
        _warn("the persistent compilation cache is off", error)


def allow_export(targets) -> None:
    """Lets `jax.export` serialise programs that call our custom calls `targets`."""
    try:
        from jax._src.export import _export

        _export._CUSTOM_CALL_TARGETS_GUARANTEED_STABLE.update(targets)
    except (ImportError, AttributeError, TypeError) as error:
        _warn("jax.export refuses programs with our custom calls", error)


def primitive(module: str, name: str):
    """The primitive `name` of the module `jax._src.<module>`; None in a JAX that has none."""
    import importlib

    try:
        return getattr(importlib.import_module(f"jax._src.{module}"), name, None)
    except ImportError:
        return None


def function(module: str, name: str):
    """The same for a function, such as one of JAX's own lowering rules."""
    return primitive(module, name)


def register_lowering(prim, rule, platform: str, **options) -> None:
    """Gives a primitive a lowering rule for our platform."""
    try:
        from jax._src.interpreters import mlir

        known = inspect.signature(mlir.register_lowering).parameters
        options = {name: value for name, value in options.items() if name in known}
        mlir.register_lowering(prim, rule, platform=platform, **options)
    except (ImportError, AttributeError, TypeError, NotImplementedError) as error:
        _warn(f"{prim} does not lower", error)


def register_late(module: str, rules: dict, platform: str) -> None:
    """Gives primitives of a module that JAX does not import by itself their rules, before the first
    program that can have them is lowered. A rule that is a name is one of that module."""
    def look(event: str, duration: float, **_) -> None:
        found = sys.modules.get(module)
        if event != "/jax/core/compile/jaxpr_trace_duration" or found is None or pending == []:
            return
        pending.clear()
        for name, rule in rules.items():
            try:
                rule = getattr(found, rule) if isinstance(rule, str) else rule
                register_lowering(getattr(found, name), rule, platform)
            except AttributeError as error:
                _warn(f"{name} does not lower", error)

    pending = [module]
    jax.monitoring.register_event_duration_secs_listener(look)


def ir_type(ctx, aval):
    """The type of a value with this aval, inside a lowering rule."""
    from jax._src.interpreters import mlir

    takes_context = len(inspect.signature(mlir.aval_to_ir_type).parameters) > 1
    return mlir.aval_to_ir_type(*([ctx.module_context] if takes_context else []), aval)


def physical_form(aval):
    """The shape and dtype in which a value with this aval lies in memory: keys are integers."""
    from jax._src import core

    physical = core.physical_aval(aval)
    return physical.shape, np.dtype(physical.dtype)


def custom_call(target: str, operands, result_types, config: str, side_effect: bool):
    """A custom call, inside a lowering rule."""
    from jax._src.interpreters import mlir

    return mlir.custom_call(
        target,
        result_types=result_types,
        operands=operands,
        backend_config=config,
        has_side_effect=side_effect,
        api_version=2,
    )


def emit_python_callbacks(platform: str, name: str, emit) -> None:
    """Makes `emit` what `emit_python_callback` does in programs for our platform, which it refuses, and
    for `name`."""
    try:
        from jax._src import callback
        from jax.interpreters import mlir

        theirs = callback.emit_python_callback

        @functools.wraps(theirs)
        def emit_python_callback(ctx, *arguments, **options):
            ours = tuple(ctx.module_context.platforms) in ((platform,), (name,))
            return (emit if ours else theirs)(ctx, *arguments, **options)

        callback.emit_python_callback = mlir.emit_python_callback = emit_python_callback
    except (ImportError, AttributeError, TypeError) as error:
        _warn("rules of other packages cannot call into Python", error)


def callback_sharding(ctx, sharding):
    """How JAX says on which device a callback runs; None outside of programs for several."""
    from jax._src import callback

    return callback._callback_op_sharding(ctx.module_context.axis_context, sharding, ctx.avals_out)


def set_callback_sharding(ctx, call, sharding, tokens: int) -> None:
    """Puts a callback_sharding on a custom call, whose first `tokens` results are tokens."""
    from jax._src.interpreters import mlir

    parts = getattr(sharding, "shardings", None)  # those of Shardy are one for each result
    if tokens and ctx.avals_out and parts:
        token = type(parts[0])(mesh_shape=(), dim_shardings=(), logical_device_ids=parts[0].logical_device_ids)
        sharding = type(sharding)((token, *parts))
    takes_context = len(inspect.signature(mlir.set_sharding).parameters) > 2
    mlir.set_sharding(*([ctx.module_context] if takes_context else []), call, sharding)


def callback_logger(name: str):
    """Where JAX logs that the callback of a primitive failed."""
    return logging.getLogger("jax._src." + ("debugging" if "debug" in name else "callback"))


def set_token(ctx, effect, token) -> None:
    """Makes `token` what the next op with this ordered effect waits for."""
    from jax._src.interpreters import mlir

    tokens = mlir.TokenSet({effect: token})
    ctx.set_tokens_out(ctx.tokens_in.update_tokens(tokens))


def _warn(consequence: str, error: Exception) -> None:
    logger.warning("jax-mps: JAX %s moved a private name, so %s: %s", jax.__version__, consequence, error)
