"""Ops that move elements, and iota."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.mlir.dialects import stablehlo
from rows import ALL, SMALL_FLOATS, SMALL_INTS, emit, normal, row

EVERY = ALL + ("complex128",) + SMALL_INTS + SMALL_FLOATS
A = normal(3, 4, 5)

row("stablehlo.reshape", lambda x: lax.reshape(x, (5, 12)), [A], EVERY, grad=True)
row("stablehlo.reshape", lambda x: lax.reshape(x, (1, 5, 12, 1)), [normal(60)], "float32", "reshape-ones")
row("stablehlo.reshape", lambda x: lax.reshape(x, ()), [normal(1, 1)], "float32", "reshape-scalar")
row("stablehlo.transpose", lambda x: lax.transpose(x, (2, 0, 1)), [A], EVERY, grad=True)
row("stablehlo.transpose", lambda x: lax.transpose(x, (1, 0)), [normal(65, 130)], "float32", "transpose-matrix")
row("stablehlo.broadcast_in_dim", lambda x: lax.broadcast_in_dim(x, (2, 3, 6, 4), (1, 3)), [normal(3, 4)], EVERY, grad=True, grad_ulps=8)
row("stablehlo.broadcast_in_dim", lambda x: lax.broadcast_in_dim(x, (3, 5), (0, 1)), [normal(1, 5)], "float32", "broadcast-expand")
row("stablehlo.broadcast_in_dim", lambda x: lax.broadcast_in_dim(x, (3, 5), ()), [normal()], ("float32", "bool"), "broadcast-scalar")
row("stablehlo.slice", lambda x: lax.slice(x, (1, 0, 2), (3, 4, 5), (1, 2, 2)), [A], EVERY, grad=True)
row("stablehlo.slice", lambda x: lax.slice(x, (1, 0, 2), (1, 4, 5)), [A], "float32", "slice-empty")
# XLA's CPU compiler aborts on concatenations of 2-bit integers, so NumPy is their oracle.
NOT_2_BITS = tuple(t for t in EVERY if t not in ("int2", "uint2"))


def concatenated(got, _, arguments):
    x, y = arguments
    assert got[0].dtype == x.dtype
    assert np.array_equal(got[0].astype(np.int8), np.concatenate([x, y, x], 1).astype(np.int8))


row("stablehlo.concatenate", lambda x, y: lax.concatenate([x, y, x], 1), [normal(3, 4), normal(3, 2)], NOT_2_BITS, grad=True)
row("stablehlo.concatenate", lambda x, y: lax.concatenate([x, y, x], 1), [normal(3, 4), normal(3, 2)], ("int2", "uint2"), "concatenate-2-bits", vmap=False, oracle="none", check=concatenated)
row("stablehlo.concatenate", lambda x, y: lax.concatenate([x, y], 0), [normal(0, 4), normal(3, 4)], "float32", "concatenate-empty")
row("stablehlo.reverse", lambda x: lax.rev(x, (0, 2)), [A], EVERY, grad=True)
PAD = [normal(4, 5), normal()]
for name, config in (
    ("edges", ((1, 2, 0), (3, 0, 0))),
    ("negative", ((-1, 2, 0), (1, -2, 0))),
    ("interior", ((0, 0, 2), (1, 1, 1))),
    ("mixed", ((-2, 3, 1), (2, -3, 3))),
    ("beyond", ((-6, 9, 1), (0, 0, 0))),
    ("nothing", ((0, 0, 0), (0, 0, 0))),
    ("to-empty", ((-2, -2, 0), (0, 0, 0))),
):
    row("stablehlo.pad", lambda x, v, c=config: lax.pad(x, v, c), PAD, EVERY if name == "mixed" else "float32", f"pad-{name}", grad=name != "to-empty", grad_ulps=24 if name == "beyond" else 8)  # that sum cancels
row("stablehlo.pad", lambda x, v: lax.pad(x, v, ((1, 1, 2), (0, 0, 0))), [normal(0, 5), normal()], "float32", "pad-empty")
row("stablehlo.iota", lambda x: x + lax.broadcasted_iota(x.dtype, (3, 4, 5), 1), [A], ("float32", "int32", "int8", "uint64", "bfloat16", "complex64", "int4"))
row("stablehlo.iota", lambda x: x * 0 + jnp.arange(5000, dtype=x.dtype), [normal(5000)], ("float32", "int16", "int64"), "iota-long")
row("stablehlo.constant", lambda x: x + jnp.asarray([1.5, 2.5, -3.0]).astype(x.dtype), [normal(3)], ("float32", "int32", "bfloat16"))
row("stablehlo.broadcast", emit(lambda x: stablehlo.broadcast(x, [2, 3]), (2, 3, 4, 5)), [normal(4, 5)], ("float32", "int8"), vmap=False)
