"""Writes seeds/*.bc: small programs with what tests/bytecode/artifacts lack (custom calls, loops, scatters,
sorts, windows, products), as JAX lowers them for the plugin. One program for each result of the functions
here, because an input costs by the number of its ops; whole are those whose results share fusions.

JAX_PLATFORMS=mps,cpu python make_seeds.py
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent / "bytecode"))
import programs  # noqa: E402
VERSION = "1.9.0"


def shape(*dims, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(dims, dtype)


def linalg(a):
    s = a @ a.T
    return jnp.linalg.eigh(s), lax.linalg.qr(a), jnp.linalg.svd(a), lax.linalg.lu(s), jnp.linalg.cholesky(s)


def linalg_general(a, b):
    return jnp.linalg.eig(a), lax.linalg.schur(a), lax.linalg.hessenberg(a), lax.linalg.triangular_solve(a, b)


def tops(x):
    return lax.approx_max_k(x, 3), lax.approx_min_k(x, 2, reduction_dimension=0), lax.top_k(x, 2)


def sorts(x, y):
    return lax.sort((x, y), num_keys=2), jnp.argsort(-x, axis=0), jnp.median(x), jnp.searchsorted(x[0], y[0])


def scatters(x, i, u):
    return (
        x.at[i].add(u),
        x.at[i].multiply(u, mode="drop"),
        x.at[:, i].max(u[0, 0]),
        x.at[i].set(u, mode="clip"),
        x.at[i].apply(jnp.tanh),
    )


def gathers(x, i):
    return x[i], x[i, i], jnp.take_along_axis(x, i[:, None], 0), lax.dynamic_slice(x, (i[0], i[1]), (2, 2))


def windows(x):
    window = lambda init, f: lax.reduce_window(x, init, f, (2, 3), (1, 2), "SAME", (1, 2), (2, 1))
    pairs = lax.reduce_window(
        (x, x + 1.0), (np.float32(0), np.float32(1)), lambda p, q: (p[0] + q[1], p[1] * q[0]), (2, 2), (1, 1), "SAME"
    )
    return window(0.0, lax.add), window(-1.0, lax.max), pairs, jnp.cumsum(x, 1), lax.cumlogsumexp(x, axis=0, reverse=True)


def pool_gradient(x):
    pooled = lambda x: jnp.sum(lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (2, 1), "SAME") ** 2)
    return jax.grad(pooled)(x)


def loops(x, n):
    def body(i, c):
        a, s = c
        return a * 0.5 + x, s.at[i % 3].set(a[0, 0])

    a, s = lax.fori_loop(0, 5, body, (x, jnp.zeros(3)))
    ys = lax.scan(lambda c, v: (c + v, c * v), x[0], x)
    z = lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 2), (0, x))
    return a, s, ys, z, lax.cond(n > 2, jnp.sin, jnp.cos, x), lax.switch(n, [jnp.exp, jnp.sqrt, jnp.abs], x)


def reductions(x, i):
    mean = jnp.mean(x, 0)
    return jax.nn.softmax(x), jnp.var(x, 1), jnp.argmax(x, 1), jnp.any(i > 2), jnp.bitwise_xor.reduce(i), x - mean


def products(a, b, k):
    image = a.reshape(1, 1, *a.shape)
    conv = lax.conv_general_dilated(image, k, (1, 2), ((1, 1), (2, 0)), lhs_dilation=(1, 2))
    return a @ b, jnp.einsum("ij,kj->ik", a, a), conv, lax.dot(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16))


def types(x, i):
    narrow = x.astype(jnp.float8_e5m2).astype(jnp.float16) + x.astype(jnp.bfloat16)
    c = lax.complex(x, -x)
    bits = lax.bitcast_convert_type(x, jnp.int32) >> (i & 7)
    return narrow, c * c + jnp.exp(c), bits, i.astype(jnp.int4) * 2, i // 3, i % 3, lax.clz(i), jnp.fft.fft(c)


def moves(x):
    padded = jnp.pad(x, ((1, 2), (0, 1)), constant_values=2)
    wide = lax.pad(x, 1.0, ((-1, 0, 1), (0, 2, 0)))
    return padded[::2, ::-1].T, wide, jnp.concatenate([x, x * 2, x[:1]]), jnp.roll(x, 1, 0), jnp.tile(x, (2, 1))


X = shape(4, 4)
I = shape(4, dtype=jnp.int32)
PROGRAMS = {
    "linalg": (linalg, X),
    "linalg_general": (linalg_general, X, X),
    "tops": (tops, shape(5, 6)),
    "sorts": (sorts, shape(3, 5), shape(3, 5, dtype=jnp.int32)),
    "scatters": (scatters, X, I, X),
    "gathers": (gathers, X, I),
    "windows": (windows, shape(4, 6)),
    "pool_gradient": (pool_gradient, shape(5, 6)),
    "loops": (loops, X, shape(dtype=jnp.int32)),
    "reductions": (reductions, X, I),
    "products": (products, X, X, shape(2, 1, 3, 3)),
    "types": (types, shape(4), I),
    "moves": (moves, X),
}

WHOLE = {"reductions", "types", "moves"}


def write(name, function, arguments):
    lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("mps",))
    module = lowered.compiler_ir("stablehlo")
    text = module.operation.get_asm(enable_debug_info=False)
    artifact = programs.Program(name, text, by_client=True).serialize(VERSION)
    (HERE / "seeds" / f"{name}.bc").write_bytes(artifact)
    print(name, len(artifact))


if __name__ == "__main__":
    (HERE / "seeds").mkdir(exist_ok=True)
    for name, (function, *arguments) in PROGRAMS.items():
        results = jax.eval_shape(function, *arguments)
        if name in WHOLE or not isinstance(results, tuple):
            write(name, function, arguments)
        if isinstance(results, tuple):
            for i in range(len(results)):
                write(f"{name}_{i}", lambda *given, f=function, i=i: f(*given)[i], arguments)
