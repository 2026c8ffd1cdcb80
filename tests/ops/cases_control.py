"""Scans along a dimension, and loops and branches around the ops of these families."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.mlir.dialects import stablehlo
from rows import INTS, WIDE_FLOATS, emit, normal, row, uniform, values

REAL = WIDE_FLOATS + INTS
for reverse in (False, True):
    row("stablehlo", lambda x, r=reverse: lax.cumsum(x, 1, reverse=r), [normal(3, 40, 5)], INTS, f"cumsum-ints-{reverse:d}", covers=("mps.cumulative",))
    row("stablehlo", lambda x, r=reverse: lax.cumsum(x, 1, reverse=r), [normal(3, 40, 5)], ("float32", "float64"), f"cumsum-{reverse:d}", ulps=32, floor=0.2, covers=("mps.cumulative",), grad=True, grad_ulps=64)
    row("stablehlo", lambda x, r=reverse: lax.cumsum(x, 1, reverse=r), [normal(3, 40, 5)], ("complex64", "complex128"), f"cumsum-complex-{reverse:d}", ulps=32, floor=0.2, covers=("mps.cumulative",))
    row("stablehlo", lambda x, r=reverse: lax.cumprod(x, 0, reverse=r), [uniform(0.5, 1.5, 30)], ("float32", "float64"), f"cumprod-{reverse:d}", ulps=32, covers=("mps.cumulative",))
    row("stablehlo", lambda x, r=reverse: lax.cummax(x, 0, reverse=r), [normal(30, 4)], REAL, f"cummax-{reverse:d}", covers=("mps.cumulative",))
    row("stablehlo", lambda x, r=reverse: lax.cummin(x, 1, reverse=r), [normal(3, 40)], REAL, f"cummin-{reverse:d}", covers=("mps.cumulative",))
row("stablehlo", lambda x: jnp.cumsum(x), [normal(100000)], "int32", "cumsum-long", vmap=False, covers=("mps.cumulative",))

N = values(7, "int32")
row("stablehlo.while", lambda x, n: lax.fori_loop(0, n, lambda i, v: v.at[i].add(v[i - 1]), x), [normal(9), N], ("float32", "int32"), "loop-update")
row("stablehlo.while", lambda x: lax.scan(lambda c, r: (c + r, c[::-1]), x[0], x), [normal(5, 4)], ("float32", "int32"), "scan-rows", grad=True)
row("stablehlo.while", lambda x, n: lax.while_loop(lambda s: (s[0] < n) & (s[1].sum() < 1e4), lambda s: (s[0] + 1, jnp.sort(-s[1])), (0, x)), [normal(9), N], "float32", "loop-sort")
row("stablehlo.case", lambda x, n: lax.switch(n % 3, [lambda v: v + 1, lambda v: v[::-1], lambda v: v * 2], x), [normal(9), N], ("float32", "int8"), "switch")
row("stablehlo.case", lambda x, n: lax.cond(n > 3, lambda v: jnp.sort(v), lambda v: v, x), [normal(9), N], "float32", "cond-sort", grad=True)
row("stablehlo.while", lambda x: jax.lax.map(lambda r: jnp.linalg.norm(r), x), [normal(6, 4)], "float32", "map-norm", ulps=4)
row("stablehlo.while", lambda x: lax.scan(lambda c, i: (lax.dynamic_update_slice(c, i * jnp.ones((1,), c.dtype), (i.astype(jnp.int32) % 5,)), c.sum()), x, jnp.arange(8).astype(x.dtype)), [normal(5)], ("float32", "int32"), "scan-update", ulps=4, floor=0.1)


def with_tokens(x):
    stablehlo.after_all([stablehlo.create_token(), stablehlo.create_token()])
    return stablehlo.negate(x)


row("stablehlo.after_all", emit(with_tokens), [normal(3)], "float32", "tokens", vmap=False, covers=("stablehlo.after_all", "stablehlo.create_token"))

# Windows whose combiner is no single op: cumulative ones, and others with an initial value that counts.
for reverse in (False, True):
    row("stablehlo.reduce_window", lambda x, r=reverse: lax.cumlogsumexp(x, 1, reverse=r), [normal(3, 40, 5)], WIDE_FLOATS, f"cumlogsumexp-{reverse:d}", ulps=64, floor=0.1, covers=("stablehlo.reduce_window",))


def windowed(x):
    combine = lambda a, b: jnp.log1p(jnp.exp(-jnp.abs(a - b))) + jnp.maximum(a, b)
    return lax.reduce_window(x, x.dtype.type(-30), combine, (2, 3), (1, 2), "VALID")


row("stablehlo.reduce_window", windowed, [normal(6, 9)], ("float32", "float64"), "window-any-combiner", ulps=64, floor=0.5, vmap=False, covers=("stablehlo.reduce_window",))
