"""scripts/ecosystem on a library of our own."""

import pathlib
import subprocess
import sys

import jax

ROOT = pathlib.Path(__file__).parents[2]

TESTS = """
import os
import pytest
from helper import NAME

def test_name(): assert (os.environ["JAX_MPS_PLATFORM_NAME"] or "cpu") == NAME
def test_fails(): assert os.environ["JAX_PLATFORMS"] == "cpu", "only there"
"""


def test_a_library(tmp_path):
    folder = tmp_path / "equinox" / "tests"
    folder.mkdir(parents=True)
    (folder / "test_ad.py").write_text(TESTS)
    (folder / "helper.py").write_text('NAME = "cpu"\n')
    (tmp_path / "equinox" / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--no-such-option'\n")
    command = [sys.executable, ROOT / "scripts" / "ecosystem", "--root", tmp_path, "--results", tmp_path / "out",
               "--libraries", "equinox", "--jobs", "1"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert f"| {jax.__version__} | checkout | `cpu` | 1 | 2 | 1 | 50.0 % |" in done.stdout, done.stdout
    assert "- equinox: `test_fails` (1): failed, AssertionError: only there" in done.stdout
    assert "\nnot found: " in done.stdout and " flashbax " in done.stdout
