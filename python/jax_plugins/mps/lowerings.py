"""Lowering rules for primitives that JAX lowers only on platforms it knows by name."""

from jax_plugins.mps import private


def register(platform: str) -> None:
    """Registers every rule of this file for `platform`."""
    _register_pbroadcast(platform)


def _register_pbroadcast(platform: str) -> None:
    # JAX's own rule emits stablehlo.collective_broadcast, but is registered for "gpu" only.
    prim = private.primitive("lax.parallel", "pbroadcast_p")
    rule = private.function("lax.parallel", "_pbroadcast_lowering")
    if prim is not None and rule is not None:
        private.register_lowering(prim, rule, platform)
