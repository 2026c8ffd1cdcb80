"""JAX_MPS_FUSION=0 and JAX_MPS_REUSE=0 change how a program runs, and no result."""

import os
import re
import subprocess
import sys

import pytest

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax import lax

def layer(state, w):
    x, cache = state
    cache = lax.dynamic_update_slice(cache, x[None], (1, 0))
    return (jnp.tanh(x @ w) + x, cache), x[1:3]

def step(x, caches, ws, pivot):
    def body(x, xs):
        cache, w = xs
        (x, cache), part = layer((x, cache), w)
        return x, (cache, part)
    x, (caches, parts) = lax.scan(body, x, (caches, ws))
    total = lax.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, s[1].at[s[0]].add(pivot), s[2][::-1]), (0, x, x))
    slices = ws[1, 2:5].sum() + lax.dynamic_slice(ws, (pivot.astype(int), 0, 0), (1, 8, 8)).max()
    return x, caches, parts, total[1] + total[2], slices, x.reshape(2, 4) * 2

rng = np.random.default_rng(0)
put = lambda *shape: jax.device_put(rng.normal(size=shape).astype(np.float32), jax.devices("mps")[0])
x, caches, ws = put(8), put(3, 4, 8), put(3, 8, 8)
run = jax.jit(step, donate_argnums=(0, 1))
for _ in range(3):
    x, caches, *rest = run(x, caches, ws, jnp.float32(1))
    for value in [x, caches, *rest]:
        print(np.asarray(value).tobytes().hex())
"""


def run(folder, **switches):
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=dict(os.environ, JAX_MPS_DUMP=str(folder), **switches),
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    plans = [file.read_text() for file in folder.glob("*.plan.txt")]
    assert plans
    reuses = sum(len(re.findall(r" over %|= view ", plan)) for plan in plans)
    return done.stdout, reuses


def test_without_reuse_of_memory(mps, tmp_path):
    if mps.device_kind != "cpu":
        pytest.skip("plans of the CPU")
    usual, reuses = run(tmp_path / "usual")
    plain, none = run(tmp_path / "plain", JAX_MPS_REUSE="0")
    assert usual == plain
    assert reuses > 0 and none == 0
