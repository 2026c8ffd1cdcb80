"""dynamic_slice and dynamic_update_slice: starts inside and outside, of every index type."""

import jax
import numpy as np
from jax import lax
from rows import ALL, SMALL_FLOATS, SMALL_INTS, normal, row, values

EVERY = ALL + ("complex128",) + SMALL_INTS + SMALL_FLOATS
A = normal(5, 4, 6)
START = values(2, "int32")
FAR = values(100, "int32")
BELOW = values(-3, "int32")

row("stablehlo.dynamic_slice", lambda x, i: lax.dynamic_slice(x, (i, i * 0, i), (2, 4, 3)), [A, START], EVERY, grad=True)
row("stablehlo.dynamic_slice", lambda x, i, j: lax.dynamic_slice(x, (i, j, i * 0 + 1), (2, 3, 3)), [A, FAR, BELOW], EVERY[:4], "dynamic-slice-outside")
row("stablehlo.dynamic_slice", lambda x, i: lax.dynamic_slice(x, (i, i), (0, 3)), [normal(4, 5), START], "float32", "dynamic-slice-empty")
row("stablehlo.dynamic_slice", lambda x, i: lax.dynamic_slice(x, (i, np.int32(3)), (700, 300)), [normal(1000, 400), values(123, "int32")], ("float32", "int8"), "dynamic-slice-large", vmap=False)
row("stablehlo.dynamic_update_slice", lambda x, u, i: lax.dynamic_update_slice(x, u, (i, i * 0, i)), [A, normal(2, 4, 3), START], EVERY, grad=True)
row("stablehlo.dynamic_update_slice", lambda x, u, i, j: lax.dynamic_update_slice(x, u, (i, j, i * 0 + 1)), [A, normal(2, 3, 3), FAR, BELOW], EVERY[:4], "dynamic-update-outside")
row("stablehlo.dynamic_update_slice", lambda x, u, i: lax.dynamic_update_slice(x, u, (i, i)), [normal(4, 5), normal(0, 3), START], "float32", "dynamic-update-empty")
row("stablehlo.dynamic_update_slice", lambda x, u, i: (lax.dynamic_update_slice(x, u, (i,)), x), [normal(64), normal(5), START], "float32", "dynamic-update-keeps-operand")
row("stablehlo.dynamic_update_slice", lambda x, u, i: lax.dynamic_update_slice(x + x, u, (i, np.int32(3))), [normal(1000, 400), normal(700, 300), values(123, "int32")], ("float32", "int8"), "dynamic-update-large", vmap=False)
for index in ("int8", "uint8", "int16", "uint16", "uint32", "int64", "uint64"):
    row("stablehlo.dynamic_slice", lambda x, i: lax.dynamic_slice(x, (i,), (3,)), [normal(9), values(5, index)], "float32", f"dynamic-slice-{index}", vmap=False)
    row("stablehlo.dynamic_update_slice", lambda x, u, i: lax.dynamic_update_slice(x, u, (i,)), [normal(9), normal(3), values(8, index)], "float32", f"dynamic-update-{index}", vmap=False)
row("stablehlo.gather", lambda x, i: jax.vmap(lambda a: lax.dynamic_index_in_dim(a, i, 1))(x), [A, START], "float32", "dynamic-index-mapped")
