"""Matrix products."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.mlir.dialects import stablehlo
from jaxlib.mlir import ir
from rows import BOOL, FLOATS, INTS, WIDE_FLOATS, emit, full_range, normal, row


def dot(contract, batch=((), ()), **kw):
    return lambda a, b: lax.dot_general(a, b, (contract, batch), **kw)


def is_real_part(got, want, arguments):
    np.testing.assert_allclose(got[0], (arguments[0] @ arguments[1]).real, rtol=1e-5, atol=1e-5)


TYPES = WIDE_FLOATS + ("complex64",)
ROW = "stablehlo.dot_general"
# Sums of 16-bit floats are kept in float32 and rounded once.
row(ROW, dot(((1,), (0,))), [normal(9, 17), normal(17, 33)], TYPES, "matrix", ulps=8, floor=1, grad=True, grad_ulps=32)
row(ROW, dot(((1,), (0,))), [normal(70, 130), normal(130, 90)], ("float32", "bfloat16", "float64"), "matrix-larger", ulps=16, floor=1)
row(ROW, dot(((0,), (0,))), [normal(17, 9), normal(17, 33)], TYPES, "matrix-left-transposed", ulps=8, floor=1)
row(ROW, dot(((1,), (1,))), [normal(9, 17), normal(33, 17)], TYPES, "matrix-right-transposed", ulps=8, floor=1)
row(ROW, dot(((2,), (1,)), ((0,), (0,))), [normal(5, 9, 7), normal(5, 7, 11)], TYPES, "batch", ulps=8, floor=1, grad=True, grad_ulps=32)
row(ROW, dot(((3,), (3,)), ((0, 2), (0, 2))), [normal(2, 9, 3, 7), normal(2, 11, 3, 7)], TYPES, "attention-layout", ulps=8, floor=1, grad=True, grad_ulps=32)
row(ROW, dot(((1, 2), (2, 0)), ((0,), (1,))), [normal(4, 5, 6, 7), normal(6, 4, 5, 8)], ("float32", "int32"), "several-contracted", ulps=8, floor=1)
row(ROW, dot(((2, 1), (1, 2)), ((0,), (0,))), [normal(4, 6, 5, 2), normal(4, 5, 6)], TYPES + ("int32", "complex128"), "contracted-crosswise", ulps=8, floor=1)
row(ROW, dot(((1,), (1,))), [normal(3, 8, 4), normal(5, 8, 6)], ("float32", "bfloat16"), "several-free", ulps=8, floor=1)
row(ROW, dot(((0,), (0,))), [normal(300), normal(300)], TYPES, "inner", ulps=32, floor=1)
row(ROW, dot(((), ())), [normal(9), normal(11)], TYPES, "outer", ulps=3)
row(ROW, dot(((1,), (0,))), [normal(40, 300), normal(300)], ("float32", "bfloat16"), "matrix-vector", ulps=16, floor=1)
row(ROW, dot(((1,), (0,))), [normal(3, 0), normal(0, 5)], ("float32", "int32"), "contracted-empty")
row(ROW, dot(((1,), (0,))), [normal(0, 3), normal(3, 5)], "float32", "rows-empty")
row(ROW, dot(((1,), (0,))), [full_range(9, 40), full_range(40, 11)], INTS, "integers")
row(ROW, dot(((1,), (0,))), [normal(9, 40).of("bool"), normal(40, 11).of("bool")], BOOL, "bools", vmap=False)
row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.int32), [full_range(9, 700), full_range(700, 11)], ("int8", "uint8"), "integers-widened")
for other in ("int8", "uint8", "int16", "bool"):
    row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.int32), [full_range(9, 700), full_range(700, 11).of(other)], ("int8", "uint16", "int32"), f"integers-with-{other}", oracle="cpu", vmap=False)
row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.int64), [full_range(9, 70), full_range(70, 11)], ("int8", "uint32"), "integers-into-int64", oracle="cpu")
row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.float32), [normal(9, 40), normal(40, 11)], ("int8", "uint8", "int16", "int32", "uint32"), "integers-into-floats", ulps=16, floor=1, oracle="cpu")
row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.complex128), [normal(9, 40), normal(40, 11)], ("complex64",), "complex-widened", ulps=16, floor=1, oracle="cpu")
row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.float32), [normal(9, 40), normal(40, 11)], ("bfloat16", "float16"), "floats-widened", ulps=16, floor=1, oracle="cpu")
for other in ("bfloat16", "float16", "float8_e4m3fn", "float64", "int8"):
    # Of two types each side holds what it is given, and the result is rounded once.
    row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.float32), [normal(9, 40), normal(40, 11).of(other)], ("float32", "bfloat16"), f"with-{other}", ulps=16, floor=1, oracle="cpu", vmap=False)
row(ROW, lambda a, b: jnp.matmul(a, b), [normal(9, 40), normal(40, 11).of("bfloat16")], ("float32", "float16"), "promoted", ulps=16, floor=1, oracle="cpu")
row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.bfloat16), [normal(9, 40), normal(40, 11).of("float32")], ("bfloat16",), "rounded-once", ulps=2, floor=1, oracle="cpu", vmap=False)
# The product is made in a type that holds the operands, whatever of it the result holds.
row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.float32), [normal(9, 40), normal(40, 11)], "complex64", "real-part", oracle="none", check=is_real_part, vmap=False)
row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.int32), [normal(9, 40), normal(40, 11)], "float32", "floats-into-integers", oracle="cpu", vmap=False)
row(ROW, dot(((1,), (0,)), preferred_element_type=jnp.float16), [normal(9, 40), normal(40, 11)], ("bfloat16", "float8_e5m2"), "into-halves", ulps=2, floor=1, oracle="cpu", vmap=False)
row(ROW, dot(((1,), (0,))), [normal(9, 40), normal(40, 11).of("complex64")], ("float32", "bfloat16", "int8"), "with-complex", ulps=16, floor=1, oracle="cpu", vmap=False)
row(ROW, dot(((1,), (0,)), precision=lax.Precision.HIGHEST), [normal(70, 130), normal(130, 90)], "float32", "highest", ulps=8, floor=1)
for algorithm in ("F32_F32_F32", "BF16_BF16_F32_X3"):
    row(ROW, dot(((1,), (0,)), precision=lax.DotAlgorithmPreset[algorithm]), [normal(9, 40), normal(40, 11)], "float32", f"algorithm-{algorithm}", ulps=8, floor=1, oracle="cpu", vmap=False)
row(ROW, lambda a, b: jnp.einsum("bij,bjk->bik", a, b), [normal(3, 4, 5), normal(3, 5, 6)], FLOATS, "einsum", ulps=8, floor=1)
row(ROW, lambda a, b: lax.dot_general(a.astype("float32"), b.astype("float32"), (((1,), (0,)), ((), ()))), [normal(9, 16), normal(16, 8)], "float8_e4m3fn", "after-float8", ulps=8, floor=1, oracle="cpu", vmap=False)


def old_dot(a, b):
    shape = [ir.RankedTensorType(a.type).get_dim_size(0), ir.RankedTensorType(b.type).get_dim_size(1)]
    return stablehlo.dot(ir.RankedTensorType.get(shape, ir.RankedTensorType(a.type).element_type), a, b)


row("stablehlo.dot", emit(old_dot, (9, 33)), [normal(9, 17), normal(17, 33)], ("float32", "int32"), "old-dot", ulps=8, floor=1, vmap=False)
