"""How compile time and memory grow: compile time per op from 100 to 100,000 ops, of a scan by its
length; memory of train steps by batch, and against XLA's own estimate; the first call in a second
process. Same result form as a timed workload."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

GROWTH: dict[str, Callable[[], dict]] = {}


def _row(seconds: float, value, per: str, tolerance=1e-3) -> dict:
    return {
        "seconds": seconds, "first_call_seconds": seconds, "rate": None, "unit": "", "per": per,
        "tolerance": tolerance, "value": np.ravel(np.asarray(value, dtype=np.float64)).tolist(),
    }


def _compile_chain(ops: int) -> dict:
    """A straight line of `ops` elementwise ops and products."""

    def f(x):
        for i in range(ops // 4):
            x = jnp.tanh(x) * 0.5 + x
            if i % 16 == 0:
                x = jnp.tanh(x @ x)
        return x

    lowered = jax.jit(f).lower(jnp.ones((4, 4)) * 0.1)
    start = time.perf_counter()
    compiled = lowered.compile()
    return _row((time.perf_counter() - start) / ops, compiled(jnp.ones((4, 4)) * 0.1), "op compiled")


def _compile_scan(length: int) -> dict:
    def f(x):
        return lax.scan(lambda c, _: (jnp.sin(c) * 0.9, c.sum()), x, None, length=length)

    lowered = jax.jit(f).lower(jnp.ones(16))
    start = time.perf_counter()
    compiled = lowered.compile()
    return _row(time.perf_counter() - start, compiled(jnp.ones(16))[0], "compile")


def _train_memory(batch: int) -> dict:
    """Peak resident memory of an MLP train step, in GB where others report seconds."""
    rng = np.random.default_rng(0)
    weights = [jnp.asarray(rng.normal(0, 0.05, (1024, 1024)).astype(np.float32)) for _ in range(4)]
    x = jnp.asarray(rng.normal(size=(batch, 1024)).astype(np.float32))

    def loss(weights):
        h = x
        for w in weights:
            h = jax.nn.relu(h @ w)
        return (h * h).mean()

    step = jax.jit(lambda ws: jax.tree.map(lambda w, g: w - 0.1 * g, ws, jax.grad(loss)(ws)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        weights = step(weights)
    value = np.asarray(weights[0][:8, :8])
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _row((after - before) / 1e6, value, "GB")


def _resnet_memory(batch: int) -> dict:
    """Peak bytes of a ResNet-18 train step: as the device counts them, or by XLA's own analysis."""
    import workloads

    step, arguments = workloads.resnet_step(batch)
    compiled = jax.jit(step).lower(*arguments).compile()
    out = compiled(*arguments)
    value = np.asarray(out[1])
    device = jax.devices()[0]
    if device.platform == "cpu":
        sizes = compiled.memory_analysis()
        peak = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
        peak -= sizes.alias_size_in_bytes
    else:
        peak = device.memory_stats()["peak_bytes_in_use"]
    return _row(peak / 1e9, value, "GB", tolerance=2e-2)


_SECOND = """
import sys, time, json
sys.path.insert(0, {here!r})
import jax, numpy as np
jax.config.update("jax_compilation_cache_dir", {folder!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
import workloads
step, arguments = workloads.resnet_step(32)
lowered = jax.jit(step).lower(*arguments)
start = time.perf_counter()
compiled = lowered.compile()
seconds = time.perf_counter() - start
print(json.dumps([seconds, float(np.asarray(compiled(*arguments)[1]))]))
"""


def _second_process() -> dict:
    """What compiling a ResNet-18 train step takes where another process has compiled it before."""
    import json

    with tempfile.TemporaryDirectory() as folder:
        program = _SECOND.format(here=os.path.dirname(os.path.abspath(__file__)), folder=folder)
        for _ in range(2):
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, loss = json.loads(done.stdout.strip().splitlines()[-1])
    return _row(seconds, loss, "compile", tolerance=2e-2)


for _ops in (100, 1_000, 10_000, 100_000):
    GROWTH[f"compile_{_ops}_ops"] = lambda ops=_ops: _compile_chain(ops)
for _length in (10, 1_000):
    GROWTH[f"compile_scan_{_length}"] = lambda length=_length: _compile_scan(length)
for _batch in (256, 4096):
    GROWTH[f"memory_batch_{_batch}"] = lambda batch=_batch: _train_memory(batch)
GROWTH["memory_resnet18_32"] = lambda: _resnet_memory(32)
GROWTH["second_process_resnet18"] = _second_process
