"""A few numbers along the last axis of many rows: columns, stacks, pairs; also where they are overwritten."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax


def values(*shape, dtype=np.float32):
    numbers = np.random.default_rng(sum(shape)).uniform(-2, 2, shape)
    return (numbers * 30).astype(dtype) if np.issubdtype(dtype, np.integer) else numbers.astype(dtype)


def cartpole(s):
    x, v, angle, spin = s[:, 0], s[:, 1], s[:, 2], s[:, 3]
    return jnp.stack([x + 0.02 * v, v * jnp.cos(angle), angle + 0.02 * spin, spin - jnp.sin(angle)], -1)


def shifted(x):
    """Bounds on the short axis, on the one before it and on both."""
    inner = jnp.pad(x, ((0, 0), (2, 1)), constant_values=3) * 2
    outer = jnp.pad(x, ((5, 7), (1, 0)), constant_values=-1) + 1
    return inner, outer, jnp.concatenate([x[:, 1:], x[:, :1]], 1) * x


PROGRAMS = {
    "columns": (cartpole, values(1000, 4)),
    "two short axes": (lambda x: jnp.stack([x, x[:, ::-1] * 2], 1) + jnp.arange(2.0)[:, None], values(700, 3)),
    "pairs": (lambda x: (x[:, :, None] - x[:, None]) ** 2, values(40, 16, 3)),
    "pairs of rows": (lambda x: x[:, :, None] * x[:, None, ::-1] + x[:1, :1, None, :1], values(23, 9, 7, 3)),
    **{
        f"pairs of {length} {np.dtype(dtype).name}": (
            lambda x: (x[:, :, None] - x[:, None]) * x[:, None], values(31, 11, length, dtype=dtype))
        for length, dtype in [(3, np.int8), (2, np.float32), (5, np.float16), (5, np.float32), (12, np.float32)]
    },
    "one row for all": (lambda x: x * x[:1] + jnp.arange(5.0), values(777, 5)),
    "bounds": (shifted, values(90, 3)),
    "reversed": (lambda x: x[:, ::-1] + 1, values(500, 4)),
    "exchanged": (lambda x: jnp.stack([x[:, 1], -x[:, 0]], -1), values(300, 2)),
    "transposed": (lambda x: x.transpose(1, 2, 0) * 2 + 1, values(3, 60, 70)),
    "complex": (lambda x: x * (1 + 2j) + x[:, ::-1], values(120, 3) + 1j * values(120, 3)),
    "narrow": (lambda x: (x.astype(jnp.bfloat16) * 3).astype(jnp.float8_e4m3fn), values(100, 5)),
    "integers": (lambda x: jnp.where(jnp.arange(6) % 2 == 0, x, x[:, ::-1]) * 3, values(64, 6, dtype=np.int8)),
    "two results": (lambda x: (jnp.pad(x[:, :1], ((0, 0), (1, 0), (0, 0))) + x, x * 3), values(50, 2, 300)),
    "turns": (lambda x: lax.associative_scan(lambda a, b: a * 0.5 + b, x), values(64, 9)),
    "turns of columns": (lambda x: lax.associative_scan(jnp.maximum, x, axis=1), values(5, 32)),
    "gather": (lambda x: x[jnp.clip((x[:, 0] * 50).astype(np.int32), 0, 99)] * x, values(100, 4)),
    "one of all": (lambda x: jnp.broadcast_to(x[:1, :1] * 2, (80, 3)) + 0 * x, values(80, 3)),
    "random": (
        lambda x: jax.vmap(lambda k: jax.random.split(k, 2))(lax.bitcast_convert_type(x, np.uint32)),
        values(256, 2),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
def test_values(mps, cpu, name, donate):
    program, x = PROGRAMS[name]
    compiled = jax.jit(program, donate_argnums=0 if donate else ())
    got, want = (jax.tree.leaves(compiled(jax.device_put(x, device) + 0)) for device in (mps, cpu))
    for g, w in zip(got, want, strict=True):
        g, w = (np.asarray(a.astype(np.float32) if a.dtype.itemsize < 4 else a) for a in (g, w))
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6)
