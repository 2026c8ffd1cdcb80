"""Gathers that are read by a fusion: the same values as JAX's CPU backend, and that they are inside."""

import functools
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

DTYPES = ["float32", "bfloat16", "float64", "int8", "bool", "complex64"]
# Before, at and behind both ends of the 40 elements that are read.
PLACES = [0, 5, 39, 40, 41, -1, -40, -41, 100, -100, 7, 7]


def data(shape, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype == "int8":
        return rng.integers(-100, 100, shape).astype(dtype)
    values = rng.standard_normal(shape)
    if dtype == "complex64":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(jnp.dtype(dtype))


def run(function, arguments, platform, donate=()):
    placed = [jax.device_put(np.array(a), jax.devices(platform)[0]) for a in arguments]
    return jax.tree.map(np.asarray, jax.jit(function, donate_argnums=donate)(*placed))


def check(function, *arguments, donate=(), rtol=1e-5):
    got, want = (run(function, arguments, platform, donate) for platform in ("mps", "cpu"))
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        assert g.dtype == w.dtype
        if g.dtype == jnp.bfloat16:
            g, w = g.astype(np.float32), w.astype(np.float32)
        np.testing.assert_allclose(g, w, rtol=rtol, atol=1e-5)


def consume(x):
    """An elementwise op that any type has."""
    return ~x if x.dtype == bool else x * x + x


def is_x64_refused(mps, dtype):
    return dtype == "float64" and mps.device_kind != "cpu"


@pytest.mark.parametrize("mode", ["clip", "fill", None])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_types_axes_and_modes(mps, dtype, axis, mode):
    if is_x64_refused(mps, dtype):
        pytest.skip("no float64 on the GPU")
    shape = [3, 4, 600]
    shape[axis] = 40

    def f(x, i):
        return consume(jnp.take(x, i, axis=axis, mode=mode))

    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        check(f, data(shape, dtype), np.array(PLACES, np.int32))


@pytest.mark.parametrize("index", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_index_types(index):
    places = np.array([0, 39, 40, 127, 3] + ([-1, -41, -128] if index[0] == "i" else [200, 255]), np.int64)
    if index in ("int64", "uint64"):
        far = 2**62 if index == "int64" else 2**64 - 1
        places = np.append(places.astype(index), np.array([far, 2**32 + 1], index))
    elif index in ("int32", "uint32"):
        places = np.append(places, 2**31 - 1)

    def f(x, y, i):
        return jnp.sin(lax.gather(y, i[:, None], ELEMENTS, (1,), mode="clip")), consume(
            jnp.take(x, i, axis=0, mode="clip")
        )

    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        check(f, data((40, 700)), data((40,)), places.astype(index))


ELEMENTS = lax.GatherDimensionNumbers(offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,))


@pytest.mark.parametrize("count", [0, 1, 2, 1500])
def test_numbers_of_indices(count):
    i = np.arange(count, dtype=np.int32) * 37 % 40
    check(lambda x, y, i: (x[i] * 2 + 1, jnp.exp(y[i])), data((40, 520)), data((40,)), i)


def test_an_empty_slice():
    check(lambda x, i: x[i] + 1, data((40, 0)), np.array([1, 2], np.int32))


def test_slices_that_start_anywhere():
    dims = lax.GatherDimensionNumbers(offset_dims=(1, 2), collapsed_slice_dims=(), start_index_map=(0, 1))

    def f(x, starts):
        return consume(lax.gather(x, starts, dims, (2, 520), mode="clip"))

    starts = np.array([[0, 0], [3, 7], [-4, 100], [39, 1], [50, 5]], np.int32)
    check(f, data((40, 530)), starts)


def test_one_element_of_each_row():
    def losses(x, labels):
        return -jnp.take_along_axis(x, labels[:, None], axis=1)[:, 0], jnp.tanh(x[jnp.arange(64), labels])

    check(losses, data((64, 1000)), np.arange(64, dtype=np.int32) * 31 % 1000)


def test_reductions_of_what_is_gathered():
    def f(x, i):
        rows = x[i]
        scaled = rows * 0.125
        return rows.sum(-1), rows.max(0), jax.nn.softmax(scaled, -1), jax.nn.softmax(x[:, i], -1)

    check(f, data((600, 600)), np.arange(150, dtype=np.int32) * 7 % 600, rtol=1e-4)


def test_an_index_that_is_computed():
    def f(x, table, scores):
        best = jnp.argmax(scores, -1)
        return x[table[best]] + 1, consume(x[(scores[:, 0] * 10).astype(jnp.int32)])

    check(f, data((40, 600)), np.arange(9, -1, -1, dtype=np.int32), data((20, 10)))


def test_vmap():
    def f(x, i):
        return jax.vmap(lambda a, b: jnp.sin(a[b]))(x, i), jax.vmap(lambda b: x[0][b] * 2)(i)

    check(f, data((5, 40, 600)), np.array([PLACES] * 5, np.int32))
    check(f, data((5, 40)), np.array([PLACES] * 5, np.int32))


def test_grad():
    def loss(wte, wpe, tokens):
        x = wte[tokens] * 3 + wpe
        return (jnp.tanh(x) ** 2).sum()

    check(jax.value_and_grad(loss, (0, 1)), data((40, 600)), data((12, 600)), np.arange(12, dtype=np.int32) * 3, rtol=1e-4)


def test_several_readers():
    def f(x, w, i):
        rows = x[i]
        a = rows * 2
        product = functools.partial(jnp.matmul, precision="highest")
        return a, product(jnp.tanh(rows), w), product(rows, w), rows, rows[:, ::-1] + 1, rows[1:] - rows[:-1]

    check(f, data((40, 600)), data((600, 8)), np.array(PLACES, np.int32), rtol=1e-3)


@pytest.mark.parametrize("donate", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_donated_operands(donate):
    """What is gathered is not overwritten: the result reads it at other places than it writes."""

    def f(x, y, i):
        return x[i] + y, i * 2

    n = 5000
    i = np.arange(n - 1, -1, -1, dtype=np.int32)
    check(f, data((n,)), data((n,), seed=1), i, donate=donate)
    check(f, data((8, 600)), data((8, 600), seed=1), i[-8:], donate=donate)
    check(lambda x, y, i: (x[i] * x + y, i), data((n,)), data((n,)), i, donate=donate)


def test_donated_permutation():
    def f(x, i):
        return jnp.sin(x[i])

    check(f, data((70000,)), np.random.default_rng(0).permutation(70000).astype(np.int32), donate=(0,))


def test_in_loops():
    def f(x, i):
        def body(k, state):
            x, total = state
            x = x[i] * 0.99 + k
            return x, total + x.sum()

        return lax.fori_loop(0, 20, body, (x, jnp.float32(0)))

    check(f, data((40,)), np.arange(39, -1, -1, dtype=np.int32), rtol=1e-4)

    def scan(table, tokens):
        def step(h, token):
            h = jnp.tanh(h + table[token])
            return h, h.sum(-1)

        return lax.scan(step, jnp.zeros((2, 600)), tokens)

    check(scan, data((40, 600)), np.arange(24, dtype=np.int32).reshape(12, 2), rtol=1e-4)


def test_a_converted_table_is_converted_where_it_is_read():
    def f(table, i):
        return table.astype(jnp.bfloat16)[i] * 2

    check(f, data((40, 600)), np.array(PLACES, np.int32))


def test_the_dump_shows_it(tmp_path):
    code = """
        import jax, jax.numpy as jnp
        def f(wte, tokens, wpe):
            return wte[tokens] * 3 + wpe
        print(jax.jit(f)(jnp.ones((50, 768)), jnp.arange(20), jnp.ones((20, 768)))[0, 0])
    """
    env = dict(os.environ, JAX_MPS_DUMP=str(tmp_path), JAX_MPS_FUSION="1")
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=env, check=True, capture_output=True)
    notes = "".join(p.read_text() for p in tmp_path.glob("*.2.fusions.txt"))
    gathers = [line for line in notes.splitlines() if line.startswith("stablehlo.gather (")]
    assert len(gathers) == 1 and ": fusion at op" in gathers[0], notes
    # Also the module after each pass that changed it, and the plan.
    assert list(tmp_path.glob("*.1.*.inline.txt")) or list(tmp_path.glob("*.1.*.canonicalize.txt"))
    plans = "".join(p.read_text() for p in tmp_path.glob("*.4.plan.txt"))
    assert ("= native mps.fusion" in plans or "= launch mps_" in plans) and "return %" in plans, plans
