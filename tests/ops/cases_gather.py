"""gather: every form of dimension numbers, indices in and out of bounds, and indexing of jax.numpy."""

import jax
import jax.numpy as jnp
from jax import lax
from rows import ALL, SMALL_FLOATS, SMALL_INTS, ints_below, normal, row, uniform, values

EVERY = ALL + ("complex128",) + SMALL_INTS + SMALL_FLOATS
SOME = ("float32", "int8", "bfloat16", "bool", "complex64")
DROP, CLIP = lax.GatherScatterMode.FILL_OR_DROP, lax.GatherScatterMode.CLIP
PROMISE = lax.GatherScatterMode.PROMISE_IN_BOUNDS


def gather(offset, collapsed, index_map, sizes, operand_batching=(), indices_batching=(), mode=CLIP):
    numbers = lax.GatherDimensionNumbers(
        offset_dims=offset,
        collapsed_slice_dims=collapsed,
        start_index_map=index_map,
        operand_batching_dims=operand_batching,
        start_indices_batching_dims=indices_batching,
    )
    return lambda x, i: lax.gather(x, i, numbers, slice_sizes=sizes, mode=mode)


A = normal(5, 4, 3)
WILD = uniform(-9, 9, 7, 2).of("int32")
row("stablehlo.gather", gather((1,), (0,), (0,), (1, 6)), [normal(9, 6), ints_below(9, 7, 1)], EVERY, grad=True, grad_ulps=32)
row("stablehlo.gather", gather((1, 2), (0,), (0, 2), (1, 4, 2)), [A, WILD], SOME, "gather-out-of-bounds", grad=True, grad_ulps=32)
row("stablehlo.gather", gather((0, 2), (0,), (2, 0), (1, 4, 2)), [A, WILD], SOME, "gather-window-first")
row("stablehlo.gather", gather((1, 2, 3), (), (1, 2), (3, 2, 2)), [A, WILD], SOME, "gather-windows")
row("stablehlo.gather", gather((), (0, 1, 2), (2, 1, 0), (1, 1, 1)), [A, uniform(-2, 6, 3, 5, 3).of("int32")], SOME, "gather-points")
row("stablehlo.gather", gather((2,), (1,), (1,), (1, 1, 3), (0,), (0,)), [A, ints_below(4, 5, 2, 1)], EVERY, "gather-batching", grad=True, grad_ulps=32)
row("stablehlo.gather", gather((), (1,), (1,), (1, 1, 1), (0, 2), (1, 0)), [A, ints_below(4, 3, 5, 1)], SOME, "gather-batching-swapped")
row("stablehlo.gather", gather((0,), (), (0,), (3,)), [normal(9), values([7], "int32")], SOME, "gather-one-window")
row("stablehlo", gather((1,), (0,), (0,), (1, 6)), [normal(9, 6), ints_below(9, 0, 1)], "float32", "gather-nothing")
row("stablehlo", gather((1,), (0,), (0,), (1, 0)), [normal(9, 0), ints_below(9, 4, 1)], "float32", "gather-empty-windows")
row("stablehlo.gather", gather((0, 1), (), (), (2, 3)), [normal(5, 3), values(jnp.zeros((0,)), "int32")], "float32", "gather-no-index")
for index in ("int8", "uint8", "int16", "uint32", "int64", "uint64"):
    high = 300.0 if index not in ("int8", "uint8") else 120.0
    low = 0.0 if index.startswith("u") else -high
    row("stablehlo.gather", gather((1, 2), (), (0,), (2, 6)), [normal(9, 6), uniform(low, high, 40, 1).of(index)], "float32", f"gather-index-{index}", vmap=False)
row("stablehlo.gather", gather((1,), (0,), (0,), (1, 64), mode=PROMISE), [normal(1000, 64), ints_below(1000, 3000, 1)], ("float32", "bfloat16"), "gather-rows-large", vmap=False)
row("stablehlo.gather", gather((), (0,), (0,), (1,), mode=PROMISE), [normal(5000), ints_below(5000, 70000, 1)], ("float32", "int8"), "gather-points-large", vmap=False)

I = uniform(-7, 7, 6).of("int32")
J = uniform(-5, 5, 6).of("int32")
row("stablehlo.gather", lambda x, i: x[i], [A, I], SOME, "index-first", grad=True, grad_ulps=32)
row("stablehlo.gather", lambda x, i: x.at[i].get(mode="fill"), [A, I], SOME, "index-fill")
row("stablehlo.gather", lambda x, i: x.at[i].get(mode="clip"), [A, I], SOME, "index-clip")
row("stablehlo.gather", lambda x, i, j: x[i, :, j], [A, I, J], SOME, "index-split", grad=True, grad_ulps=32)
row("stablehlo.gather", lambda x, i, j: x[i[:, None], j[None, :3]], [A, I, J], SOME, "index-outer")
row("stablehlo.gather", lambda x, i: x[..., i, None], [A, I], SOME, "index-ellipsis")
row("stablehlo.gather", lambda x, i: jnp.take(x, i, axis=1), [A, I], SOME, "take")
row("stablehlo.gather", lambda x, i: jnp.take(x, i), [A, I], SOME, "take-flat")
row("stablehlo.gather", lambda x, i: jnp.take_along_axis(x, i, 1), [normal(5, 4), ints_below(4, 5, 7)], SOME, "take-along-axis", grad=True, grad_ulps=32)
row("stablehlo.gather", lambda x, i: jax.nn.one_hot(i, 5, dtype=x.dtype) @ x.reshape(5, 12) + x.reshape(5, 12)[i], [A, I], "float32", "index-and-product", ulps=4, floor=0.1)
