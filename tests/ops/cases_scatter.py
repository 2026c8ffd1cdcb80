"""scatter: every form of dimension numbers and combiner, repeated and out-of-bounds indices."""

import jax
import jax.numpy as jnp
from jax import lax
from rows import ALL, FLOATS, INTS, NUMBERS, SMALL_FLOATS, SMALL_INTS, ints_below, normal, permutation, row, special, uniform, values

EVERY = ALL + ("complex128",) + SMALL_INTS + SMALL_FLOATS
REAL = ("float32", "float64", "bfloat16", "float16") + INTS
EXACT = INTS + ("bool",)
DROP, PROMISE = lax.GatherScatterMode.FILL_OR_DROP, lax.GatherScatterMode.PROMISE_IN_BOUNDS


def scatter(function, window, inserted, to_operand, batching=(), indices_batching=(), mode=DROP, **kwargs):
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=window,
        inserted_window_dims=inserted,
        scatter_dims_to_operand_dims=to_operand,
        operand_batching_dims=batching,
        scatter_indices_batching_dims=indices_batching,
    )
    return lambda x, i, u: function(x, i, u, numbers, mode=mode, **kwargs)


A = normal(5, 4, 3)
WILD = uniform(-7, 7, 6, 1).of("int32")
DISTINCT = values([[4], [0], [9], [2], [-1], [7]], "int32")
ROWS_OF = [normal(8, 4), DISTINCT, normal(6, 4)]
row("stablehlo.scatter", scatter(lax.scatter, (1,), (0,), (0,), unique_indices=True), ROWS_OF, EVERY, grad=True)
row("stablehlo.scatter", scatter(lax.scatter_add, (1,), (0,), (0,)), [normal(5, 4), WILD, normal(6, 4)], INTS + ("complex64", "float64"), "scatter-add", grad=True, ulps=4, floor=0.1)
row("stablehlo.scatter", scatter(lax.scatter_add, (1,), (0,), (0,)), [normal(5, 4), WILD, normal(6, 4)], "float32", "scatter-add-floats", grad=True, ulps=8, floor=0.1)
row("stablehlo.scatter", scatter(lax.scatter_mul, (1,), (0,), (0,), unique_indices=True), ROWS_OF, NUMBERS, "scatter-mul", ulps=1.01)
row("stablehlo.scatter", scatter(lax.scatter_min, (1,), (0,), (0,)), [normal(5, 4), WILD, normal(6, 4)], REAL + ("bool",), "scatter-min")
row("stablehlo.scatter", scatter(lax.scatter_max, (1,), (0,), (0,)), [normal(5, 4), WILD, normal(6, 4)], REAL + ("bool",), "scatter-max")
if hasattr(lax, "scatter_sub"):
    row("stablehlo.scatter", scatter(lax.scatter_sub, (1,), (0,), (0,)), [normal(5, 4), WILD, normal(6, 4)], INTS, "scatter-sub")
row("stablehlo.scatter", scatter(lax.scatter_max, (1,), (0,), (0,)), [special(5, 4), WILD, special(6, 4)], FLOATS, "scatter-max-special", check=lambda got, want, _: None if jnp.array_equal(got[0], want[0], equal_nan=True) else 1 / 0)
row("stablehlo.scatter", scatter(lax.scatter_add, (0, 1), (), (0, 1)), [normal(5, 6), values([4, 5], "int32"), normal(2, 3)], INTS, "scatter-window-outside")
row("stablehlo.scatter", scatter(lax.scatter_add, (0, 1), (), (0, 1)), [normal(5, 6), values([3, 2], "int32"), normal(2, 3)], INTS, "scatter-one-window")
row("stablehlo.scatter", scatter(lax.scatter_add, (0, 2), (0,), (0, 2)), [A, uniform(-1, 6, 7, 2).of("int32"), normal(4, 7, 2)], INTS, "scatter-window-first")
row("stablehlo.scatter", scatter(lax.scatter_add, (), (0, 1, 2), (2, 0, 1)), [A, uniform(-1, 6, 50, 3).of("int32"), normal(50)], INTS, "scatter-points")
row("stablehlo.scatter", scatter(lax.scatter_add, (2,), (1,), (1,), (0,), (0,)), [A, ints_below(4, 5, 7, 1), normal(5, 7, 3)], INTS, "scatter-batching")
row("stablehlo.scatter", scatter(lax.scatter_add, (1,), (0,), (0,)), [normal(5, 4), ints_below(5, 0, 1), normal(0, 4)], ("float32", "int32"), "scatter-nothing")
row("stablehlo.scatter", scatter(lax.scatter_add, (1,), (0,), (0,), mode=PROMISE), [normal(100, 64), ints_below(100, 5000, 1), normal(5000, 64)], ("int32", "int8"), "scatter-rows-large", vmap=False)
row("stablehlo.scatter", scatter(lax.scatter_add, (), (0,), (0,), mode=PROMISE), [normal(1000), ints_below(1000, 70000, 1), normal(70000)], ("int32", "uint8"), "scatter-points-large", vmap=False)
row("stablehlo.scatter", scatter(lax.scatter_add, (5, 6, 7, 8, 9, 10), (0,), (0,)), [normal(4, 2, 1, 2, 1, 2, 3), ints_below(4, 2, 1, 2, 1, 3, 1), normal(2, 1, 2, 1, 3, 2, 1, 2, 1, 2, 3)], "int32", "scatter-many-dimensions", vmap=False)
for index in ("int8", "uint8", "int16", "uint32", "int64", "uint64"):
    row("stablehlo.scatter", scatter(lax.scatter_add, (1,), (0,), (0,)), [normal(8, 4), values([[6], [1], [100], [6]], index), normal(4, 4)], "int32", f"scatter-index-{index}", vmap=False)

# Combiners that are programs of their own.
row("stablehlo.scatter", lambda x, i: x.at[i].apply(lambda v: v * 3 + 1), [normal(5, 4), values([3, 0, 9], "int32")], ("float32", "int32"), "scatter-apply", ulps=2)
row("stablehlo.scatter", lambda x, i, u: x.at[i].divide(u), [uniform(1, 9, 5, 4), values([3, 0], "int32"), uniform(1, 9, 2, 4)], "float32", "scatter-divide", ulps=2)
row("stablehlo.scatter", lambda x, i, u: x.at[i].power(u), [uniform(1, 3, 5, 4), values([3, 0], "int32"), uniform(1, 3, 2, 4)], "float32", "scatter-power", ulps=8)
row("stablehlo.scatter", lambda x, i, u: x.at[i, 1].set(u), [A, values([4, 0, 2], "int32"), normal(3, 3)], ALL, "at-set", grad=True)
row("stablehlo.scatter", lambda x, i, u: x.at[:, i].add(u), [A, values([3, 0, 3, -1], "int32"), normal(5, 4, 3)], INTS, "at-add")
row("stablehlo.scatter", lambda x, i: jax.ops.segment_sum(x, i, 5), [normal(20, 3), ints_below(5, 20)], ("float32", "int32"), "segment-sum", ulps=8, floor=0.1)
row("stablehlo.scatter", lambda x, i: jax.ops.segment_max(x, i, 5), [normal(20, 3), ints_below(5, 20)], ("float32", "int32"), "segment-max")
row("stablehlo.scatter", lambda x: jnp.bincount(x, length=7), [ints_below(7, 30, dtype=None)], ("int32", "uint8"), "bincount", vmap=False)
row("stablehlo.scatter", lambda x, y: jnp.zeros((8,), x.dtype).at[y.astype(jnp.int32)].set(x), [normal(8), permutation(8)], ("float32", "int16"), "inverse-permutation", vmap=False)
