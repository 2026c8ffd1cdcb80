"""Small programs, and small loops and branches of large ones, run on the CPU where a GPU shares its memory, with the same
bits."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("JAX_MPS_DEVICE") != "simulated", reason="JAX_MPS_DEVICE is not `simulated`"
)

PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax import lax

def mixed(a, x):
    big = a @ a
    orbit = lax.fori_loop(0, 300, lambda i, s: s + 0.01 * jnp.stack([s[1], -s[0], s[2] * s[0]]), x)
    root = lax.while_loop(lambda s: jnp.abs(s[0] * s[0] - s[1]) > 1e-6 * s[1],
                          lambda s: (0.5 * (s[0] + s[1] / s[0]), s[1]), (x[0], big[0, 0] + orbit[1] + 2))[0]
    turned = lax.cond(root > 0, lambda v: v[::-1] * 3, lambda v: v - 1, orbit)
    return lax.fori_loop(0, 3, lambda i, s: s * 0.5 + a, big) + root, orbit, turned

def ode(x):
    def step(x, _):
        dx = jnp.stack([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 2.5 * x[2]])
        return x + 0.01 * dx, x
    return jax.lax.scan(step, x, None, length=100)[1]

def sampler(key, x):
    key, where = jax.random.split(key)
    y = x + jax.random.bits(where, x.shape, "uint32").astype(jnp.float32) * 2.0 ** -32
    return jnp.where(jnp.sum(y) > 2.0, y, x)

results = [jax.jit(lambda x: x + 1)(jnp.arange(10.0)), jax.jit(ode)(jnp.ones(3)),
           jax.jit(sampler)(jax.random.key(3), jnp.ones(4)), jax.jit(lambda x: x * 0.5 + x)(jnp.ones((600, 600)))]
# Of what a GPU computes, and of what the CPU did.
results += [jax.jit(lambda x, y: x[0, :10] - y, donate_argnums=1)(results[3], results[0] * 2), results[1]]
results += jax.jit(mixed)((jnp.arange(65536.0) % 7).reshape(256, 256), jnp.arange(1.0, 4.0))
np.savez(sys.argv[1], *map(np.asarray, results))
"""


def run(folder, small):
    folder.mkdir()
    env = {**os.environ, "JAX_MPS_SMALL_ON_CPU": small, "JAX_MPS_DUMP": str(folder), "JAX_MPS_STRICT": "1"}
    subprocess.run([sys.executable, "-c", PROGRAM, folder / "results.npz"], check=True, env=env, timeout=240)
    with np.load(folder / "results.npz") as results:
        return [results[name] for name in results.files], folder


def reasons(folder, of):
    """What was decided about programs (`cpu`), or about loops and branches inside of them (`regions`)."""
    return [line for p in folder.glob(f"*.4.{of}.txt") for line in p.read_text().splitlines() if "on the CPU: " in line]


def test_bits_do_not_depend_on_where(tmp_path):
    here, some = run(tmp_path / "1", "1")
    there, none = run(tmp_path / "0", "0")
    whatever, most = run(tmp_path / "2", "2")
    assert not reasons(none, "cpu") and not reasons(none, "regions")
    for a, b, c in zip(here, there, whatever, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()
    programs, regions = reasons(some, "cpu"), reasons(some, "regions")
    assert sum(text.startswith("on the CPU: ") for text in programs) >= 4, programs
    assert any(text.startswith("not on the CPU: ") for text in programs), programs
    # Of `mixed`: two loops and a branch, and a loop over the large matrix.
    assert [": not on the CPU: " in text for text in regions] == [False, False, False, True], regions
    assert all(text.startswith("on the CPU: ") for text in reasons(most, "cpu")), reasons(most, "cpu")
