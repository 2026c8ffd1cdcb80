"""fft: all kinds, one to three dimensions, lengths with and without small factors."""

import jax.numpy as jnp
from jax import lax
from rows import normal, row

C = ("complex64", "complex128")
R = ("float32", "float64")
for n in (1, 2, 8, 12, 17, 60, 251):
    row("stablehlo.fft", lambda x: jnp.fft.fft(x), [normal(3, n)], C, f"fft-{n}", ulps=32, floor=0.2)
    row("stablehlo.fft", lambda x: jnp.fft.ifft(x), [normal(3, n)], C, f"ifft-{n}", ulps=32, floor=0.2)
    row("stablehlo.fft", lambda x: jnp.fft.rfft(x), [normal(3, n)], R, f"rfft-{n}", ulps=32, floor=0.2, grad=n == 12, grad_ulps=64)
    row("stablehlo.fft", lambda x, n=n: jnp.fft.irfft(x, n), [normal(3, n // 2 + 1)], C, f"irfft-{n}", ulps=32, floor=0.2)
for n in (37, 143, 1000, 40000, 40013):  # one prime factor or several, shared by threads or not
    row("stablehlo.fft", lambda x: jnp.fft.fft(x), [normal(2, n)], C, f"fft-{n}", ulps=32, floor=0.2)
    row("stablehlo.fft", lambda x, n=n: jnp.fft.irfft(jnp.fft.rfft(x), n), [normal(n)], R, f"rfft-irfft-{n}", ulps=64, floor=0.2)
row("stablehlo.fft", lambda x: jnp.fft.rfft(x), [normal(3, 11, 16)], R, "rfft-many-short", ulps=32, floor=0.2)
row("stablehlo.fft", lambda x: jnp.fft.irfft2(x), [normal(2, 3, 10, 9)], C, "irfft-2d", ulps=32, floor=0.2)
row("stablehlo.fft", lambda x: jnp.fft.fft2(x, axes=(0, 2)), [normal(9, 3, 131)], C, "fft-around-a-batch", ulps=32, floor=0.2)
row("stablehlo.fft", lambda x: jnp.fft.fftn(x), [normal(4, 6, 5)], C, "fft-3d", ulps=32, floor=0.2, grad=True, grad_ulps=64)
row("stablehlo.fft", lambda x: jnp.fft.ifft2(x), [normal(2, 6, 5)], C, "ifft-2d", ulps=32, floor=0.2)
row("stablehlo.fft", lambda x: jnp.fft.rfftn(x), [normal(4, 6, 5)], R, "rfft-3d", ulps=32, floor=0.2)
row("stablehlo.fft", lambda x: jnp.fft.irfftn(x, (4, 6, 5)), [normal(4, 6, 3)], C, "irfft-3d", ulps=32, floor=0.2)
row("stablehlo.fft", lambda x: jnp.fft.fft(x, axis=0), [normal(6, 4)], C, "fft-first-axis", ulps=32, floor=0.2)
row("stablehlo.fft", lambda x: lax.fft(x, lax.FftType.FFT if hasattr(lax, "FftType") else "FFT", (5,)), [normal(0, 5)], "complex64", "fft-empty")
