"""JAX_MPS_PLATFORM_NAME: what JAX and libraries are told that the platform is called."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax import export, lax

name, theirs = sys.argv[1:]
device, = jax.devices(name)  # the first look at any device
assert jax.default_backend() == device.platform == device.client.platform == name
assert jax.devices() == jax.devices("mps") == jax.local_devices(backend=name) == [device]
assert (repr(device), str(device)) == (f"{name.capitalize()}Device(id=0)", f"{name}:0")
x = jnp.arange(6.0).reshape(2, 3)
assert x.platform() == name
# Lowered by the rules for mps: elsewhere this is another platform's custom call.
np.testing.assert_allclose(jnp.linalg.svd(x)[1], np.linalg.svd(np.asarray(x))[1], rtol=1e-5)
kept = jnp.ones(3)
assert jax.jit(lambda x: x + 1, donate_argnums=0)(kept).sum() == 6 and kept.is_deleted()
assert jax.jit(lambda x: x + 1, backend=name)(1.0).devices() == {device}
seen = []
jax.jit(lambda x: jax.debug.callback(lambda v: seen.append(float(v)), x))(1.0)
jax.effects_barrier()
assert seen == [1.0]

# A rule of another package that calls into Python.
from jax.extend.core import Primitive
from jax.interpreters import mlir

doubled = Primitive("doubled")
doubled.def_abstract_eval(lambda x: x)
mlir.register_lowering(doubled, lambda ctx, x: mlir.emit_python_callback(
    ctx, lambda x: (x * 2,), None, [x], ctx.avals_in, ctx.avals_out, has_side_effect=False)[0])
assert jax.jit(doubled.bind)(3.0) == 6.0

# What is written for CUDA is not for us.
branches = {theirs: lambda x: x + 1, "tpu": lambda x: x + 2, "default": lambda x: x + 3}
choose = lambda x: lax.platform_dependent(x, **branches)
added = 1.0 if name == theirs else 3.0
assert choose(1.0) == 1.0 + added and jax.grad(choose)(1.0) == 1.0
np.testing.assert_array_equal(jax.jit(jax.vmap(choose))(jnp.zeros(2)), [added, added])
assert lax.platform_dependent(1.0, tpu=lambda x: x, default=lambda x: -x) == -1.0

for platforms in (None, (theirs,), ("tpu", theirs)):
    exported = export.export(jax.jit(jnp.sin), platforms=platforms)(x)
    assert exported.platforms == (platforms or ("mps" if name == "gpu" else "cpu",))
    np.testing.assert_array_equal(exported.call(x), jnp.sin(x))
try:
    export.export(jax.jit(jnp.sin), platforms=("tpu",))(x).call(x)
    raise AssertionError("a program for another platform was accepted")
except ValueError as error:
    assert "was exported for platforms" in str(error)
"""


def run(name, *command):
    environment = {**os.environ, "JAX_MPS_PLATFORM_NAME": name, "JAX_PLATFORMS": "mps", "JAX_MPS_DEVICE": "cpu"}
    return subprocess.run([sys.executable, "-c", *command], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name, theirs", [("gpu", "cuda"), ("cpu", "cpu")])
def test_the_platform_answers_to_the_name(name, theirs):
    done = run(name, PROGRAM, name, theirs)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_cannot_be_viewed_is_copied():
    """DLPack imports onto the device called `cpu`."""
    program = """
import jax, jax.numpy as jnp, numpy as np

whole = np.arange(64, dtype=np.float32)
unaligned, turned = whole[1:], np.arange(6).reshape(2, 3).astype(np.int16).T
for x in (whole, unaligned, turned, whole[::-2], np.zeros((0, 3)), np.array(5), np.array([True, False])):
    np.testing.assert_array_equal(jnp.from_dlpack(x), x)
assert jnp.from_dlpack(whole).devices() == set(jax.devices("mps"))
if jax.__version_info__ > (0, 7):
    copied = jnp.from_dlpack(whole, copy=True)
    whole[0] = 7
    assert copied[0] == 0
    for x in (unaligned, turned):
        try:
            jnp.from_dlpack(x, copy=False)
        except Exception:
            continue
        raise AssertionError("a copy was made")
"""
    done = run("cpu", program)
    assert done.returncode == 0, done.stderr[-2000:]


def test_jaxs_cpu_backend_gives_way_to_the_name_cpu():
    """Its name stays known, so that packages can register rules for it."""
    program = """
import jax
from jax.interpreters import mlir
from jax.extend.core import Primitive

early, late = Primitive("early"), Primitive("late")
for prim in (early, late):
    prim.def_abstract_eval(lambda x: x)
    if prim is late:
        jax.devices()
    mlir.register_lowering(prim, lambda ctx, x: [x], platform="cpu")
assert jax.jit(early.bind)(3.0) == jax.jit(late.bind)(3.0) == 3.0
assert [d.platform for d in jax.devices()] == ["cpu"]
assert float(jax.jit(lambda x: x + 1)(1.0)) == 2.0
jax.config.update("jax_platform_name", "cpu")
assert jax.devices() == jax.devices("mps")
"""
    done = run("cpu", program)
    assert done.returncode == 0, done.stderr[-2000:]
    environment = {**os.environ, "JAX_MPS_PLATFORM_NAME": "cpu", "JAX_PLATFORMS": "mps,cpu"}
    done = subprocess.run([sys.executable, "-c", "import jax; jax.devices()"], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "use JAX_PLATFORMS=mps" in done.stderr, done.stderr[-2000:]


def test_other_names_are_refused():
    done = run("tpu", "import jax; jax.devices()")
    assert done.returncode != 0 and "JAX_MPS_PLATFORM_NAME" in done.stderr, done.stderr[-2000:]
