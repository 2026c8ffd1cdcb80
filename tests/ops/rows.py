"""Rows of op tests: what an op is called, how it is called from JAX, with which arguments and types.

    row("stablehlo.add", lax.add, [normal(3, 4), normal(3, 4)], NUMBERS, grad=True)

`test_ops.py` runs every row for each of its types, under jit, vmap and grad.
"""

import dataclasses
import zlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import mlir

FLOATS = ("float32", "bfloat16", "float16")
WIDE_FLOATS = ("float32", "bfloat16", "float16", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTS = SIGNED + UNSIGNED
COMPLEX = ("complex64",)
BOOL = ("bool",)
NUMBERS = WIDE_FLOATS + INTS + COMPLEX
ALL = NUMBERS + BOOL
SMALL_INTS = ("int4", "uint4", "int2", "uint2")
SMALL_FLOATS = (
    "float8_e5m2",
    "float8_e4m3fn",
    "float8_e4m3b11fnuz",
    "float8_e5m2fnuz",
    "float8_e4m3fnuz",
    "float8_e4m3",
    "float8_e3m4",
    "float4_e2m1fn",
)


def is_float(dtype) -> bool:
    return jnp.issubdtype(dtype, jnp.floating)


def is_complex(dtype) -> bool:
    return jnp.issubdtype(dtype, jnp.complexfloating)


def _int_info(dtype):
    return jnp.iinfo(dtype)


def as_dtype(values, dtype):
    """NumPy values in the type, wrapped or rounded as a C cast would."""
    dtype = jnp.dtype(dtype)
    if dtype == np.bool_:
        return np.asarray(values) > 0
    if jnp.issubdtype(dtype, jnp.integer):
        info = _int_info(dtype)
        return np.clip(np.trunc(np.asarray(values)), int(info.min), int(info.max)).astype(dtype)
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(dtype)


@dataclasses.dataclass(frozen=True)
class Arg:
    """How an argument is made: its shape, the distribution, and a type if not the row's."""

    shape: tuple
    make: Callable
    dtype: str | None = None

    def array(self, rng, dtype, batch=()):
        dtype = jnp.dtype(self.dtype or dtype)
        return np.asarray(self.make(rng, tuple(batch) + self.shape, dtype))

    def of(self, dtype):
        return dataclasses.replace(self, dtype=dtype)


def _normal(rng, shape, dtype, scale=1.0, shift=0.0):
    values = rng.standard_normal(shape) * scale + shift
    if is_complex(dtype):
        values = values + 1j * rng.standard_normal(shape) * scale
    elif jnp.issubdtype(dtype, jnp.integer):
        values = np.trunc(values * (2 if _int_info(dtype).bits <= 4 else 10))
        if _int_info(dtype).min == 0:
            values = np.abs(values)
    return as_dtype(values, dtype)


def normal(*shape, scale=1.0, shift=0.0):
    return Arg(shape, lambda rng, s, d: _normal(rng, s, d, scale, shift))


def uniform(low, high, *shape):
    def make(rng, s, d):
        values = rng.uniform(low, high, s)
        if is_complex(d):
            values = values + 1j * rng.uniform(low, high, s)
        return as_dtype(values, d)

    return Arg(shape, make)


def full_range(*shape):
    """Every bit pattern of integers, values over the whole exponent range of floats."""

    def make(rng, s, d):
        if jnp.issubdtype(d, jnp.integer):
            bits = rng.integers(0, 256, s + (d.itemsize,), dtype=np.uint8)
            if _int_info(d).bits < 8:
                low = int(_int_info(d).min)
                numbers = bits[..., 0].astype(np.int64) % (1 << int(_int_info(d).bits)) + low
                return numbers.astype(np.int8).astype(d)
            return bits.view(d)[..., 0]
        if d == np.bool_:
            return rng.integers(0, 2, s).astype(bool)
        info = jnp.finfo(d)
        exponents = rng.uniform(int(info.minexp) / 2, int(info.maxexp) / 2, s)
        return as_dtype(rng.choice([-1.0, 1.0], s) * 2.0**exponents, d)

    return Arg(shape, make)


def special(*shape):
    """Zeros of both signs, infinities, NaN, halves, extremes; integers: ends of the range and 0."""

    def make(rng, s, d):
        if d == np.bool_:
            return rng.integers(0, 2, s).astype(bool)
        if jnp.issubdtype(d, jnp.integer):
            info = _int_info(d)
            pool = [0, 1, int(info.min), int(info.max), int(info.max) // 2]
            pool += [] if info.min == 0 else [-1]
            return np.array([pool[i] for i in rng.integers(0, len(pool), int(np.prod(s)))], d).reshape(s)
        pool = np.array(
            [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3e4, -3e4, 0.3]
        )
        values = pool[rng.integers(0, len(pool), s)]
        if is_complex(d):
            finite = pool[5:]
            values = finite[rng.integers(0, 10, s)] + 1j * finite[rng.integers(0, 10, s)]
        return as_dtype(values, d)

    return Arg(shape, make)


def values(array, dtype=None):
    """These values, repeated along new leading dimensions."""
    array = np.asarray(array)

    def make(rng, s, d):
        return np.broadcast_to(as_dtype(array, d), s)

    return Arg(array.shape, make, dtype)


def ints_below(limit, *shape, dtype="int32"):
    return Arg(shape, lambda rng, s, d: rng.integers(0, limit, s).astype(d), dtype)


def permutation(n, *batch):
    """Distinct numbers in random order."""

    def make(rng, s, d):
        out = np.empty(s, dtype=np.float64).reshape(-1, n)
        for line in out:
            line[:] = rng.permutation(n) - n // 2
        return as_dtype(out.reshape(s), d)

    return Arg((*batch, n), make)


@dataclasses.dataclass(frozen=True)
class Row:
    op: str  # must occur in the StableHLO text of the function
    function: Callable
    args: Sequence[Arg]
    dtypes: Sequence[str]
    name: str
    ulps: float  # 0: bits equal to JAX's CPU backend
    grad: bool
    grad_ulps: float
    vmap: bool
    floor: float  # errors count in ulps of at least this part of the largest result
    oracle: str  # "float64": the same function in float64; "cpu": JAX's CPU backend, same types;
    # "none": only `check` judges
    covers: tuple  # names of our ops that the row reaches
    check: Callable | None  # replaces the comparison: check(got, want, arguments)

    @property
    def seed(self):
        return zlib.crc32(self.name.encode())

    def arrays(self, dtype, batch=()):
        rng = np.random.default_rng(self.seed)
        return [arg.array(rng, dtype, batch) for arg in self.args]


def emit(build, shape=None):
    """A function for an op that JAX has no function for: its StableHLO is what build(*operands) writes.

    The result has the first argument's type, and its shape or the given one.
    """
    primitive = Primitive("emitted")
    primitive.def_abstract_eval(lambda x, *_: x.update(shape=x.shape if shape is None else shape))
    mlir.register_lowering(primitive, lambda ctx, *operands: [build(*operands)])
    primitive.def_impl(jax.jit(lambda *operands: primitive.bind(*operands)))
    return primitive.bind


ROWS: list[Row] = []


def row(
    op,
    function,
    args,
    dtypes,
    name=None,
    ulps=0,
    grad=False,
    grad_ulps=None,
    vmap=True,
    floor=0.0,
    oracle=None,
    covers=(),
    check=None,
):
    """Adds a row. `ulps` 0 asks for the bits of JAX's CPU backend, more for closeness to float64."""
    name = name or op.split(".")[-1]
    known = {r.name for r in ROWS}
    base, n = name, 2
    while name in known:
        name, n = f"{base}-{n}", n + 1
    if isinstance(dtypes, str):
        dtypes = (dtypes,)
    ROWS.append(
        Row(
            op,
            function,
            tuple(args),
            tuple(dtypes),
            name,
            ulps,
            grad,
            grad_ulps if grad_ulps is not None else max(4 * ulps, 4),
            vmap,
            floor,
            oracle or ("cpu" if ulps == 0 else "float64"),
            tuple(covers) or (op,),
            check,
        )
    )
