"""Small work of a GPU whose memory is the CPU's runs on the CPU, with the same bits."""

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
np.savez(sys.argv[1], *map(np.asarray, results))
"""


def run(folder, small):
    folder.mkdir()
    env = {**os.environ, "JAX_MPS_SMALL_ON_CPU": small, "JAX_MPS_DUMP": str(folder), "JAX_MPS_STRICT": "1"}
    subprocess.run([sys.executable, "-c", PROGRAM, folder / "results.npz"], check=True, env=env, timeout=240)
    with np.load(folder / "results.npz") as results:
        return [results[name] for name in results.files], [p.read_text() for p in folder.glob("*.4.cpu.txt")]


def test_bits_do_not_depend_on_where(tmp_path):
    here, reasons = run(tmp_path / "1", "1")
    there, none = run(tmp_path / "0", "0")
    assert not none
    for a, b in zip(here, there, strict=True):
        assert a.tobytes() == b.tobytes()
    assert sum(text.startswith("on the CPU: ") for text in reasons) >= 4, reasons
    assert any(text.startswith("not on the CPU: ") for text in reasons), reasons
