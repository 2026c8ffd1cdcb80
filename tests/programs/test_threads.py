"""JAX_MPS_CPU_THREADS changes how fast results come, never one bit of them."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.cpu_only("the variable is about the CPU's kernels")

PROGRAMS = """
    import hashlib, json, os, pathlib
    import numpy as np, jax, jax.numpy as jnp
    from jax import lax

    rng = np.random.default_rng(7)
    def normal(*shape, dtype=np.float32):
        return rng.standard_normal(shape).astype(dtype)

    def layer_norm(x, scale, offset):
        mean = x.mean(-1, keepdims=True)
        spread = lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5)
        return ((x - mean) * spread * scale + offset)

    def attention(q, k, v):
        return jax.nn.softmax(q @ k.swapaxes(-1, -2), -1) @ v

    def conv(x, w, strides=(1, 1)):
        return lax.conv_general_dilated(x, w, strides, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    bf16 = jnp.bfloat16
    wide, tall = normal(37, 20011), normal(20011, 37)
    image, filters = normal(3, 61, 59, 16), normal(3, 3, 16, 24)
    programs = {
        "matmul f32": (lambda a, b: a @ b, normal(301, 517), normal(517, 263)),
        "matmul f32, long sum": (lambda a, b: a @ b, wide, tall),
        "matmul f32, vector": (lambda a, b: a @ b, wide, tall[:, 0]),
        "matmul bf16": (lambda a, b: a @ b, normal(301, 517, dtype=bf16), normal(517, 263, dtype=bf16)),
        "matmul c64": (lambda a, b: a @ b, normal(65, 301) + 1j * normal(65, 301), normal(301, 70) * 1j),
        "matmul, batch": (lambda a, b: a @ b, normal(19, 33, 65), normal(19, 65, 31)),
        "conv": (conv, image, filters),
        "conv, stride": (lambda x, w: conv(x, w, (2, 2)), image, filters),
        "conv gradient": (jax.grad(lambda w, x: (conv(x, w) ** 2).sum()), filters, image),
        "softmax": (lambda x: jax.nn.softmax(x, -1), wide),
        "softmax, columns": (lambda x: jax.nn.softmax(x, 0), tall),
        "attention": (attention, normal(4, 129, 32), normal(4, 129, 32), normal(4, 129, 32)),
        "row sums": (lambda x: x.sum(-1), wide),
        "column sums": (lambda x: x.sum(0), tall),
        "column sums, few rows": (lambda x: x.sum(0), wide),
        "column moments": (lambda x: (x.mean(0), x.var(0), x.max(0)), tall),
        "sum of all": (lambda x: x.sum(), normal(1_000_003)),
        "norm, sum of exp": (lambda x: (jnp.linalg.norm(x), jax.nn.logsumexp(x)), normal(700, 1001)),
        "products": (lambda x: (1 + x / 1000).prod(), normal(300_007)),
        "largest": (lambda x: (x.argmax(), x.argmax(0), x.argmin(1)), normal(501, 603)),
        "sort": (lambda x: (jnp.sort(x), jnp.argsort(x)), normal(200_003).round(2)),
        "sort, columns": (lambda x: jnp.sort(x, 0), tall),
        "top": (lambda x: lax.top_k(x, 17), wide.round(1)),
        "cumulative": (lambda x: (jnp.cumsum(x), lax.cummax(x)), normal(300_001)),
        "random": (lambda k: (jax.random.normal(k, (301, 401)), jax.random.randint(k, (9999,), 0, 77)),
                   jax.random.key_data(jax.random.key(3))),
        "layer norm": (layer_norm, normal(513, 769), normal(769), normal(769)),
        "layer norm gradient": (jax.grad(lambda *a: (layer_norm(*a) ** 3).sum(), (0, 1, 2)),
                                normal(513, 769), normal(769), normal(769)),
        "pooling": (lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"), image),
        "scatter add": (lambda x, i, u: x.at[i].add(u), normal(503, 64),
                        rng.integers(0, 503, 20_011), normal(20_011, 64)),
        "gather": (lambda x, i: x[i], normal(503, 64), rng.integers(0, 503, 20_011)),
        "fft": (lambda x: jnp.fft.rfft(x), normal(130, 1000)),
        "linear algebra": (lambda a: (jnp.linalg.cholesky(a @ a.mT + 99 * jnp.eye(70)), jnp.linalg.inv(a)),
                           normal(9, 70, 70)),
    }
    hashes = {}
    for name, (f, *arguments) in programs.items():
        arguments = [jax.device_put(a, jax.devices("mps")[0]) for a in arguments]
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(jax.jit(f)(*arguments)):
            assert not np.issubdtype(leaf.dtype, np.floating) or np.isfinite(np.asarray(leaf)).all(), name
            digest.update(np.asarray(leaf).tobytes())
        hashes[name] = digest.hexdigest()
    tasks = pathlib.Path("/proc/self/task")
    print(json.dumps([hashes, len(list(tasks.iterdir())) if tasks.exists() else None]))
"""


def results(threads):
    """A hash of the results of each program, and how many threads the process had, if that is known.

    Without the thread that compiles what has run for long.
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(PROGRAMS)], capture_output=True, text=True,
                          timeout=300, env={**os.environ, "JAX_MPS_CPU_THREADS": str(threads), "JAX_MPS_LLVM": "0"})
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def with_one_thread():
    return results(1)


@pytest.mark.parametrize("threads", [2, 7, 64])
def test_bits_do_not_depend_on_threads(with_one_thread, threads):
    (want, alone), (got, tasks) = with_one_thread, results(threads)
    assert [name for name in got if got[name] != want[name]] == []
    assert alone is None or tasks - alone == threads - 1  # the variable did something
