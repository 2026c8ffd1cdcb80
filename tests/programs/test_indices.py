"""Where an index lies outside: one answer as a constant, at run time, in fusions and in loops, for every type.

The model is StableHLO's: a start is moved as little as possible so that the slice fits, a scatter's
window that does not fit is dropped; numbers are whole numbers of any size. (JAX's CPU backend reads
constants of uint64 beyond 2^63 as negative.)
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import Primitive
from jax.extend.mlir import ir
from jax.extend.mlir.dialects import stablehlo
from jax.interpreters import mlir
from versions import enable_x64

X = np.arange(8, dtype=np.float32)
U = np.array([100, 200, 300], np.float32)
LAST = 5
TYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
AS_IT_IS = lax.GatherScatterMode.PROMISE_IN_BOUNDS  # else JAX moves or masks indices itself


def corners(dtype):
    """Numbers around the ends of the slice and of each type that fit in the type."""
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    numbers = {0, 1, LAST, LAST + 1, 7, 8, low, high, high - 1, high - 2, high // 2, high // 2 + 1}
    numbers |= {-1, -3, -9, 1 << 31, 1 << 32, (1 << 32) + 1, (1 << 40) + 2, 1 << 62, (1 << 63) - 1, (1 << 63) + 1}
    return [n for n in sorted(numbers) if low <= n <= high]


def dynamic_slice(x, i):
    return lax.dynamic_slice_p.bind(x, i, slice_sizes=(3,))


def dynamic_update_slice(x, i):
    return lax.dynamic_update_slice_p.bind(x, jnp.asarray(U), i)


def gather(count):
    numbers = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(), start_index_map=(0,))

    def f(x, i):
        indices = jnp.stack([i] * count)[:, None]
        mode = dict(indices_are_sorted=False, unique_indices=False, mode=AS_IT_IS, fill_value=None)
        return lax.gather_p.bind(x, indices, dimension_numbers=numbers, slice_sizes=(3,), **mode)

    return f


def scatter(function, count):
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=(1,), inserted_window_dims=(), scatter_dims_to_operand_dims=(0,)
    )

    def f(x, i):
        indices = jnp.stack([i] * count)[:, None]
        return function(x, indices, jnp.stack([jnp.asarray(U)] * count), numbers, mode=AS_IT_IS)

    return f


def moved(i):
    return min(max(i, 0), LAST)


def written(i, added):
    """What a scatter makes of X; `added` is how often each update counts, 0 if it overwrites."""
    result = X.copy()
    if 0 <= i <= LAST:
        result[i : i + 3] = result[i : i + 3] + added * U if added else U
    return result


def updated(i):
    return np.concatenate([X[: moved(i)], U, X[moved(i) + 3 :]])


OPS = {
    "dynamic_slice": (dynamic_slice, lambda i: X[moved(i) :][:3]),
    "dynamic_update_slice": (dynamic_update_slice, updated),
    "gather of one": (gather(1), lambda i: X[None, moved(i) :][:, :3]),
    "gather": (gather(2), lambda i: np.stack([X[moved(i) :][:3]] * 2)),
    "scatter of one": (scatter(lax.scatter, 1), lambda i: written(i, 0)),
    "scatter": (scatter(lax.scatter, 2), lambda i: written(i, 0)),
    "scatter_add of one": (scatter(lax.scatter_add, 1), lambda i: written(i, 1)),
    "scatter_add": (scatter(lax.scatter_add, 2), lambda i: written(i, 2)),
}


def forms(f, numbers):
    """Ways to ask for the result at each of the numbers, together in one program each."""

    def loop(x, i):
        start = f(x, i) * 0
        return lax.fori_loop(0, 3, lambda _, c: (f(x + c[0].sum() * 0, c[1]), c[1]), (start, i))[0]

    yield "argument", lambda x, indices: [f(x, i) for i in indices]
    yield "constant", lambda x, _: [f(x, jnp.asarray(n)) for n in numbers]
    yield "fused", lambda x, indices: [(f(x * 2, i + i.dtype.type(0)) + f(x * 2, i)) / 4 for i in indices]
    yield "loop", lambda x, indices: [loop(x, i) for i in indices]
    yield "mapped", lambda x, indices: list(jax.vmap(f, (None, 0))(x, jnp.stack(indices)))


@pytest.mark.parametrize("name", OPS)
def test_index(name, mps):
    f, model = OPS[name]
    with enable_x64(True):
        for dtype in TYPES:
            numbers = [np.asarray(n, dtype) for n in corners(dtype)]
            for form, program in forms(f, numbers):
                if form == "fused" and not name.startswith(("dynamic_slice", "gather")):
                    continue  # it scales what is read
                if form == "mapped" and name == "dynamic_update_slice":
                    continue  # JAX makes it a scatter, and 0.6 moves its uint64 index wrongly
                results = jax.jit(program)(jax.device_put(X, mps), [jax.device_put(n, mps) for n in numbers])
                for number, result in zip(numbers, results):
                    np.testing.assert_array_equal(result, model(int(number)), f"{dtype} {number}, {form}")


def branch(x, i):
    """The case op as it is: lax.switch would move the index itself."""

    def build(index, *values):
        op = stablehlo.CaseOp([values[0].type], index, len(values))
        for region, value in zip(op.branches, values):
            with ir.InsertionPoint(region.blocks.append()):
                stablehlo.return_([stablehlo.negate(value)])
        return op.result

    primitive = Primitive("case_of_three")
    primitive.def_abstract_eval(lambda i, x, *_: x)
    mlir.register_lowering(primitive, lambda ctx, *operands: [build(*operands)])
    return primitive.bind(i, x, x + 1, x + 2)


def test_branch(mps):
    """Any index that names no branch means the last one."""
    numbers = [np.int32(n) for n in (0, 1, 2, 3, -1, -(2**31), 2**31 - 1)]
    for form, program in forms(branch, numbers):
        if form in ("argument", "constant", "loop"):
            results = jax.jit(program)(jax.device_put(X, mps), numbers)
            for number, result in zip(numbers, results):
                taken = number if 0 <= number < 3 else 2
                np.testing.assert_array_equal(result, -(X + taken), f"{number}, {form}")


def test_a_counter_that_wraps(mps):
    """A scan whose index is of a type with no room for the number of trips."""

    def f(x):
        def body(_, carry):
            i, kept = carry
            row = lax.dynamic_slice_p.bind(x, i, np.int8(0), slice_sizes=(1, 4)) * 2
            return i + np.int8(1), lax.dynamic_update_slice_p.bind(kept, row, i, np.int8(0))

        return lax.fori_loop(0, 200, body, (np.int8(0), jnp.zeros((200, 4))))[1]

    x = np.arange(800, dtype=np.float32).reshape(200, 4)
    want = np.where(np.arange(200)[:, None] < 128, 2 * x, 0)
    np.testing.assert_array_equal(jax.jit(f)(jax.device_put(x, mps)), want)
    in_place = jax.jit(lambda y: f(jnp.sin(y)))(jax.device_put(x, mps))
    np.testing.assert_allclose(in_place, np.where(want != 0, 2 * np.sin(x), 0), atol=1e-5)


@pytest.mark.parametrize("start, limit", [(2**64 - 1, 5), (2**64 - 5, 2**64 - 1), (2**63 - 2, 2**63 + 2)])
def test_a_loop_that_counts_in_uint64(start, limit, mps):
    with enable_x64(True):
        first, end = np.uint64(start), np.uint64(limit)
        f = lambda x: lax.while_loop(lambda s: s[0] < end, lambda s: (s[0] + np.uint64(1), s[1] + 1), (first, x))
        i, trips = jax.jit(f)(jax.device_put(np.int32(0), mps))
        assert (int(i), int(trips)) == (max(start, limit), max(limit - start, 0))


def test_a_batch_and_windows_of_many_dimensions():
    rng = np.random.default_rng(3)
    shape = (2, 3, 2, 2, 1, 2, 2)
    x = rng.standard_normal(shape).astype(np.float32)
    at = tuple(rng.integers(0, n, (2, 1, 3, 1, 2)) for n in shape)
    u = rng.standard_normal((2, 1, 3, 1, 2)).astype(np.float32)
    want = x.copy()
    np.add.at(want, at, u)
    np.testing.assert_allclose(jax.jit(lambda x, u: x.at[at].add(u))(x, u), want, rtol=1e-6)
    np.testing.assert_array_equal(jax.jit(lambda x: x[at])(x), x[at])
    np.maximum.at(low := x.copy(), at, u)
    np.testing.assert_array_equal(jax.jit(lambda x, u: x.at[at].max(u))(x, u), low)
