"""sort with one or several keys, stable, in all types; arbitrary comparators; top_k."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rows import ALL, FLOATS, INTS, WIDE_FLOATS, full_range, ints_below, normal, row, special

REAL = WIDE_FLOATS + INTS
SORTED = ALL + ("complex128", "int4", "uint4")

row("stablehlo.sort", lambda x: lax.sort(x, dimension=1), [normal(5, 33)], SORTED)
row("stablehlo.sort", lambda x: lax.sort(x, dimension=0), [special(40, 3)], REAL, "sort-special")
row("stablehlo.sort", lambda x: lax.sort(x), [full_range(700)], ("float32", "float64", "bfloat16") + INTS, "sort-full-range")
row("stablehlo.sort", lambda x: lax.sort(x, dimension=1), [normal(2, 5000, 3)], ("float32", "int64", "int8"), "sort-middle")
row("stablehlo.sort", lambda x: lax.sort(x), [normal(200000)], ("float32", "int32", "float64", "bfloat16"), "sort-long", vmap=False)
row("stablehlo.sort", lambda x: lax.sort(x), [normal(0)], "float32", "sort-nothing")
row("stablehlo.sort", lambda x: lax.sort(x), [normal(1)], "float32", "sort-one")
row("stablehlo.sort", lambda x: lax.sort(lax.rev(x, (0,)), dimension=1), [normal(3, 70)], ("float32", "int32"), "sort-turned-round")
row("stablehlo.sort", lambda x: jnp.sort(x, descending=True), [special(50)], FLOATS + INTS, "sort-descending")
row("stablehlo.sort", lambda x, y: lax.sort((x, y), num_keys=1), [ints_below(5, 300, dtype=None), ints_below(1000, 300)], REAL, "sort-key-value")
row("stablehlo.sort", lambda x, y, z: lax.sort((x, y, z), num_keys=2), [ints_below(5, 300, dtype=None), special(300), normal(300)], ("float32", "int8", "int64"), "sort-two-keys")
row("stablehlo.sort", lambda x, y, z: lax.sort((x, y, z), num_keys=3), [ints_below(3, 300), ints_below(3, 300, dtype="int64"), normal(300)], ("float32", "complex64"), "sort-three-keys", vmap=False)
row("stablehlo.sort", lambda x: jnp.argsort(x), [special(64)], REAL, "argsort")
row("stablehlo.sort", lambda x: jnp.argsort(x, descending=True), [special(64)], REAL, "argsort-descending")
row("stablehlo.sort", lambda x: jnp.lexsort((x[0], x[1])), [ints_below(4, 2, 50, dtype=None)], ("int32", "float32"), "lexsort")
row("stablehlo.sort", lambda x: jnp.median(x, axis=0), [normal(21, 3)], "float32", "median", ulps=1)
row("stablehlo.sort", lambda x: jnp.unique(x, size=6, fill_value=0), [ints_below(5, 40, dtype=None)], ("int32", "float32"), "unique", vmap=False)
row("stablehlo.sort", lambda x: lax.sort(x), [normal(50)], "float32", "sort-gradient", grad=True)
row("chlo.top_k", lambda x: lax.top_k(x, 5), [special(4, 50)], REAL, "top-k", covers=("mps.top_k",))
row("chlo.top_k", lambda x: lax.top_k(x, 7), [ints_below(4, 3, 100, dtype=None)], ("float32", "int32", "uint8"), "top-k-ties", covers=("mps.top_k",))
row("chlo.top_k", lambda x: lax.top_k(x, 9), [normal(9)], "float32", "top-k-all", covers=("mps.top_k",), grad=True)
row("chlo.top_k", lambda x: lax.top_k(x, 100), [normal(40000)], ("float32", "bfloat16"), "top-k-long", covers=("mps.top_k",), vmap=False)
row("ApproxTopK", lambda x: lax.approx_max_k(x, 4)[0], [normal(3, 40)], "float32", "approx-max", covers=("stablehlo.custom_call",))
row("ApproxTopK", lambda x: lax.approx_min_k(x, 4, reduction_dimension=0)[0], [normal(40, 3)], "float32", "approx-min", covers=("stablehlo.custom_call",))


def check_permutation(got, want, arguments):
    np.testing.assert_array_equal(got[0].astype(np.float32), want[0].astype(np.float32))


row("stablehlo.sort", lambda x: lax.sort((x, lax.iota(jnp.int32, x.shape[0])), num_keys=1), [special(300)], FLOATS, "sort-permutation", check=check_permutation, vmap=False)
row("stablehlo.sort", lambda x: jax.random.permutation(jax.random.key(0), x), [normal(100)], "float32", "random-permutation")
