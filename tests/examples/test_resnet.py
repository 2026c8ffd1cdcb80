"""The ResNet example gives the same losses on `mps` as on JAX's CPU backend."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "resnet"

# Eight steps of batch 8 on a narrow network: float32 rounding grows with every step, so the first
# losses are held tighter than the last. On an H200, where cuDNN adds up in another order at every run,
# the last ones of six runs were 1.5 to 2.2 % away.
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import jax, data, main
images, labels, _ = data.load(None)
losses, _ = main.train(images, labels, steps=8, batch_size=8, seed=3, width=16, rate=0.002)
print(json.dumps([jax.default_backend(), losses]))
"""


def losses(platform):
    command = [sys.executable, "-c", PROGRAM, str(EXAMPLE)]
    env = {**os.environ, "JAX_PLATFORMS": platform}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    backend, values = json.loads(done.stdout.splitlines()[-1])
    assert backend == platform
    return np.array(values)


@pytest.mark.needs_plugin
def test_losses_equal_the_cpu_backend():
    expected, actual = losses("cpu"), losses("mps")
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(actual[:1], expected[:1], rtol=1e-5)
    np.testing.assert_allclose(actual[:4], expected[:4], rtol=1e-3)
    np.testing.assert_allclose(actual, expected, rtol=4e-2)


@pytest.mark.needs_plugin
def test_the_script_reports_loss_and_time():
    command = [sys.executable, str(EXAMPLE / "main.py"), "--steps=2", "--batch-size=4"]
    env = {**os.environ, "JAX_PLATFORMS": "mps"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert "no --data given" in lines[0]
    assert lines[-2].startswith("Final training loss: ")
    assert lines[-1].startswith("Time per step (second half): ") and lines[-1].endswith(" s")
    assert float(lines[-2].split()[-1]) > 0 and float(lines[-1].split()[-2]) > 0
