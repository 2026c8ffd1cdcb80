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
import pytest

def test_passes(): pass
def test_fails(): assert os.environ["JAX_PLATFORMS"] == "cpu", "only there"
def test_fails_everywhere(): assert False
def test_crashes():
    if os.environ["JAX_PLATFORMS"] != "cpu": os.abort()
def test_after_the_crash(): pass
def test_of_several_devices():
    if os.environ["JAX_PLATFORMS"] != "cpu": pytest.skip("Test requires 8 global devices and found 1.")
def test_skipped_here():
    if os.environ["JAX_PLATFORMS"] != "cpu": pytest.skip("why ever")
def test_is_presented():
    assert os.environ["JAX_PLATFORMS"] == "cpu" or os.environ["JAX_MPS_PLATFORM_NAME"] == "cpu"
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


def load(monkeypatch):
    spec = importlib.util.spec_from_file_location("run_jax_tests", SCRIPT)
    runner = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "run_jax_tests", runner)
    spec.loader.exec_module(runner)
    return runner


def test_score_crashes_and_resuming(checkout):
    page = checkout / "page.md"
    done = run(checkout, "--update", page)
    assert done.returncode == 1, done.stderr
    # Of the seven that pass on JAX's backend one is for several devices.
    assert "| small_test | 7 |  | 1 | 6 | 3 | 50.00 % |" in done.stdout, done.stdout
    last = "3 passed, 3 failed, 0 known to fail, 1 for several devices"
    assert done.stdout.splitlines()[-1] == last
    for words in ("test_crashes: crashed", "test_fails: failed", "test_skipped_here: skipped"):
        assert f"not known: small_test {words}" in done.stdout
    written = page.read_text()
    assert "Of 7 tests that JAX's backend passes 6 are run here and 3 pass: 50.00 %." in written
    # Again: everything has an outcome, nothing is run, and the section takes the place of the old one.
    before = (checkout / "out" / "small_test.mps.jsonl").read_text()
    assert run(checkout, "--update", page).stdout.splitlines()[-1] == last
    assert (checkout / "out" / "small_test.mps.jsonl").read_text() == before and page.read_text() == written
    # Once more what has not passed.
    assert run(checkout, "--again").stdout.splitlines()[-1] == last
    after = (checkout / "out" / "small_test.mps.jsonl").read_text()
    starts = [json.loads(line)["start"].split("::")[1] for line in after.splitlines() if "start" in line]
    assert starts == ["test_fails", "test_crashes", "test_skipped_here"]
    outcomes = [json.loads(line) for line in before.splitlines()]
    assert {"id": "tests/small_test.py::test_after_the_crash", "outcome": "passed"}.items() <= next(
        o for o in outcomes if o.get("id", "").endswith("after_the_crash")).items()


def test_only_our_side(checkout):
    """As in the automatic tests: what JAX's backend passes is not asked, so it is taken to pass all."""
    done = run(checkout, "--side", "mps")
    assert done.stdout.splitlines()[-1] == "3 passed, 3 failed, 0 known to fail, 0 for several devices", done.stdout
    assert not (checkout / "out" / "small_test.reference.jsonl").exists()


def test_order_and_gpus(checkout, monkeypatch):
    """Files named by --first are begun first, then long ones; workers take the GPUs in turn."""
    runner = load(monkeypatch)
    for name, size in (("b_test", 10), ("a_test", 1000)):
        (checkout / "tests" / f"{name}.py").write_text("#" * size)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    options = runner.parse(["--checkout", str(checkout), "--device", "gpu", "--first", "b_test", "small_test"])
    names = runner.test_files(checkout, None)
    jobs = runner.Runner(options, checkout, names, [runner.Side("mps", "mps,cpu")])
    assert [job.name for job in jobs.waiting] == ["b_test", "small_test", "a_test"]
    shown = [jobs.environment(jobs.jobs[0], "0", slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)]
    assert shown == ["4", "7", "4"]


def test_known_failures(checkout, tmp_path, monkeypatch, capsys):
    (tmp_path / "small_test.txt").write_text(
        "# of our own\n# making\ntest_fails*\ntest_crashes\ntest_skipped_here\n\n# mended since\ntest_passes\n")
    runner = load(monkeypatch)
    monkeypatch.setattr(runner, "KNOWN", tmp_path)
    monkeypatch.setattr(sys, "argv", ["run_jax_tests.py", "--checkout", str(checkout), "--jobs", "1", "--results",
                                      str(checkout / "out"), "--update", str(checkout / "page.md")])
    assert runner.main() == 0
    printed = capsys.readouterr().out
    assert "passes, although known as a failure: small_test test_passes" in printed
    assert printed.splitlines()[-1] == "3 passed, 0 failed, 3 known to fail, 1 for several devices"
    assert "| 3 | of our own making | `small_test` `test_fails`" in (checkout / "page.md").read_text()


def test_known_failures_are_read_by_reason(tmp_path, monkeypatch):
    runner = load(monkeypatch)
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


def test_every_known_failure_has_a_reason(monkeypatch):
    runner = load(monkeypatch)
    files = sorted(runner.KNOWN.glob("*.txt"))
    assert files
    for path in files:
        known = runner.known_failures(path.stem)
        assert known and all(len(reason) > 20 for reason in known.values()), path


def test_what_needs_several_devices(monkeypatch):
    several = load(monkeypatch).SEVERAL_DEVICES
    for why in ("Test requires 8 global devices and found 1.", "Requires more than 4 devices", "Not enough CPU devices"):
        assert several.search(why), why
    for why in ("Skipped on devices with tags: cpu", "Test enabled only for cpu", "Test requires PyTorch"):
        assert not several.search(why), why
