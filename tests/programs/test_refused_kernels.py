"""A kernel that a GPU's compiler refuses: a warning with op and line, and its ops one by one; in strict mode an error."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("JAX_MPS_DEVICE") != "simulated", reason="JAX_MPS_DEVICE is not `simulated`"
)

PROGRAM = """import jax, jax.numpy as jnp, numpy as np
x = np.linspace(-1, 1, 70_000, dtype=np.float32)
y, z = jax.jit(lambda x: (jnp.exp(x * 2) + 1, jnp.sort(x)[::-1] * 2 - x))(x)
np.testing.assert_allclose(y, np.exp(x * 2) + 1, rtol=1e-5)
np.testing.assert_array_equal(z, x[::-1] * 2 - x)
"""


def run(tmp_path, strict, word="exp_of(v2)"):
    file = tmp_path / "model.py"
    file.write_text(PROGRAM)
    env = {**os.environ, "JAX_MPS_SIMULATED_REFUSES": word, "JAX_MPS_STRICT": strict}
    return subprocess.run([sys.executable, file], capture_output=True, text=True, env=env, timeout=240)


def test_refused_kernels_run_op_by_op(tmp_path):
    done = run(tmp_path, "0")
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("jax-mps warning: ")]
    assert "runs op by op: mps.fusion (f32[70000]) -> f32[70000] at " in warning and "model.py:3:" in warning
    assert "use of undeclared identifier 'exp_of(v2)'" in warning


def test_an_op_that_is_refused_alone_runs_on_the_cpu(tmp_path):
    done = run(tmp_path, "0", "exp_of(")
    assert done.returncode == 0, done.stderr
    fusion, alone = [line for line in done.stderr.splitlines() if line.startswith("jax-mps warning: ")]
    assert "runs op by op: mps.fusion (f32[70000]) -> f32[70000] at " in fusion
    assert "runs on the CPU: stablehlo.exponential (f32[70000]) -> f32[70000] at " in alone and "model.py:3:" in alone
    assert "use of undeclared identifier 'exp_of('" in alone


def test_refused_kernels_are_errors_in_strict_mode(tmp_path):
    done = run(tmp_path, "1")
    assert done.returncode == 1
    assert "mps.fusion (f32[70000]) -> f32[70000] at " in done.stderr, done.stderr
    assert "model.py:3:" in done.stderr and "undeclared identifier" in done.stderr, done.stderr
