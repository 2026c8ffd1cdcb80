"""What differs between the versions of JAX that the tests run on."""

import jax

try:
    enable_x64 = jax.enable_x64
except AttributeError:  # before 0.8
    from jax.experimental import enable_x64  # noqa: F401

# Whether an argument may be donated to a result of another shape.
DONATES_ANY_SHAPE = jax.__version_info__ >= (0, 8)

# Op rows and their types that JAX's CPU backend, the oracle, can not be asked about: there it writes
# past the ends of its buffers, and a later test aborts.
NO_ORACLE = {}
if jax.__version_info__ < (0, 7):
    NO_ORACLE = {
        "scatter": ("int2", "uint2"),
        "transpose": ("int2", "uint2", "int4", "uint4", "float4_e2m1fn"),
    }
