"""Pytest plugin of scripts/run_jax_tests.py: writes what became of each test, as it happens.

One JSON object a line: {"start": id} before a test, {"id": id, "outcome": ..., "seconds": ...,
"why": ...} behind it. A test that is started and has no outcome ended its process. Environment:

  RECORD_FILE    where to append
  RECORD_SKIP    a file of test ids, one a line, that are done already
  RECORD_DEVICE  what JAX's test utilities are to take the device for: cpu or gpu; they skip and
                 choose tolerances by the name of the platform
"""

import json
import os
import pathlib

import pytest

_seen = {}


def _write(record):
    with open(os.environ["RECORD_FILE"], "a") as file:
        file.write(json.dumps(record) + "\n")


def pytest_configure(config):
    device = os.environ.get("RECORD_DEVICE")
    if device:
        import jax
        import jax._src.test_util  # noqa: F401  (defines the flag)

        jax.config.update("jax_test_dut", device)


def pytest_collection_modifyitems(config, items):
    done = set(pathlib.Path(os.environ["RECORD_SKIP"]).read_text().splitlines())
    items[:] = [item for item in items if item.nodeid not in done]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid, location):
    _seen[nodeid] = {"outcome": "passed", "seconds": 0.0, "why": ""}
    _write({"start": nodeid})


def pytest_runtest_logreport(report):
    record = _seen[report.nodeid]
    record["seconds"] += report.duration
    if report.outcome != "passed" and record["outcome"] == "passed":
        record["outcome"] = report.outcome
        if isinstance(report.longrepr, tuple):
            record["why"] = str(report.longrepr[2])[:500]
        else:
            crash = getattr(report.longrepr, "reprcrash", None)
            record["why"] = (crash.message if crash else str(report.longrepr))[:2000]


def pytest_runtest_logfinish(nodeid, location):
    _write({"id": nodeid, **_seen.pop(nodeid)})
