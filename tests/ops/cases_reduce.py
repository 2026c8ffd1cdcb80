"""Reductions, windows, and what JAX builds of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rows import BOOL, FLOATS, INTS, SIGNED, WIDE_FLOATS, full_range, normal, permutation, row, special, values

A = normal(6, 33, 20)


def over(function, axes):
    return lambda x: function(x, axis=axes)


for axes in ((0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)):
    tag = "".join(map(str, axes))
    row("stablehlo.reduce", over(jnp.sum, axes), [A], WIDE_FLOATS + ("complex64", "complex128"), f"sum-{tag}", ulps=24, floor=1, grad=axes == (1,))
    row("stablehlo.reduce", over(jnp.max, axes), [A], WIDE_FLOATS + INTS + BOOL, f"max-{tag}", grad=axes == (1,))
row("stablehlo.reduce", over(jnp.sum, (1,)), [full_range(6, 33, 20)], INTS, "sum-ints")
row("stablehlo.reduce", lambda x: lax.reduce(x, x.dtype.type(0), lax.add, (1,)), [normal(4, 1000, shift=1)], FLOATS, "sum-native-type", ulps=12, floor=1)
row("stablehlo.reduce", over(jnp.prod, (0,)), [A], ("float32", "int32", "complex64", "complex128"), "prod", ulps=8, floor=0.1, grad=True)
row("stablehlo.reduce", over(jnp.min, (1,)), [A], WIDE_FLOATS + INTS, "min", grad=True)
row("stablehlo.reduce", over(jnp.max, (1,)), [special(9, 30)], FLOATS, "max-special")
row("stablehlo.reduce", over(jnp.any, (1,)), [A], BOOL, "any")
row("stablehlo.reduce", over(jnp.all, (0, 2)), [normal(3, 33, 2, shift=2)], BOOL, "all")
for name, function, init in (("and", lax.bitwise_and, -1), ("or", lax.bitwise_or, 0), ("xor", lax.bitwise_xor, 0)):
    row("stablehlo.reduce", lambda x, f=function, i=init: lax.reduce(x, x.dtype.type(i), f, (1,)), [full_range(6, 33)], SIGNED, f"reduce-{name}")
row("stablehlo.reduce", lambda x: lax.reduce(x, jnp.zeros((), x.dtype), lax.bitwise_xor, (0,)), [A], BOOL, "reduce-xor-bool")
row("stablehlo.reduce", lambda x: lax.reduce(x, x.dtype.type(3), lax.add, (0,)), [A], ("float32", "int32"), "sum-init", ulps=4, floor=1)
row("stablehlo.reduce", lambda x: lax.reduce(x, x.dtype.type(3), lax.max, (0,)), [normal(0, 5)], ("float32", "int32"), "max-empty")
row("stablehlo.reduce", lambda x: jnp.sum(x, axis=1), [normal(5, 0)], "float32", "sum-empty")
row("stablehlo.reduce", lambda x: jnp.sum(x) + jnp.sum(x * x, axis=0).max(), [normal(400, 300)], "float32", "sum-large", ulps=24, floor=1)

# Two operands: positions of extremes, ties and NaN.
for name, function in (("argmax", jnp.argmax), ("argmin", jnp.argmin)):
    row("stablehlo.reduce", lambda x, f=function: f(x, axis=1), [A], WIDE_FLOATS + INTS, name)
    row("stablehlo.reduce", lambda x, f=function: f(x, axis=0), [special(30, 9)], FLOATS + BOOL, f"{name}-special")
    row("stablehlo.reduce", lambda x, f=function: f(x), [normal(64, 9)], "float32", f"{name}-flat")
row("stablehlo.reduce", lambda x: jnp.argmax(x, axis=1), [values(np.full((2, 5), -np.inf))], "float32", "argmax-all-lowest")


def mean_and_count(x):
    """A combiner that is neither simple nor an arg-max: Welford's, on triples."""

    def combine(a, b):
        n, m, s = a
        k, l, t = b
        total = jnp.maximum(n + k, 1)
        d = l - m
        return n + k, m + d * k / total, s + t + d * d * n * k / total

    zero = jnp.zeros((), x.dtype)
    return lax.reduce((jnp.ones_like(x), x, jnp.zeros_like(x)), (zero, zero, zero), combine, (1,))


row("stablehlo.reduce", mean_and_count, [normal(4, 37)], "float32", "reduce-general", ulps=64, floor=0.1)
row("stablehlo.reduce", lambda x: lax.reduce(x, x.dtype.type(1), lambda a, b: a * b + a + b, (0, 1)), [normal(3, 5, scale=0.1)], "float32", "reduce-affine", ulps=64)

# Windows.
X = normal(2, 9, 10, 3)


def window(function, init, size, stride, padding, base=None, dilation=None):
    return lambda x: lax.reduce_window(
        x, np.asarray(init(x.dtype), x.dtype), function, size, stride, padding, base_dilation=base, window_dilation=dilation
    )


def lowest(dtype):
    return -np.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min


def zero(dtype):
    return 0


for name, size, stride, padding, base, dilation in (
    ("valid", (1, 2, 2, 1), (1, 2, 2, 1), "VALID", None, None),
    ("same", (1, 3, 3, 1), (1, 2, 2, 1), "SAME", None, None),
    ("channels", (1, 2, 1, 2), (1, 1, 3, 1), "SAME", None, None),
    ("dilated", (1, 2, 3, 1), (1, 1, 2, 1), ((0, 0), (1, 2), (0, 1), (0, 0)), (1, 2, 1, 1), (1, 3, 2, 1)),
    ("negative", (1, 2, 2, 1), (1, 1, 1, 1), ((0, 0), (-1, 0), (2, -3), (0, 0)), None, None),
):
    row("stablehlo.reduce_window", window(lax.add, zero, size, stride, padding, base, dilation), [X], WIDE_FLOATS + ("int32", "uint8", "complex64", "complex128"), f"window-sum-{name}", ulps=4, floor=0.5, grad=True, grad_ulps=32)
    row("stablehlo.reduce_window", window(lax.max, lowest, size, stride, padding, base, dilation), [X], WIDE_FLOATS + ("int32", "uint8", "int64"), f"window-max-{name}", grad=name in ("valid", "same"), grad_ulps=8)
row("stablehlo.reduce_window", window(lax.min, lambda d: np.inf, (3, 3), (1, 1), "SAME"), [special(7, 9)], "float32", "window-min-special", ulps=0.5, oracle="cpu")  # either zero may win
row("stablehlo.reduce_window", window(lax.mul, lambda d: 1, (2, 3), (1, 1), "VALID"), [normal(7, 9)], ("float32", "int32"), "window-product", ulps=8)
row("stablehlo.reduce_window", window(lambda a, b: a + b + a * b, zero, (2, 2), (1, 1), "VALID"), [normal(5, 6, scale=0.2)], "float32", "window-general", ulps=64, floor=0.1)
row("stablehlo.reduce_window", window(lax.add, zero, (3,), (1,), "VALID"), [normal(2)], "float32", "window-empty")
row("stablehlo.reduce_window", window(lax.add, zero, (1, 2, 2, 2, 1), (1, 1, 2, 1, 1), "SAME"), [normal(2, 4, 5, 6, 3)], "float32", "window-3d", ulps=8, floor=0.5, grad=True, grad_ulps=32)


def pool_gradient(size, stride, padding, function=lax.max, init=-np.inf):
    def value(x, g):
        pooled = lambda x: lax.reduce_window(x, np.asarray(init, x.dtype), function, size, stride, padding)
        out, back = jax.vjp(pooled, x)
        return back(g[tuple(slice(0, n) for n in out.shape)])[0]

    return value


# Values without ties: which of equal elements is chosen shows in the result.
P = permutation(180, 2)
for name, size, stride, padding in (
    ("valid", (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
    ("overlap", (1, 3, 3, 1), (1, 1, 2, 1), "SAME"),
    ("channels", (1, 2, 1, 2), (1, 1, 1, 1), "SAME"),
):
    def run(x, g, size=size, stride=stride, padding=padding, **kw):
        return pool_gradient(size, stride, padding, **kw)(x.reshape(2, 6, 10, 3), g)

    row("stablehlo.select_and_scatter", run, [P, normal(2, 6, 10, 3)], WIDE_FLOATS, f"max-pool-gradient-{name}", ulps=4, floor=0.5)
    row("stablehlo.select_and_scatter", lambda x, g, run=run: run(x, g, function=lax.min, init=np.inf), [P, normal(2, 6, 10, 3)], "float32", f"min-pool-gradient-{name}", ulps=4, floor=0.5)
row("stablehlo.select_and_scatter", lambda x, g: pool_gradient((2, 2), (1, 1), "SAME")(x, g), [values(np.zeros((5, 6))), normal(5, 6)], "float32", "max-pool-gradient-ties", ulps=4, floor=0.5)

# Built of several ops.
row("stablehlo.reduce", lambda x: jax.nn.softmax(x, axis=-1), [normal(9, 70, scale=4)], FLOATS, "softmax", ulps=16, floor=1e-3, grad=True, grad_ulps=64)
row("stablehlo.reduce", lambda x: jax.nn.logsumexp(x, axis=0), [normal(9, 70)], "float32", "logsumexp", ulps=8, floor=0.1, grad=True, grad_ulps=64)
row("stablehlo.reduce", lambda x: jnp.var(x, axis=(0, 1)), [normal(9, 70, 3)], "float32", "variance", ulps=8, grad=True, grad_ulps=64)
