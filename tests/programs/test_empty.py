"""Arrays without elements, in every kind of op: the same results as JAX's CPU backend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

Z = np.zeros


def conv(x, w, padding="SAME"):
    return lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def window(x, init=0.0, op=lax.add):
    return lax.reduce_window(x, init, op, (1, 2), (1, 1), "SAME")


E = Z((0, 3), np.float32)
F = Z((3, 0), np.float32)
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
NONE = Z(0, np.int32)
IMAGE = np.arange(2 * 4 * 4 * 3, dtype=np.float32).reshape(2, 4, 4, 3)

CASES = {
    "elementwise": (lambda x: jnp.exp(x) * 2 + x, E),
    "elementwise, broadcast": (lambda x, y: x + y, E, np.float32(1)),
    "broadcast": (lambda x: jnp.broadcast_to(x, (5, 0, 3)), E),
    "convert": (lambda x: (x.astype(jnp.int8), x.astype(jnp.bfloat16), x > 0), E),
    "sum of all": (lambda x: (x.sum(), x.prod(), x.mean()), E),
    "sum of axes": (lambda x: (x.sum(0), x.sum(1), x.sum(0, keepdims=True)), E),
    "sum over nothing": (lambda x: (x.sum(1), x.prod(1), x.sum(0)), F),
    "extremes": (lambda x: (x.max(1), x.min(1)), Z((0, 3), np.int32)),
    "any, all": (lambda x: (x.any(), x.all(), x.any(0)), Z((0, 3), bool)),
    "max over nothing": (lambda x: lax.reduce(x, -jnp.inf, lax.max, (0,)), E),
    "argmax of no rows": (lambda x: (x.argmax(1), x.argmin(1)), E),
    "two sums": (lambda x: lax.reduce((x, x), (0.0, 1.0), lambda a, b: (a[0] + b[0], a[1] * b[1]), (1,)), F),
    "softmax": (lambda x: (jax.nn.softmax(x, 0), jax.nn.softmax(x, 1)), E),
    "layer norm": (lambda x: (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1), E),
    "variance of columns": (lambda x: (x + 1).sum(0) * 2, E),
    "product, k = 0": (lambda a, b: a @ b, F, E),
    "product, m = 0": (lambda a, b: a @ b, E, F[:, :0].reshape(3, 0)),
    "product, n = 0": (lambda a, b: a @ b, ROWS, F),
    "product, no rows": (lambda a, b: a @ b, E, np.ones((3, 5), np.float32)),
    "product, k = 0, wide": (lambda a, b: a @ b, Z((70, 0), np.float32), Z((0, 90), np.float32)),
    "product, k = 0, vector": (lambda a, b: a @ b, F, Z(0, np.float32)),
    "product, no batch": (lambda a, b: a @ b, Z((0, 4, 5), np.float32), Z((0, 5, 6), np.float32)),
    "product, k = 0, batch": (lambda a, b: a @ b, Z((2, 4, 0), np.float32), Z((2, 0, 6), np.float32)),
    "product, integers": (lambda a, b: a @ b, Z((4, 0), np.int32), Z((0, 5), np.int32)),
    "product, bfloat16": (lambda a, b: a.astype(jnp.bfloat16) @ b.astype(jnp.bfloat16), F, E),
    "product, complex": (lambda a, b: a @ b, F.astype(np.complex64), E.astype(np.complex64)),
    "product and bias": (lambda a, b: jnp.maximum(a @ b + 1, 0.5), F, E),
    "outer product": (lambda a, b: jnp.outer(a, b), Z(0, np.float32), np.ones(3, np.float32)),
    "gradient of product": (jax.grad(lambda w, x: jnp.tanh(x @ w).sum()), np.ones((3, 2), np.float32), E),
    "conv, no batch": (conv, IMAGE[:0], np.ones((3, 3, 3, 5), np.float32)),
    "conv, no features in": (conv, IMAGE[..., :0], Z((3, 3, 0, 5), np.float32)),
    "conv, no features out": (conv, IMAGE, Z((3, 3, 3, 0), np.float32)),
    "conv, no pixels": (lambda x, w: conv(x, w, "VALID"), IMAGE[:, :2, :2], np.ones((3, 3, 3, 5), np.float32)),
    "conv gradient": (jax.grad(lambda w, x: conv(x, w).sum()), np.ones((3, 3, 3, 5), np.float32), IMAGE[:0]),
    "window": (lambda x: (window(x), window(x, -jnp.inf, lax.max)), E),
    "window, no columns": (lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 1), (1, 1), "VALID"), F),
    "window, too large": (lambda x: lax.reduce_window(x, 0.0, lax.add, (5, 1), (1, 1), "VALID"), ROWS),
    "window gradient": (jax.grad(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 2), "VALID").sum()), E),
    "sort": (lambda x: (jnp.sort(x, 0), jnp.sort(x, 1), jnp.argsort(x, 0)), E),
    "sort nothing": (lambda x: (jnp.sort(x, 1), jnp.argsort(x, 1), lax.top_k(x, 0)), F),
    "sort by": (lambda x, y: lax.sort((x, y), num_keys=1), Z(0, np.int32), Z(0, np.float32)),
    "top of no rows": (lambda x: lax.top_k(x, 2), E),
    "cumulative": (lambda x: (jnp.cumsum(x, 0), jnp.cumsum(x, 1), lax.cummax(x, 0), jnp.cumprod(x, 0)), E),
    "cumulative nothing": (lambda x: (jnp.cumsum(x, 1), lax.cumlogsumexp(x, 1)), F),
    "concatenate": (lambda x, y: jnp.concatenate([x, y, x]), E, ROWS),
    "concatenate nothing": (lambda x: jnp.concatenate([x, x]), E),
    "concatenate, columns": (lambda x, y: jnp.concatenate([x, y[:3] * 2, x], 1), F, ROWS),
    "stack": (lambda x: jnp.stack([x, x + 1]), E),
    "pad": (lambda x: jnp.pad(x, ((1, 2), (0, 1)), constant_values=7), E),
    "pad, between": (lambda x: lax.pad(x, 7.0, ((0, 0, 1), (1, 1, 2))), F),
    "pad to nothing": (lambda x: lax.pad(x, 7.0, ((-2, -2, 0), (0, 0, 0))), ROWS),
    "slice": (lambda x: (x[2:2], x[:, 1:1], x[4:]), ROWS),
    "reverse, transpose": (lambda x: (x[::-1], x.T, x[:, ::-1].T + 1), E),
    "reshape": (lambda x: (x.reshape(0), x.reshape(7, 0), x.reshape(0, 9, 2)), E),
    "iota": (lambda: (jnp.arange(0), lax.broadcasted_iota(jnp.int32, (3, 0), 0)),),
    "tile": (lambda x: (jnp.tile(x, (2, 2)), jnp.tile(x, (0, 1))), E),
    "dynamic slice": (lambda x, i: lax.dynamic_slice(x, (i, 0), (0, 2)), ROWS, np.int32(9)),
    "dynamic slice of nothing": (lambda x, i: lax.dynamic_slice(x, (i, 0), (0, 2)), E, np.int32(1)),
    "dynamic update": (lambda x, i: lax.dynamic_update_slice(x, x[:0], (i, 0)), ROWS, np.int32(2)),
    "gather, no places": (lambda x, i: (x[i], x[:, i], jnp.take(x, i, 0)), ROWS, NONE),
    "gather of nothing": (lambda x, i: jnp.take(x, i, 1, mode="fill"), F.T[:0].reshape(0, 3), np.array([2, 0], np.int32)),
    "scatter, no places": (lambda x, i: (x.at[i].set(3), x.at[i].add(x[:0])), ROWS, NONE),
    "scatter to nothing": (lambda x, i: x.at[i].add(1, mode="drop"), E, np.array([0, 5], np.int32)),
    "segments": (lambda x, i: jax.ops.segment_sum(x, i, 4), E, NONE),
    "where": (lambda x: jnp.where(x > 0, x, -x), E),
    "clamp": (lambda x: lax.clamp(0.0, x, 1.0), E),
    "fft": (lambda x: jnp.fft.fft(x, axis=1), E),
    "random": (lambda k: (jax.random.normal(k, (0, 3)), jax.random.permutation(k, jnp.zeros(0))), np.array([1, 2], np.uint32)),
    "cholesky": (lambda x: jnp.linalg.cholesky(x), Z((0, 3, 3), np.float32)),
    "cholesky of nothing": (lambda x: jnp.linalg.cholesky(x), Z((2, 0, 0), np.float32)),
    "triangular solve": (lambda a, b: jax.scipy.linalg.solve_triangular(a, b), np.eye(3, dtype=np.float32), F),
    "scan of nothing": (lambda x: lax.scan(lambda c, r: (c + r.sum(), r * 2), 1.0, x), E),
    "scan over empty rows": (lambda x: lax.scan(lambda c, r: (c + 1, r * 2), 1.0, x), F),
    "loop": (lambda x: lax.fori_loop(0, 3, lambda i, v: v + i, x), E),
    "branch": (lambda x, c: lax.cond(c, lambda x: x + 1, lambda x: x, x), E, np.bool_(True)),
    "complex": (lambda x: (x * (1 + 2j)).conj() + 1, E.astype(np.complex64)),
    "int4": (lambda x: (x.astype(jnp.int4) + jnp.int4(1)).astype(jnp.int8), Z((0, 3), np.int8)),
    "vmap": (jax.vmap(lambda x: jnp.tanh(x).sum()), E),
    "gradient": (jax.grad(lambda x: jnp.tanh(x).sum()), E),
    "donated": (jax.jit(lambda x: x + 1, donate_argnums=0), E),
    "window over padding": (lambda x: [lax.reduce_window(x, i, f, (2, 1), (1, 1), ((2, 1), (0, 0))) for f, i in ((lax.add, 0.0), (lax.max, -jnp.inf))], E),
    "window over padding, general": (
        lambda x, y: lax.reduce_window((x, y), (0.0, -jnp.inf), lambda a, b: (a[0] + b[0], jnp.maximum(a[1], b[1])), (2, 2), (1, 1), ((1, 1), (2, 0))),
        E,
        E,
    ),
    "window over padding, dilated": (lambda x: lax.reduce_window(x, 0, lax.add, (2, 2), (1, 2), ((2, 1), (0, 1)), base_dilation=(3, 2)), E.astype(np.int32)),
    "reduction with a function": (lambda x: lax.reduce(x, 3.0, lambda a, b: a * b + a, (1,)), F),
    "reduction of two with a function": (lambda x: lax.reduce((x, x), (3.0, 1.0), lambda a, b: (a[0] + b[1], a[1] - b[0]), (1,)), F),
    "reduction of integers": (lambda x: (x.sum(1), x.prod(1), lax.reduce(x, np.int8(-7), lax.max, (1,))), F.astype(np.int8)),
    "reduction of halves": (lambda x: (x.sum(1), lax.reduce(x, x.dtype.type(-1), lax.min, (1,))), F.astype(jnp.bfloat16)),
    "cumulative, backwards": (lambda x: (lax.cumsum(x, 1, reverse=True), lax.cummin(x, 0, reverse=True)), F),
    "mixed product": (lambda a, b: lax.dot_general(a, b.astype(jnp.bfloat16), (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32), F, E),
    "product, halves into floats": (lambda a, b: jnp.matmul(a, b, preferred_element_type=jnp.float32), F.astype(jnp.float16), E.astype(jnp.float16)),
    "conv, complex": (conv, IMAGE[..., :0].astype(np.complex64), Z((3, 3, 0, 5), np.complex64)),
    "conv, integers": (conv, IMAGE[..., :0].astype(np.int32), Z((3, 3, 0, 5), np.int32)),
    "conv of padding": (lambda x, w: lax.conv_general_dilated(x, w, (1, 1), ((2, 2), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")), IMAGE[:, :0], np.ones((2, 3, 3, 5), np.float32)),
    "conv, depthwise": (lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=3), IMAGE[:0], np.ones((3, 3, 1, 6), np.float32)),
    "scatter from nothing": (lambda x, i: (x.at[i].max(x[:0]), x.at[i].multiply(x[:0]), x.at[i, i].set(1.0), x.at[i].apply(jnp.sin)), ROWS, NONE),
    "scatter of empty rows": (lambda x, i: x.at[i].add(x[:2]), F, np.array([2, 0], np.int32)),
    "gather of empty rows": (lambda x, i: x[i], F, np.array([2, 0], np.int32)),
    "take along axis": (lambda x, i: jnp.take_along_axis(x, i, 1), ROWS, Z((4, 0), np.int32)),
    "sorts of several": (lambda x, y: lax.sort((x, y, x), dimension=0, num_keys=2), E, E.astype(np.int32)),
    "unique, histogram": (lambda x: (jnp.unique(x, size=0), jnp.bincount(x.astype(jnp.int32).reshape(-1), length=3)), E),
    "search": (lambda x, y: (jnp.searchsorted(x, y), jnp.searchsorted(y, x)), Z(0, np.float32), np.arange(3, dtype=np.float32)),
    "random bits": (lambda: (jax.random.bits(jax.random.key(1, impl="rbg"), (0, 2)), jax.random.uniform(jax.random.key(1), (2, 0)), jax.random.permutation(jax.random.key(1), 0)),),
    "generator of nothing": (lambda s: lax.rng_bit_generator(s, (0, 3)), np.array([1, 2, 3, 4], np.uint32)),
    "real fft": (lambda x: (jnp.fft.rfft(x, axis=1), jnp.fft.fft2(Z((0, 4, 4)))), E),
    "linear algebra": (
        lambda x: (jnp.linalg.qr(x), jnp.linalg.svd(x), jnp.linalg.eigh(x), jnp.linalg.inv(x), jnp.linalg.det(x), jax.scipy.linalg.lu(x[0])),
        Z((2, 0, 0), np.float32),
    ),
    "linear algebra of no matrices": (lambda x: (jnp.linalg.qr(x), jnp.linalg.svd(x), jnp.linalg.eigh(x), jnp.linalg.inv(x), jnp.linalg.det(x)), Z((0, 3, 3), np.float32)),
    "linear algebra of no columns": (lambda x: (jnp.linalg.qr(x), jnp.linalg.qr(x, "complete"), jnp.linalg.svd(x), jnp.linalg.pinv(x), jax.scipy.linalg.lu(x)), F),
    "linear algebra of no rows": (lambda x: (jnp.linalg.qr(x), jnp.linalg.svd(x), jax.scipy.linalg.lu(x)), E),
    "solves": (lambda a, b: (jnp.linalg.solve(a, b), jax.scipy.linalg.cho_solve((a, True), b), lax.linalg.tridiagonal_solve(*jnp.ones((3, 3)), b)), np.eye(3, dtype=np.float32), F),
    "loop with some": (lambda x, y: lax.fori_loop(0, 3, lambda i, v: (jnp.exp(v[0]), v[1] + v[0].sum() + 1), (x, y)), E, ROWS),
    "branches with some": (lambda x, y, c: lax.cond(c, lambda x, y: (x + 1, y), lambda x, y: (x, -y), x, y), E, ROWS, np.bool_(False)),
    "scan with empty outputs": (lambda x: lax.scan(lambda c, r: (c + 1, (r[:0], c)), 0.0, x), ROWS),
    "callback": (lambda x: jax.pure_callback(lambda x: np.asarray(x) + 1, jax.ShapeDtypeStruct((0, 3), np.float32), x), E),
    "callback from nothing": (lambda x: jax.pure_callback(lambda x: np.float32(np.asarray(x).size), jax.ShapeDtypeStruct((), np.float32), x), E),
    "bits": (lambda x: (lax.bitcast_convert_type(x, jnp.int32), lax.bitcast_convert_type(x, jnp.uint8), lax.population_count(lax.bitcast_convert_type(x, jnp.int32))), E),
    "float8, complex parts": (lambda x: (x.astype(jnp.float8_e4m3fn).astype(jnp.float32), lax.complex(x, x), jnp.real(lax.complex(x, x)), jnp.abs(lax.complex(x, x))), E),
    "select and scatter from nothing": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 1), "VALID"), ROWS[:, :1]),
    "windows without an element, gradient": (jax.grad(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 4), (1, 1), "VALID").sum()), ROWS),
    "attention over nothing": (lambda q, k: jax.nn.dot_product_attention(q, k, k), np.ones((2, 3, 2, 4), np.float32), Z((2, 0, 2, 4), np.float32)),
    "scatter at the origin": (lambda x, y: (x.at[:].add(y), x.at[0:4].max(y), x.at[:].set(y), x.at[:].multiply(y)), ROWS, ROWS[::-1]),
    "scatter at the origin of a scalar": (lambda x: (x.at[()].add(2), x.at[...].set(5)), np.float32(3)),
    "scatter of many at the origin": (lambda x, y: scatter_at_origin(x, y), ROWS, np.arange(12, dtype=np.float32).reshape(3, 2, 2)),
    "gather at the origin": (lambda x: (x[...], gather_at_origin(x)), ROWS),
    "identity": (lambda x: x, E),
}


def scatter_at_origin(x, updates):
    places = lax.ScatterDimensionNumbers((1, 2), (), ())
    return lax.scatter_add(x, Z((3, 0), np.int32), updates, places)


def gather_at_origin(x):
    places = lax.GatherDimensionNumbers((1, 2), (), ())
    return lax.gather(x, Z((3, 0), np.int32), places, (2, 3))


@pytest.mark.parametrize("name", CASES)
def test_empty(mps, cpu, name):
    f, *arguments = CASES[name]
    results = []
    for device in (cpu, mps):
        with jax.default_device(device):
            results.append(jax.jit(f)(*(jax.device_put(a, device) for a in arguments)))
    want, got = results
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype and g.devices() == {mps}
        np.testing.assert_array_equal(g, w)
