"""Random bits: the streams of XLA, and JAX's generators and distributions on them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rows import row, values

KEY = values([1, 2, 3, 4], "uint32")
EDGE = values([7, 9, 0xFFFFFFFE, 0xFFFFFFFF], "uint32")  # the counter overflows
WIDE_KEY = values([[11, 5], [77, 2]], "uint32")
ALGORITHMS = {
    "threefry": lax.RandomAlgorithm.RNG_THREE_FRY,
    "philox": lax.RandomAlgorithm.RNG_PHILOX,
    "default": lax.RandomAlgorithm.RNG_DEFAULT,
}
UNSIGNED = ("uint32", "uint8", "uint16", "uint64")

for name, algorithm in ALGORITHMS.items():
    for shape in ((), (3,), (4,), (3, 5), (4, 3), (5, 7, 3), (2, 0), (1000, 33)):
        for dtype in UNSIGNED:
            row("stablehlo.rng_bit_generator", lambda k, s=shape, d=dtype, a=algorithm: lax.rng_bit_generator(k, s, d, algorithm=a), [KEY], dtype if dtype == "uint64" else "uint32", f"rng-{name}-{dtype}-{'x'.join(map(str, shape))}", vmap=False)
    row("stablehlo.rng_bit_generator", lambda k, a=algorithm: lax.rng_bit_generator(k, (50,), algorithm=a), [EDGE], "uint32", f"rng-{name}-overflow", vmap=False)

SIZE = (3, 7)
# Distributions whose values are exact functions of the bits; those through logarithms and the like
# are within a few units in the last place.
for name, function, ulps in (
    ("bits", lambda k: jax.random.bits(k, SIZE), 0),
    ("bits-8", lambda k: jax.random.bits(k, SIZE, jnp.uint8), 0),
    ("uniform", lambda k: jax.random.uniform(k, SIZE), 0),
    ("uniform-bf16", lambda k: jax.random.uniform(k, SIZE, jnp.bfloat16), 0),
    ("randint", lambda k: jax.random.randint(k, SIZE, -5, 100), 0),
    ("bernoulli", lambda k: jax.random.bernoulli(k, 0.3, SIZE), 0),
    ("choice", lambda k: jax.random.choice(k, 10, SIZE), 0),
    ("permutation", lambda k: jax.random.permutation(k, 50), 0),
    ("split", lambda k: jax.random.key_data(jax.random.split(k, 5)), 0),
    ("fold-in", lambda k: jax.random.key_data(jax.random.fold_in(k, 17)), 0),
    ("categorical", lambda k: jax.random.categorical(k, jnp.arange(5.0), shape=(40,)), 0),
    ("normal", lambda k: jax.random.normal(k, SIZE), 16),
    ("truncated-normal", lambda k: jax.random.truncated_normal(k, -1, 2, SIZE), 64),
    # XLA's float64 log1p, the oracle's part in these two, is off by 120 ulps near -0.41.
    ("exponential", lambda k: jax.random.exponential(k, SIZE), 128),
    ("gumbel", lambda k: jax.random.gumbel(k, SIZE), 64),
    ("laplace", lambda k: jax.random.laplace(k, SIZE), 128),
    ("cauchy", lambda k: jax.random.cauchy(k, SIZE), 256),
    ("gamma", lambda k: jax.random.gamma(k, 2.5, SIZE), 64),
    ("poisson", lambda k: jax.random.poisson(k, 3.0, SIZE), 0),
    ("dirichlet", lambda k: jax.random.dirichlet(k, jnp.ones(4), (5,)), 64),
):
    for impl in ("threefry2x32", "rbg") if name != "poisson" else ("threefry2x32",):
        def draw(key, f=function, i=impl):
            data = key if i == "rbg" else key[:2]
            return f(jax.random.wrap_key_data(data, impl=i))

        row("stablehlo", draw, [KEY], "uint32", f"random-{name}-{impl}", ulps=ulps, floor=0.01, oracle="cpu", vmap=False, covers=("mps.threefry2x32",) if impl == "threefry2x32" else ("stablehlo.rng_bit_generator",))




def check_uniform(got, want, arguments):
    x = got[0].astype(np.float64)
    mean = 0.5 if got[0].dtype == np.int32 else 1
    assert np.all((x >= -1) & (x < 3)) and abs(x.mean() - mean) < 0.1 and x.std() > 1


row("stablehlo.rng", lambda low, high: lax.rng_uniform(low, high, (10000,)), [values(-1), values(3)], ("float32", "float16", "int32"), check=check_uniform, vmap=False)
