"""Complex functions over the whole plane agree with JAX's CPU backend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

FUNCTIONS = {
    **{
        name: getattr(jnp, name)
        for name in (
            "expm1 log1p tan tanh sin cos sinh cosh exp log sqrt arcsin arccos arctan arcsinh "
            "arccosh arctanh sign square sinc reciprocal abs"
        ).split()
    },
    "rsqrt": jax.lax.rsqrt,
    "logistic": jax.lax.logistic,
}
POSITIVE = [0, 1e-30, 1e-5, 0.3, 1, 1.6, 2, 30, 89, 1e4, 1e20, 3e38, np.inf]
PARTS = np.array(POSITIVE + [-x for x in POSITIVE] + [np.nan], np.float32)


def plane():
    z = np.empty((PARTS.size, PARTS.size), np.complex64)
    z.real, z.imag = PARTS[:, None], PARTS
    return z.ravel()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whole_plane(name):
    z = plane()
    function = FUNCTIONS[name]
    if name == "abs":
        # The CPU backend's |inf + nan i| is NaN; hypot's, as IEEE 754 has it, is infinite.
        z = z[~(np.isinf(z) & (np.isnan(z.real) | np.isnan(z.imag)))]

    def alone_and_fused(x, yes):
        return function(x), jnp.where(yes, function(x), 0)

    def on(platform):
        device = jax.devices(platform)[0]
        return jax.jit(alone_and_fused)(*jax.device_put((z, np.ones(z.shape, bool)), device))

    want = np.asarray(on("cpu")[0])
    with np.errstate(all="ignore"):
        size = np.abs(want.astype(np.complex128))
        # The CPU backend flushes subnormal numbers to zero.
        tolerance = 2e-5 * np.where(np.isfinite(size), size, 0) + np.finfo(np.float32).tiny
        for got in map(np.asarray, on("mps")):
            for a, b in ((got.real, want.real), (got.imag, want.imag)):
                same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= tolerance)
                assert same.all(), (z[~same][:4], got[~same][:4], want[~same][:4])
