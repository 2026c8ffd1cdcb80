"""Runs every row of the cases_*.py files; see rows.py."""

import collections
import glob
import importlib
import os
import pathlib
import re

import eager
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from versions import NO_ORACLE, enable_x64

HERE = pathlib.Path(__file__).parent
SOURCE = HERE.parent.parent / "src"
for path in sorted(glob.glob(str(HERE / "cases_*.py"))):
    importlib.import_module(pathlib.Path(path).stem)


def on_gpu():
    return "cpu" not in jax.devices("mps")[0].device_kind.lower()


# Functions of GPUs are within the bound of their table where those of the CPU are exact.
ON_GPU = {"power-whole": 2, "power-special": 2, "tanh": 7, "logistic": 8}


def ulps_of(row):
    return ON_GPU.get(row.name, row.ulps) if on_gpu() else row.ulps


def on_this_device(row, dtypes):
    """GPUs have no float64."""
    if on_gpu():
        wide = ("float64", "complex128")
        dtypes = [d for d in dtypes if not any(t in wide for t in (d, *(a.dtype for a in row.args)))]
        if not dtypes:
            pytest.skip("float64 does not exist on the GPU")
    return dtypes


def full_precision():
    """On a GPU products are shorter by default, as on JAX's own backend."""
    return jax.default_matmul_precision("float32" if on_gpu() else None)


def run_all(functions, arguments, device):
    """Calls functions[i](*arguments[i]) for all i in one compiled program."""
    placed = [[jax.device_put(a, device) for a in each] for each in arguments]
    program = jax.jit(lambda lists: [f(*each) for f, each in zip(functions, lists)])
    with jax.default_device(device):  # of programs that read none of their arguments
        return [[np.asarray(r) for r in jax.tree.leaves(one)] for one in program(placed)]


def run_each(functions, arguments, device):
    """The same in one program if it compiles, else one by one; an exception stands for its results."""
    try:
        return run_all(functions, arguments, device)
    except Exception:
        results = []
        for f, each in zip(functions, arguments):
            try:
                results += run_all([f], [each], device)
            except Exception as error:
                results.append(error)
        return results


def widen(array):
    if rows.is_float(array.dtype):
        return array.astype(np.float64)
    if rows.is_complex(array.dtype):
        return array.astype(np.complex128)
    return array


def oracle_arguments(oracle, arguments):
    return [widen(a) for a in arguments] if oracle == "float64" else arguments


def same_bits(got, want):
    if got.dtype.kind in "biu" or jnp.issubdtype(got.dtype, jnp.integer):
        return np.array_equal(got, want)
    if rows.is_complex(got.dtype):
        return same_bits(got.real, want.real) and same_bits(got.imag, want.imag)
    with np.errstate(all="ignore"):
        a, b = got.astype(np.float64), want.astype(np.float64)
    both_nan = np.isnan(a) & np.isnan(b)
    return bool(np.all(both_nan | ((a == b) & (np.signbit(a) == np.signbit(b)))))


def ulps_apart(got, want, floor):
    """The largest distance in units of the last place of got's type."""
    if rows.is_complex(got.dtype):
        size = np.abs(want.astype(np.complex128))
        parts = [(got.real, want.real, size), (got.imag, want.imag, size)]
        return max(_ulps_apart(g, w, floor, s) for g, w, s in parts)
    return _ulps_apart(got, want, floor, None)


def _ulps_apart(got, want, floor, size):
    info = jnp.finfo(got.dtype)
    with np.errstate(all="ignore"):
        # Beyond the type's range the right answer is infinity.
        rounded = want.astype(got.dtype).astype(np.float64)
        want = np.where(np.isinf(rounded), rounded, want.astype(np.float64))
    got = got.astype(np.float64)
    if got.size == 0:
        return 0.0
    finite = np.isfinite(got) & np.isfinite(want)
    same = (np.isnan(got) & np.isnan(want)) | (got == want)
    if not np.all(finite | same):
        return np.inf
    if not np.any(finite):
        return 0.0
    magnitude = np.abs(want) if size is None else size
    magnitude = np.maximum(magnitude[finite], floor * magnitude[finite].max())
    magnitude = np.maximum(magnitude, float(info.smallest_normal))
    unit = 2.0 ** np.floor(np.log2(magnitude)) * float(info.eps)
    return float(np.max(np.abs(got[finite] - want[finite]) / unit))


def compare(row, got, want, ulps, floor, arguments, rival=None):
    """`rival`: what JAX's CPU backend computes in the same types; twice its distance is allowed too."""
    if row.check:
        row.check(got, want, arguments)
        return
    assert len(got) == len(want)
    for i, (g, w) in enumerate(zip(got, want)):
        assert g.shape == w.shape
        inexact = rows.is_float(g.dtype) or rows.is_complex(g.dtype)
        if ulps == 0 or not inexact:
            assert g.dtype == w.dtype or not inexact
            assert same_bits(g, w), describe(g, w, arguments)
        else:
            distance = ulps_apart(g, w, floor)
            if distance > ulps and rival is not None:
                ulps = max(ulps, 2 * ulps_apart(rival()[i], w, floor))
            assert distance <= ulps, f"{distance:.3g} ulps, allowed {ulps}: {describe(g, w, arguments)}"


def describe(got, want, arguments):
    with np.errstate(all="ignore"):
        a, b = got.reshape(-1), want.reshape(-1)
        if a.dtype == bool or a.dtype.kind in "iu":
            bad = np.nonzero(a != b)[0]
        else:
            miss = np.abs(a.astype(complex) - b.astype(complex))
            miss = np.where(a == b, 0, np.where(np.isnan(miss), np.inf, miss))
            bad = np.argsort(-miss, kind="stable")
    at = bad[:4]
    inputs = [x.reshape(-1)[at] if x.size == a.size else f"shape {x.shape}" for x in arguments]
    return f"at {at}: got {a[at]}, want {b[at]}, from {inputs}"


def check_row(row, dtypes, function, mps, cpu, oracle, ulps, floor, batch=(), against_cpu=False):
    """Compares all types of a row at once, and says what is wrong with each.

    With `against_cpu` a result may also be twice as far from the oracle as that of JAX's CPU backend:
    formulas that JAX writes may lose digits wherever they run.
    """
    dtypes = on_this_device(row, [d for d in dtypes if d not in NO_ORACLE.get(row.name, ())])
    with enable_x64(True), full_precision():
        arguments = [row.arrays(dtype, batch) for dtype in dtypes]
        functions = [function(each) for each in arguments]
        wanted = [None] * len(dtypes)
        if oracle != "none":
            wanted = run_all(functions, [oracle_arguments(oracle, each) for each in arguments], cpu)
        results = run_each(functions, arguments, mps)
    wrong = []
    for dtype, each, got, want, f in zip(dtypes, arguments, results, wanted, functions):
        if on_gpu() and "does not exist on the GPU" in str(got):
            continue  # float64 in the middle of the row
        if isinstance(got, Exception):
            wrong.append(f"{dtype}: {type(got).__name__}: {str(got)[:300]}")
            continue
        try:
            with enable_x64(True):
                rival = lambda: run_all([f], [each], cpu)[0]
                compare(row, got, want, ulps, floor, each, rival if against_cpu else None)
        except AssertionError as error:
            wrong.append(f"{dtype}: {error}")
    assert not wrong, "\n".join(wrong)


def select(condition):
    return [pytest.param(row, id=row.name) for row in rows.ROWS if condition(row)]


@pytest.mark.parametrize("row", select(lambda row: True))
def test_value(row, mps, cpu):
    check_row(row, row.dtypes, lambda _: row.function, mps, cpu, row.oracle, ulps_of(row), row.floor)


@pytest.mark.parametrize("row", select(lambda row: row.vmap))
def test_vmap(row, mps, cpu):
    batched = jax.vmap(row.function)
    check_row(row, row.dtypes[:1], lambda _: batched, mps, cpu, row.oracle, ulps_of(row), row.floor, (3,))


def check_eager(row, dtype, routes, reader_count, mps):
    """Calls the row op by op on each route: the same results as from one compiled program."""
    arguments = row.arrays(dtype)
    [want] = run_all([row.function], [arguments], mps)
    for route in routes:
        source, is_deleting, handover = route
        readers = eager.some(eager.READERS, reader_count, row.name, dtype, route)
        results = eager.call(row.function, arguments, mps, source, is_deleting)
        for reader, got in zip(readers, eager.read(results, handover, readers)):
            try:
                # Both are rounded: each may be off by what the row allows.
                compare(row, got, want, 2 * ulps_of(row), row.floor, arguments)
            except AssertionError as error:
                raise AssertionError(f"{dtype}, route {route}, {reader.__name__}: {error}") from None


def route_of(row):
    return eager.some(eager.ROUTES, 1, row.name)[0]


def test_every_route_meets_many_rows():
    met = collections.Counter(route_of(row) for row in rows.ROWS)
    assert min(met[route] for route in eager.ROUTES) >= 4, met


@pytest.mark.parametrize("row", select(lambda row: True))
def test_eager(row, mps, pytestconfig):
    dtypes = on_this_device(row, row.dtypes)
    wrong = []
    with enable_x64(True), full_precision():
        if pytestconfig.getoption("every_route"):
            plan = [(dtype, eager.ROUTES, len(eager.READERS)) for dtype in dtypes]
        else:
            [dtype] = eager.some(dtypes, 1, row.name)
            plan = [(dtype, [route_of(row)], 2)]
        for dtype, routes, reader_count in plan:
            try:
                check_eager(row, dtype, routes, reader_count, mps)
            except AssertionError as error:
                wrong.append(str(error))
            except Exception as error:
                if not (on_gpu() and "does not exist on the GPU" in str(error)):
                    wrong.append(f"{dtype}: {type(error).__name__}: {str(error)[:300]}")
    assert not wrong, "\n".join(wrong)


def gradient(function, differentiable):
    def total(*arguments):
        leaves = jax.tree.leaves(function(*arguments))
        return sum(
            jnp.sum(jnp.real(leaf) * np.cos(np.arange(leaf.size)).reshape(leaf.shape).astype(leaf.real.dtype))
            for leaf in leaves
            if jnp.issubdtype(leaf.dtype, jnp.inexact)
        )

    return jax.grad(total, argnums=tuple(differentiable))


@pytest.mark.parametrize("row", select(lambda row: row.grad))
def test_grad(row, mps, cpu):
    def of(arguments):
        inexact = [i for i, a in enumerate(arguments) if jnp.issubdtype(a.dtype, jnp.inexact)]
        return gradient(row.function, inexact)

    dtypes = [d for d in row.dtypes if d in ("float32", "complex64")]
    floor = max(row.floor, 0.01)
    check_row(row, dtypes, of, mps, cpu, "float64", row.grad_ulps, floor, against_cpu=True)


def lowered_text(row, dtype, mps):
    with enable_x64(True):
        arguments = row.arrays(dtype)
        return jax.jit(row.function).trace(*arguments).lower(lowering_platforms=("mps",)).as_text()


@pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in rows.ROWS])
def test_row_reaches_its_op(row, mps):
    # Not with every type: a conversion to the type itself is none.
    for dtype in row.dtypes:
        text = lowered_text(row, dtype, mps)
        if re.search(rf"\b{re.escape(row.op)}\b", text):
            return
    pytest.fail(f"{row.op} is not in\n{text}")


def registered_ops():
    ops = re.findall(r'^OP\((\w+), "([^"]+)", (.*)\)$', (SOURCE / "ir/ops.def").read_text(), re.M)
    names = {i: name for i, name, _ in ops}
    fused = [name for i, name, traits in ops if "elementwise" in traits or i in ("select", "clamp")]
    table = (SOURCE / "ir/scalar_ops.def").read_text()
    scalar = dict(re.findall(r'^SCALAR_OP\(\w+, \w+, (\w+), "([^"]+)"', table, re.M))
    names |= scalar
    found = dict.fromkeys(scalar.values(), "scalar_ops.def")
    found |= {name: "ops.def" for name in fused if "uniform" not in name}
    for path in glob.glob(str(SOURCE / "ops" / "*.cc")):
        text = pathlib.Path(path).read_text()
        for identifier in re.findall(r"^[A-Z_]+\((\w+)[,)]", text, re.M):
            if identifier in names:
                found[names[identifier]] = os.path.basename(path)
    return found


def test_every_op_has_a_row():
    covered = {name for row in rows.ROWS for name in row.covers}
    missing = {name: file for name, file in registered_ops().items() if name not in covered}
    assert not missing, f"ops without a row in tests/ops/cases_*.py: {missing}"


def test_every_block_is_found():
    # The guard above reads the sources: it must see the blocks it is meant to guard.
    found = registered_ops()
    assert len(found) > 60 and "stablehlo.add" in found and "stablehlo.cosine" in found
