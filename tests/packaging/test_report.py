"""scripts/report --quick chooses tests and benchmarks that there are."""

import importlib.machinery
import importlib.util
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report():
    path = str(ROOT / "scripts" / "report")
    loader = importlib.machinery.SourceFileLoader("report", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("report", loader))
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return module


def test_quick_benchmarks_exist(report):
    text = (ROOT / "benchmarks" / "workloads.py").read_text()
    known = re.findall(r"^@workload\ndef (\w+)\(", text, re.MULTILINE)
    assert known and set(report.QUICK_BENCHMARKS) <= set(known)


def test_quick_tests_exist(report):
    names = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        names |= {path.stem, *re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)}
    assert all(any(word in name for name in names) for word in report.QUICK_TESTS.split(" or "))


def test_a_report_names_neither_user_nor_host(report, monkeypatch):
    monkeypatch.setattr(report.platform, "node", lambda: "anna-laptop.local")
    monkeypatch.setattr(report.pathlib.Path, "home", lambda: pathlib.Path("/home/anna"))
    text = report.anonymous(f"{ROOT}/src/a.cc: /home/anna/x on anna-laptop")
    assert text == "./src/a.cc: ~/x on HOST"


def test_failures_of_one_cause_are_counted_together(report):
    refused = "model.py:{0}: in f\nE   RuntimeError: kernel {1:#x} is refused\nE   error: no such function\n"
    found = [("a", refused.format(3, 255)), ("b", refused.format(7, 16)), ("C.d", "d.cc:12\nExpected: true")]
    assert report.causes(found) == ["2 x RuntimeError: kernel N is refused error: no such function",
                                    "1 x d.cc:N Expected: true"]  # fmt: skip


def test_what_hangs_is_stopped(report):
    waits = "import time\nprint('begun', flush=True)\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('counted')"
    said = report.run_bounded([sys.executable, "-c", waits], minutes=0.05)
    assert said.split("\n")[0] == "begun" and "stopped after 0.05 minutes" in said and "counted" in said
