"""Ops that move values, with parameters that hypothesis chooses, against JAX's CPU backend, bit by bit.

Each example is one compiled program of up to four such ops, so that rewrites and fusions meet chains.
"""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jax import lax

QUICK = settings(max_examples=12, deadline=None, derandomize=True, database=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
DTYPES = ("float32", "int8", "bool", "complex64", "uint16", "bfloat16")
SIZES = st.lists(st.integers(0, 6), min_size=1, max_size=4)


def values(shape, dtype):
    count = int(np.prod(shape))
    numbers = (np.arange(count) * 7 % 23 - 11).reshape(shape)
    return numbers > 0 if dtype == "bool" else np.asarray(jnp.asarray(numbers).astype(dtype))


def same(function, arguments, mps, cpu):
    results = []
    for device in (mps, cpu):
        placed = [jax.device_put(a, device) for a in arguments]
        results.append(jax.tree.leaves(jax.jit(function)(*placed)))
    for got, want in zip(*results, strict=True):
        assert got.shape == want.shape and got.dtype == want.dtype
        assert np.asarray(got).tobytes() == np.asarray(want).tobytes()


@st.composite
def movement(draw, shape):
    """A function of an array of the shape."""
    kind = draw(st.sampled_from(["slice", "transpose", "reshape", "pad", "reverse", "broadcast", "concatenate"]))
    rank = len(shape)
    if kind == "slice":
        ends = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2))) for n in shape]
        steps = [draw(st.integers(1, 3)) for _ in shape]
        return lambda x: lax.slice(x, [a for a, _ in ends], [b for _, b in ends], steps)
    if kind == "transpose":
        order = draw(st.permutations(range(rank)))
        return lambda x: lax.transpose(x, order)
    if kind == "reshape":
        flat = int(np.prod(shape))
        divisors = [d for d in range(1, max(flat, 1) + 1) if flat % d == 0]
        first = draw(st.sampled_from(divisors))
        return lambda x: lax.reshape(x, (first, flat // first))
    if kind == "pad":
        config = []
        for n in shape:
            inner = draw(st.integers(0, 2))
            whole = n + max(n - 1, 0) * inner
            low = draw(st.integers(-whole, 3))
            config.append((low, draw(st.integers(-(whole + low), 3)), inner))
        return lambda x: lax.pad(x, jnp.ones((), x.dtype), config)
    if kind == "reverse":
        axes = draw(st.lists(st.integers(0, rank - 1), unique=True, max_size=rank))
        return lambda x: lax.rev(x, axes)
    if kind == "broadcast":
        sizes = draw(st.lists(st.integers(1, 3), max_size=2))
        return lambda x: lax.broadcast(x, sizes)
    axis = draw(st.integers(0, rank - 1))
    return lambda x: lax.concatenate([x, lax.rev(x, [axis]), x], axis)


@st.composite
def chains(draw):
    shape, dtype = tuple(draw(SIZES)), draw(st.sampled_from(DTYPES))
    steps, now = [], jax.ShapeDtypeStruct(shape, dtype)
    for _ in range(draw(st.integers(1, 4))):
        if len(now.shape) > 5 or np.prod(now.shape) > 2000:
            break
        steps.append(draw(movement(now.shape)))
        now = jax.eval_shape(steps[-1], now)
    return values(shape, dtype), steps


@settings(QUICK, max_examples=30)
@given(chains())
def test_chains_of_movements(mps, cpu, chain):
    x, steps = chain

    def function(x):
        for step in steps:
            x = step(x)
        return x

    same(function, [x], mps, cpu)


@QUICK
@given(st.data(), st.sampled_from(DTYPES), st.sampled_from(["int32", "int8", "uint8"]))
def test_dynamic_slices(mps, cpu, data, dtype, index):
    """Starts are clamped, wherever they lie."""
    shape = data.draw(SIZES)
    sizes = [data.draw(st.integers(0, n)) for n in shape]
    low = 0 if index == "uint8" else -9
    starts = [np.asarray(data.draw(st.integers(low, 9)), index) for _ in shape]
    x, update = values(shape, dtype), values(sizes, dtype)

    def function(x, update, *starts):
        return lax.dynamic_slice(x, starts, sizes), lax.dynamic_update_slice(x, update, starts)

    same(function, [x, update, *starts], mps, cpu)


@st.composite
def gathers(draw):
    """Operand, indices, dimension numbers and slice sizes that fit each other."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    rank = len(shape)
    indexed = draw(st.permutations(range(rank)))[: draw(st.integers(0, rank))]
    sizes = [draw(st.integers(1 if d in indexed else 0, n)) for d, n in enumerate(shape)]
    collapsed = sorted(d for d in range(rank) if sizes[d] == 1 and draw(st.booleans()))
    batch = draw(st.lists(st.integers(0, 4), max_size=2))
    offsets = rank - len(collapsed)
    where = sorted(draw(st.permutations(range(offsets + len(batch))))[:offsets])
    count = int(np.prod(batch)) * len(indexed)
    numbers = draw(st.lists(st.integers(-3, 7), min_size=count, max_size=count))
    indices = np.asarray(numbers, np.int32).reshape([*batch, len(indexed)])
    return shape, sizes, tuple(where), tuple(collapsed), tuple(indexed), indices


@settings(QUICK, max_examples=20)
@given(gathers(), st.sampled_from(DTYPES), st.sampled_from(["clip", "fill"]))
def test_gathers(mps, cpu, case, dtype, mode):
    shape, sizes, where, collapsed, indexed, indices = case
    numbers = lax.GatherDimensionNumbers(offset_dims=where, collapsed_slice_dims=collapsed, start_index_map=indexed)
    same(lambda x, i: lax.gather(x, i, numbers, sizes, mode=mode), [values(shape, dtype), indices], mps, cpu)


@settings(QUICK, max_examples=20)
@given(gathers(), st.sampled_from(["float32", "int8", "uint16"]), st.sampled_from(["add", "max", "mul", "set"]))
def test_scatters(mps, cpu, case, dtype, kind):
    """Updates that hit one place in any order give one result; of `set` all updates are equal."""
    shape, sizes, where, collapsed, indexed, indices = case
    assume(indexed)  # without, JAX's CPU backend applies one of several updates of the whole
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=where, inserted_window_dims=collapsed, scatter_dims_to_operand_dims=indexed)
    batch, window = list(indices.shape[:-1]), [n for d, n in enumerate(sizes) if d not in collapsed]
    updates_shape = [window.pop(0) if d in where else batch.pop(0) for d in range(len(where) + indices.ndim - 1)]
    updates = np.full(updates_shape, 3, dtype) if kind == "set" else values(updates_shape, dtype)
    apply = {"add": lax.scatter_add, "max": lax.scatter_max, "mul": lax.scatter_mul, "set": lax.scatter}[kind]
    if kind == "mul":
        updates = np.sign(updates.astype(np.float32)).astype(dtype) + np.ones((), dtype)
    same(lambda x, i, u: apply(x, i, u, numbers, mode="drop"), [values(shape, dtype), indices, updates], mps, cpu)


@QUICK
@given(st.data(), st.sampled_from(["float32", "int32", "bfloat16"]), st.sampled_from(["add", "max", "min"]))
def test_windows(mps, cpu, data, dtype, kind):
    """Sums of small whole numbers are exact in any order."""
    shape = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    sizes = [data.draw(st.integers(1, 3)) for _ in shape]
    steps, spread, holes = ([data.draw(st.integers(1, 2)) for _ in shape] for _ in range(3))
    padding = [(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in shape]
    start, combine = {"add": (0, lax.add), "max": (-20, lax.max), "min": (20, lax.min)}[kind]
    same(lambda x: lax.reduce_window(x, jnp.asarray(start, x.dtype), combine, sizes, steps, padding, spread, holes),
         [values(shape, dtype)], mps, cpu)
