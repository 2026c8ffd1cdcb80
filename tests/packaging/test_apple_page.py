"""docs/apple.md names every function of MLX that ops of GPU programs call, but for those that kernels of ours replace."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Elementwise, moving by index maps or reducing: called alone only where nothing fuses; and what makes arrays.
FUSED = set("""
    abs add arctan2 astype bitwise_and bitwise_invert bitwise_or bitwise_xor cos cosh divide equal erf erfinv exp expm1
    floor floor_divide greater greater_equal imag isfinite isinf isnan left_shift less less_equal logical_and logical_not
    logical_or maximum minimum multiply negative not_equal power real remainder right_shift round rsqrt sigmoid sign sin
    sqrt subtract tan tanh where view
    as_strided broadcast_to expand_dims flatten flip moveaxis reshape squeeze swapaxes transpose
    all any max min prod sum
    arange array full full_like zeros zeros_like
    issubdtype function Shape
""".split())  # fmt: skip


def called():
    names = set()
    for path in (ROOT / "src" / "ops").glob("*.cc"):
        names |= set(re.findall(r"\bmx::(?:fft::)?(\w+)\(", path.read_text()))
    return names


def rows():
    page = (ROOT / "docs" / "apple.md").read_text()
    table = page[page.index("| MLX op |") : page.index("Factorisations, eigenvalues")]
    return [row.strip("| ").split(" | ") for row in table.splitlines() if row.startswith("| `")]


def test_table_of_ops_is_complete():
    assert sorted(called() - FUSED) == sorted({name for row in rows() for name in re.findall(r"`(\w+)`", row[0])})


def test_every_row_says_why_and_what_is_known():
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in rows())
