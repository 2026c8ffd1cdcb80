"""docs/ops.md is what scripts/op_tables writes."""

import importlib.machinery
import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).parents[2]


def test_the_page_of_ops_is_current():
    loader = importlib.machinery.SourceFileLoader("op_tables", str(ROOT / "scripts" / "op_tables"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("op_tables", loader))
    loader.exec_module(module)
    text = module.page()
    assert module.PAGE.read_text() == text, "run scripts/op_tables"
    # What the page is read from is found.
    lines = {line.split(" | ")[0][2:]: line for line in text.splitlines() if line.startswith("| ")}
    assert len(lines) > 120
    for op, words in {
        "stablehlo.add": "| fused | fused |", "stablehlo.fft": "| kernel | MLX |", "stablehlo.cholesky": "| kernel | host |",
        "stablehlo.while": "| executor |", "stablehlo.einsum": "rewritten (decompose_dot.cc)", "stablehlo.infeed": "refused",
    }.items():
        assert words in lines[op], lines[op]
