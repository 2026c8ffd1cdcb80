"""The serialised programs that JAX's wheel carries, with their inputs and what came out when they were
written: each read and run here, beside JAX's CPU backend.

A program that JAX's CPU backend refuses (others' custom calls, several devices) is skipped, but for
those of its CUDA backend, of which what came out is kept.
"""

import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest

import jax

jax.config.update("jax_enable_x64", True)

util = pytest.importorskip(
    "jax._src.internal_test_util.export_back_compat_test_util",
    reason="this JAX carries its serialised programs elsewhere: they were NOT run",
    exc_type=ImportError,
)
from jax._src.internal_test_util import export_back_compat_test_data as data_folder

# What is symbolic in them.
POLYMORPHIC = {
    "stablehlo_dynamic_top_k": ("_, b",),
    "stablehlo_dynamic_approx_top_k": ("b + 4,",),
    "stablehlo_dynamic_rng_bit_generator": (None, "b0, b1"),
    "tpu_stablehlo_dynamic_reduce_window": ("b, ...", "b, ..."),
}
# Of these the answers are not unique: columns up to a number of absolute value 1.
UP_TO_PHASE = ("eig", "svd", "schur")


@pytest.fixture(scope="module", autouse=True)
def lapack(cpu):
    """JAX's kernels know LAPACK's functions once JAX has lowered a call of one; before, they jump to nowhere."""
    with jax.default_device(cpu):
        jax.numpy.linalg.eigh(np.eye(2))


def programs_in(value):
    if isinstance(value, dict) and "testdata_version" not in value:
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [found for part in value for found in programs_in(part)]
    return [util.CompatTestData(**value)] if isinstance(value, dict) else []


def programs():
    for module in pkgutil.iter_modules(data_folder.__path__):
        if module.ispkg:
            continue
        values = vars(importlib.import_module(f"{data_folder.__name__}.{module.name}"))
        found = [p for name, value in values.items() if name.startswith("data") for p in programs_in(value)]
        yield from (pytest.param(module.name, p, id=f"{module.name}-{i}") for i, p in enumerate(found))


def run(file, program, device):
    shapes = POLYMORPHIC.get(file)
    with jax.default_device(device):
        runner = util.CompatTestBase("run_serialized")
        results = runner.run_serialized(
            dataclasses.replace(program, platform=device.platform),
            polymorphic_shapes=shapes and shapes[: len(program.inputs)])
        return [np.asarray(result) for result in jax.tree.leaves(results)]


def columns(a):
    """Of a matrix: each times what makes its largest element positive."""
    if a.ndim < 2 or a.size == 0:
        return a
    at = np.argmax(np.abs(a).round(3), axis=-2)[..., None, :]
    largest = np.take_along_axis(a, at, -2)
    return a * np.conj(largest) / np.abs(largest)


@pytest.mark.parametrize("file,program", list(programs()))
def test_program(file, program, cpu, mps):
    try:
        wants = run(file, program, cpu)
    except Exception as error:
        if not file.startswith("cuda"):
            pytest.skip(f"JAX's CPU backend refuses it: {type(error).__name__}")
        wants = program.expected_outputs
    for got, want in zip(run(file, program, mps), wants, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        if any(word in file for word in UP_TO_PHASE) and got.dtype.kind in "fc":
            got, want = columns(got), columns(want)
        rough = got.dtype in (np.float32, np.complex64)
        np.testing.assert_allclose(got, want, rtol=1e-3 if rough else 1e-5, atol=1e-4 if rough else 1e-12)
