"""The cases that JAX's wheel carries: what is known to fail, as in scripts/run_jax_tests.py.

No file here is named as pytest looks for them: `scripts/test jax` names them.
"""

import pathlib
import sys

import pytest

import jax

jax.config.update("jax_enable_x64", True)  # when JAX's module is read: without, it has no cases of 64 bits

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "scripts"))
import run_jax_tests


def pytest_collection_modifyitems(items):
    known = {}
    for item in items:
        file = item.path.stem
        if file not in known:
            known[file] = run_jax_tests.known_failures(file)
        if reason := run_jax_tests.reason_of(item.name, known[file]):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
