"""Convolutions of one channel and a few taps, which are written out, and small products."""

import jax
import numpy as np
import pytest
from jax import lax


def values(*shape):
    return np.random.default_rng(len(shape)).uniform(-1, 1, shape).astype(np.float32)


def compare(mps, cpu, function, *args):
    got, want = (np.asarray(jax.jit(function)(*jax.device_put(args, device))) for device in (mps, cpu))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding", [(0, 0), (1, 2), (4, 0)])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("reverse", [False, True])
def test_one_dimension(mps, cpu, padding, stride, reverse):
    def filtered(x, w):
        return lax.conv_general_dilated(x, w[..., ::-1] if reverse else w, (stride,), [padding])

    compare(mps, cpu, filtered, values(2, 1, 23), values(1, 1, 4))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_images(mps, cpu, layout):
    x, w = values(2, 1, 9, 8), values(1, 1, 3, 2)
    if layout == "NHWC":
        x, w = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)
    dims = (layout, "OIHW" if layout == "NCHW" else "HWIO", layout)

    def filtered(x, w):
        return lax.conv_general_dilated(x, w, (2, 1), [(1, 1), (0, 2)], dimension_numbers=dims)

    compare(mps, cpu, filtered, x, w)


@pytest.mark.parametrize(
    "formula",
    ["ij,jk->ik", "ij,kj->ik", "ji,jk->ki", "bij,bjk->bik", "bij,bj->bi", "bi,bi->b", "i,i->", "abi,ci->abc", "j,bjk->bk",
     "bij,j->bi", "bi,bk->bik", "i,bk->ibk"],  # fmt: skip
)
@pytest.mark.parametrize("batch", [2, 4000])
def test_small_products(mps, cpu, formula, batch):
    sizes = {"i": 3, "j": 4, "k": 2, "a": 2, "b": batch, "c": 3}
    args = [values(*(sizes[c] for c in part)) for part in formula.split("->")[0].split(",")]
    compare(mps, cpu, lambda *args: jax.numpy.einsum(formula, *args), *args)
