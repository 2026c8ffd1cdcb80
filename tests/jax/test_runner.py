"""scripts/run_jax_tests.py on a checkout of our own: outcomes, crashes, resuming and the score."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "run_jax_tests.py"

TESTS = """
import os

def test_passes(): pass
def test_fails(): assert os.environ["JAX_PLATFORMS"] == "cpu", "only there"
def test_fails_everywhere(): assert False
def test_crashes():
    if os.environ["JAX_PLATFORMS"] != "cpu": os.abort()
def test_after_the_crash(): pass
"""


@pytest.fixture
def checkout(tmp_path):
    import jax

    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "version.py").write_text(f'_version = "{jax.__version__}"\n')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "small_test.py").write_text(TESTS)
    return tmp_path


def run(checkout, *arguments):
    command = [sys.executable, SCRIPT, "--checkout", checkout, "--jobs", "1", "--results", checkout / "out", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def test_score_crashes_and_resuming(checkout):
    done = run(checkout, "--update", checkout / "page.md")
    assert done.returncode == 1, done.stderr
    # Of the four that pass on JAX's backend.
    assert "| small_test | 4 | 2 | 0 | 50.00 % |" in done.stdout, done.stdout
    assert done.stdout.splitlines()[-1] == "2 passed, 2 failed, 0 skipped"
    assert "test_crashes: crashed" in done.stdout and "test_fails: failed" in done.stdout
    assert "small_test" in (checkout / "page.md").read_text()
    # Again: everything is known, nothing is run.
    before = (checkout / "out" / "small_test.mps.jsonl").read_text()
    assert run(checkout).stdout.splitlines()[-1] == "2 passed, 2 failed, 0 skipped"
    assert (checkout / "out" / "small_test.mps.jsonl").read_text() == before
    outcomes = [json.loads(line) for line in before.splitlines()]
    assert {"id": "tests/small_test.py::test_after_the_crash", "outcome": "passed"}.items() <= next(
        o for o in outcomes if o.get("id", "").endswith("after_the_crash")).items()


def test_known_failures_are_read_by_reason(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("run_jax_tests", SCRIPT)
    runner = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "run_jax_tests", runner)
    spec.loader.exec_module(runner)
    monkeypatch.setattr(runner, "KNOWN", tmp_path)
    (tmp_path / "a_test.txt").write_text("# needs two devices\nA::test_x\nA::test_y*\n\n# other\nB::z\n")
    known = runner.known_failures("a_test")
    assert runner.reason_of("A::test_x", known) == "needs two devices"
    assert runner.reason_of("A::test_y3", known) == "needs two devices"
    assert runner.reason_of("B::z", known) == "other"
    assert runner.reason_of("B::zz", known) is None


def test_another_version_is_refused(checkout):
    (checkout / "jax" / "version.py").write_text('_version = "0.0.1"\n')
    done = run(checkout)
    assert done.returncode != 0 and "check out the tag jax-v" in done.stderr
