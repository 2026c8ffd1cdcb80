"""docs/errors.md lists the errors that the sources make, as scripts/error_table writes it."""

import importlib.machinery
import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_page_of_errors_is_current():
    loader = importlib.machinery.SourceFileLoader("error_table", str(ROOT / "scripts" / "error_table"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("error_table", loader))
    loader.exec_module(module)
    listed = {line.split(" | ")[0][2:] for line in module.PAGE.read_text().splitlines() if line.startswith("| ")}
    made = {text for _, text in module.messages()}
    assert made - listed == set(), "run scripts/error_table"
    assert listed - made == {"text"}, "run scripts/error_table"
    # What the page is read from is found.
    assert {"this op is not supported", "… was compiled for another kind of device"} < made
