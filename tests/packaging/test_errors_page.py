"""docs/errors.md lists the errors that the sources make, as scripts/error_table writes it, and a test provokes each."""

import importlib.machinery
import importlib.util
import pathlib

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def table():
    loader = importlib.machinery.SourceFileLoader("error_table", str(ROOT / "scripts" / "error_table"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("error_table", loader))
    loader.exec_module(module)
    return module


def test_the_page_of_errors_is_current(table):
    listed = {line.split(" | ")[0][2:] for line in table.PAGE.read_text().splitlines() if line.startswith("| ")}
    made = {text for _, text in table.messages()}
    assert made - listed == set(), "run scripts/error_table"
    assert listed - made == {"text"}, "run scripts/error_table"
    # What the page is read from is found.
    assert {"this op is not supported", "… was compiled for another kind of device"} < made


def test_every_error_is_provoked(table):
    """By a test that quotes it, or a line here says why not."""
    tests = table.strings()
    unquoted = {text for _, text in table.messages() if table.quoted_by(text, tests) is None}
    lines = (HERE / "unprovoked_errors.txt").read_text().splitlines()
    excused = {line for line in lines if line and not line.startswith("#")}
    assert unquoted - excused == set(), "write a test that provokes it and quotes it"
    assert excused - unquoted == set(), "a test quotes it: take it off unprovoked_errors.txt"
