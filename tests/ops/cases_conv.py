"""Convolutions."""

import jax.numpy as jnp
from jax import lax
from rows import WIDE_FLOATS, normal, row


def conv(strides, padding, dims=None, **kw):
    return lambda x, w: lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=dims, **kw)


ROW = "stablehlo.convolution"
NHWC = ("NHWC", "HWIO", "NHWC")
TYPES = WIDE_FLOATS + ("complex64", "int32", "int8")
X, W = normal(2, 9, 10, 4), normal(3, 2, 4, 6)

row(ROW, conv((1, 1), "SAME", NHWC), [X, W], TYPES, "conv-same", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((2, 3), "VALID", NHWC), [X, W], ("float32", "bfloat16"), "conv-strided", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((1, 1), ((2, 1), (0, 3)), ("NCHW", "OIHW", "NCHW")), [normal(2, 4, 9, 10), normal(6, 4, 3, 2)], ("float32", "float16"), "conv-nchw", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((1, 2), ((-1, 2), (1, -2)), NHWC), [X, W], ("float32", "int32"), "conv-negative-padding", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((1, 1), ((2, 2), (1, 1)), NHWC, lhs_dilation=(2, 3)), [X, W], ("float32", "int32"), "conv-dilated-input", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((2, 1), "SAME", NHWC, rhs_dilation=(2, 3)), [X, W], ("float32", "bfloat16"), "conv-dilated-kernel", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((1, 1), "SAME", NHWC, feature_group_count=2), [X, normal(3, 2, 2, 6)], ("float32", "bfloat16", "int32"), "conv-grouped", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((1, 1), "SAME", NHWC, feature_group_count=4), [X, normal(3, 3, 1, 8)], "float32", "conv-depthwise", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((1, 1), "SAME", NHWC, batch_group_count=2), [normal(4, 9, 10, 4), W], ("float32", "int32"), "conv-batch-groups", ulps=16, floor=1, grad=True, grad_ulps=32, vmap=False)
row(ROW, conv((2,), "SAME", ("NWC", "WIO", "NWC")), [normal(3, 20, 5), normal(4, 5, 7)], ("float32", "float64"), "conv-1d", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((1, 2, 1), "SAME", ("NDHWC", "DHWIO", "NDHWC")), [normal(2, 5, 6, 7, 3), normal(2, 3, 2, 3, 4)], ("float32", "bfloat16"), "conv-3d", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((1, 1, 1, 1), "VALID"), [normal(1, 2, 3, 4, 3, 4), normal(3, 2, 2, 2, 2, 2)], ("float32", "int32"), "conv-4d", ulps=16, floor=1)
row(ROW, conv((), ()), [normal(3, 4), normal(5, 4)], "float32", "conv-0d", ulps=16, floor=1, vmap=False)
row(ROW, conv((1, 1), "SAME", ("HWNC", "OHWI", "CNHW")), [normal(9, 10, 2, 4), normal(6, 3, 2, 4)], "float32", "conv-odd-layout", ulps=16, floor=1, vmap=False)
row(ROW, conv((1, 1), "VALID", NHWC), [normal(2, 2, 10, 4), W], "float32", "conv-empty", ulps=16, floor=1)
row(ROW, lambda x, w: lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=NHWC), [X, W], ("float32", "bfloat16"), "conv-transpose", ulps=16, floor=1, grad=True, grad_ulps=32)
row(ROW, conv((1, 1), "SAME", NHWC, preferred_element_type=jnp.float32), [X, W], "int8", "conv-integers-into-floats", ulps=16, floor=1, oracle="cpu", vmap=False)
row(ROW, conv((1, 1), "SAME", NHWC, preferred_element_type=jnp.float32), [X, W], "bfloat16", "conv-widened", ulps=16, floor=1, oracle="cpu", vmap=False)
row(ROW, conv((1, 1), "SAME", NHWC, preferred_element_type=jnp.float16), [X, W], ("bfloat16", "float8_e5m2"), "conv-into-halves", ulps=4, floor=1, oracle="cpu", vmap=False)
row(ROW, conv((1, 1), "SAME", NHWC), [X, W], ("float8_e4m3fn", "float8_e5m2"), "conv-float8", ulps=2, floor=1, vmap=False)
row(ROW, conv((1, 1), "SAME", NHWC, precision=lax.Precision.HIGHEST), [X, W], "float32", "conv-highest", ulps=16, floor=1)
