"""Pytest plugin of scripts/run_jax_tests.py: writes what became of each test, as it happens.

One JSON object a line: {"collected": n} once, {"start": id} before a test, {"id": id, "outcome": ...,
"seconds": ..., "why": ...} behind it, with the name of the worker. A test that is started and has
no outcome ended its process. Several workers share a file's tests out by chunks: who creates the
chunk's file in RECORD_CLAIMS runs its tests. Environment:

  RECORD_FILE    where to append; tests that have an outcome there are not run again
  RECORD_CLAIMS  folder of the claimed chunks
  RECORD_WORKER  name of this process
  RECORD_CORES   cores to stay on, so that no worker's thread pools are as large as the machine
"""

import json
import os
import pathlib

import pytest

CHUNK = 8  # neighbours share what they compile

_seen = {}
_chunk_of = {}  # test -> its chunk
_claimed = {}  # chunk -> whether it is this worker's

if cores := os.environ.get("RECORD_CORES"):
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})


def _write(record):
    line = json.dumps({**record, "worker": os.environ["RECORD_WORKER"]}) + "\n"
    file = os.open(os.environ["RECORD_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())  # at once: others append too
    os.close(file)


def _done():
    path = pathlib.Path(os.environ["RECORD_FILE"])
    records = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return {record["id"] for record in records if "id" in record}


def _claim(chunk):
    if chunk not in _claimed:
        try:
            os.close(os.open(f"{os.environ['RECORD_CLAIMS']}/{chunk}", os.O_CREAT | os.O_EXCL))
            _claimed[chunk] = True
        except FileExistsError:
            _claimed[chunk] = False
    return _claimed[chunk]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    _write({"collected": len({item.nodeid for item in items})})
    _chunk_of.update((item.nodeid, index // CHUNK) for index, item in enumerate(items))
    done = _done()
    items[:] = [item for item in items if item.nodeid not in done]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    if session.testsfailed:
        raise session.Interrupted(f"{session.testsfailed} errors during collection")
    mine = (item for item in session.items if _claim(_chunk_of[item.nodeid]))
    item = next(mine, None)
    while item:
        following = next(mine, None)  # pytest tears down what this one does not share
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        item = following
    return True


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
