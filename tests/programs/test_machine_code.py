"""Loops as machine code: the same bits as without a code generator, and what happens when that fails."""

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("llvmlite")
pytestmark = pytest.mark.cpu_only("loops of a GPU's programs are few")

PROGRAMS = '''
import hashlib, jax, jax.numpy as jnp, numpy as np
from jax import lax

rng = np.random.default_rng(0)
def real(*shape, dtype=np.float32): return jnp.asarray(rng.uniform(-2, 2, shape), dtype)
def whole(*shape, dtype=np.int32): return jnp.asarray(rng.integers(0, 200, shape), dtype)
programs = {}
def program(*args):
    def register(f):
        programs[f.__name__] = (f, args)
    return register
def steps(n, body, *state):
    def trip(i, state):
        return tuple(new.astype(old.dtype) for new, old in zip(body(i.astype(np.int32), *state), state))
    return lax.fori_loop(0, n, trip, state)
UNARY = [jnp.exp, jnp.expm1, jnp.tanh, jnp.sin, jnp.cos, jnp.tan, jnp.arctan, jnp.arcsinh, jax.nn.sigmoid, jnp.cbrt,
         jnp.sinh, jnp.cosh, jnp.sign, jnp.abs, jnp.floor, jnp.ceil, jnp.round, lax.erf, lax.erfc]
POSITIVE = [jnp.log, jnp.log1p, jnp.sqrt, lax.rsqrt, lambda x: x ** 0.3, lambda x: jnp.arctan2(x, x + 1), lax.lgamma]

@program(real(37), real())
def functions(x, y):
    def trip(i, *state):
        out = []
        for v in state:
            for f in UNARY: v = v * 0.5 + f(v) * 0.25
            for f in POSITIVE: v = v * 0.5 + f(jnp.abs(v) + 0.1) * 0.25
            out.append(v)
        return out
    return steps(6, trip, x, y)

@program(real(3))
def runge_kutta(y):
    f = lambda y: jnp.stack([10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 2.6 * y[2]])
    def trip(y, _):
        k1 = f(y); k2 = f(y + 0.01 * k1); k3 = f(y + 0.01 * k2)
        return y + 0.01 * (k1 + 2 * k2 + k3), y
    return lax.scan(trip, y, None, 50)

@program(real(100, 4))
def columns(s):
    def trip(s, _):
        a, b, c, d = (s[:, k] for k in range(4))
        s = jnp.stack([a + 0.1 * b, jnp.where(c > 0, b - 0.1, b + 0.1) * d, c * jnp.cos(a), -d], -1)
        return s, s.sum(-1)
    return lax.scan(trip, s, None, 9)

@program(real(), whole())
def branches(x, n):
    def trip(c, i):
        x, n = c
        x = lax.cond(x > 0.5, lambda x: x * 0.5, lambda x: jnp.exp(x) + 0.1, x)
        n = lax.switch((n + i) % 4, [lambda n: n * 3, lambda n: n - 7, lambda n: n // 2, lambda n: n ^ 5], n)
        return (x, n), (x, n)
    return lax.scan(trip, (x, n), jnp.arange(40))

@program(real(5), real(3, 5))
def nested(x, a):
    def outer(i, x, a):
        a = lax.fori_loop(0, 3, lambda j, a: a.at[j].set(a[(j + 1) % 3] * 0.9 + x), a)
        x, _ = lax.while_loop(lambda s: (s[1] < 6) & (s[0].sum() < 30), lambda s: (s[0] + 0.3, s[1] + 1), (x, 0))
        return x * 0.5, a
    return steps(7, outer, x, a)

@program(jax.random.PRNGKey(3))
def random(key):
    def trip(key, _):
        key, one, two = jax.random.split(key, 3)
        return key, (jax.random.normal(one, (4,)), jax.random.randint(two, (), 0, 9))
    return lax.scan(trip, key, None, 20)

@program(real(64), whole(64))
def indices(x, n):
    def trip(i, x, n):
        x = x.at[i % 64].set(x[(i * 7) % 64] + x[n[i % 64] % 64])
        n = lax.dynamic_update_slice(n, lax.dynamic_slice(n, (i,), (5,)) + 1, (i * 3 - 4,))
        return x + x[n % 64] * 0.1, n
    return steps(80, trip, x, n)

@program(real(10), real(6, 3), whole(5, dtype=np.uint8))
def scatters(x, a, n):
    def trip(i, x, a, n):
        x = x.at[i - 5].add(x[0] * 0.5, mode="drop").at[i * 3].max(0.25, mode="drop")
        a = a.at[i].set(x[:3], mode="drop").at[2, i % 3].multiply(1.5)
        return x, a, n.at[lax.convert_element_type(i, np.uint32) - 2].add(7, mode="drop")
    return steps(14, trip, x, a, n)

@program(real(6, 7), real(7, 6))
def moves(a, b):
    def trip(i, a, b):
        c = jnp.concatenate([a[:, :3], b.T[:, 2:6]], 1)
        d = jnp.pad(a[1:-1, ::2], ((2, 1), (1, 2)))[:7].reshape(-1)[:42].reshape(7, 6)
        return c[::-1] * 0.9 + jnp.arange(7.0), d + b.max(0)
    return steps(11, trip, a, b)

@program(real(8), real(5, 24), real(24, 5), real(40, 3))
def reductions(x, a, b, c):
    def trip(i, x, a, b, c):
        p = jax.nn.softmax(x)
        return p + x * 0.5, a - a.mean(1, keepdims=True), b * b.sum(0), c - c.min() + jnp.prod(c, 1, keepdims=True)
    return steps(5, trip, x, a, b, c)

@program(real(20, 70), real(6, 300, 3), real(5, 40, 7), real(3, 200), real(1000))
def long_reductions(a, b, c, d, e):
    def trip(i, a, b, c, d, e):
        b = b / (1 + jnp.abs(b).sum(1, keepdims=True)) + b.max((0, 1))
        c = c - c.mean((1, 2), keepdims=True) * (c.argmax(1, keepdims=True) > 3)
        d = jax.nn.softmax(d) + d.max(0) * d.min(1, keepdims=True)
        return jax.nn.standardize(a) + 0.1, b, c, d, e * 0.5 / jnp.sqrt((e * e).sum() + 1)
    return steps(4, trip, a, b, c, d, e)

@program(whole(9, dtype=np.int8), whole(9, dtype=np.uint8), whole(9), whole(9, dtype=np.uint32), whole(9) > 90)
def integers(a, b, c, d, p):
    def trip(i, a, b, c, d, p):
        d = (d << 3) ^ (d >> 5) ^ lax.population_count(d) + lax.clz(d) + b
        c = jnp.where(p, c // (a + 1), c % 17 - i) + (c >> 2)
        return a * 3 + i.astype(a.dtype), b // 3 + 7, c, d, (c > 4) ^ p
    return steps(13, trip, a, b, c, d, p)

@program(*(real(9).astype(t) for t in (jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn, jnp.float8_e5m2)))
def narrow(*state):
    return steps(6, lambda i, *s: [x * x.dtype.type(0.75) + x.dtype.type(0.3) for x in s], *state)

NARROW = [getattr(jnp, name) for name in dir(jnp) if name.startswith(("float8_", "float4_", "float16", "bfloat16"))]

EDGES = jnp.asarray([s * b * m for b in (0, 1, 2**7, 2**8, 2**15, 2**16, 2**31, 2**32, 2**63, np.inf, np.nan)
                     for m in (0.999, 1, 1.01) for s in (1, -1)], np.float32)

@program(EDGES, EDGES[0])
def floats_to_integers(x, y):
    def trip(i, seen, x, y):
        y = x[i % len(EDGES)]
        for t in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64):
            for v in (x, y):
                seen = seen * 3 + v.astype(t).astype(np.int32) + (v.astype(np.float64) * 1.5).astype(t).astype(np.int32)
        return seen, x, y
    return steps(80, trip, jnp.zeros(len(EDGES), np.int32), x, y)[0]

@program(jnp.asarray(rng.integers(0, 1 << 32, 500, np.uint32)))
def every_float(words):
    def trip(i, words):
        x, seen = lax.bitcast_convert_type(words, np.float32), words * 0
        for t in NARROW:
            seen = seen * 3 ^ lax.bitcast_convert_type(x.astype(t).astype(np.float32), np.uint32)
        return words * 1664525 + 1013904223 ^ seen,
    return steps(5, trip, words)

@program(jnp.asarray(rng.choice([0, -0.0, 1, -1, 2, np.nan, -np.nan, np.inf, -np.inf], (60, 5), p=[0.2, 0.2] + [0.1] * 4 + [0.06, 0.07, 0.07]),
                     np.float32))
def extrema(x):
    def trip(x, _):
        clipped = jnp.clip(x * 1.5, -1.2, 1.7)
        return jnp.roll(x, 1, 0), (x.max(1), x.min(1), clipped, clipped.max(1), x[3].max(), jnp.maximum(x[2, 1], x[1, 2]))
    return lax.scan(trip, x, None, 60)

@program(real(7) + 1j * real(7))
def complexes(z):
    return steps(9, lambda i, z: (z * z * 0.3 + jnp.exp(z * 0.1),), z)

def plane(*parts):
    parts = np.array([0, 0.3, 1, 2, *parts, np.inf])
    parts = np.concatenate([parts, -parts, [np.nan]])
    return (parts[:, None] + np.zeros_like(parts)).ravel(), (parts + np.zeros_like(parts)[:, None]).ravel()

def functions_of_the_plane(re, im):
    unary = [jnp.exp, jnp.expm1, jnp.log, jnp.log1p, jnp.sqrt, lax.rsqrt, jnp.tanh, jnp.tan, jnp.sin, jnp.cos, jnp.sinh,
             jnp.cosh, lax.logistic, jnp.sign, jnp.abs]
    def trip(w, _):
        z = lax.complex(re, im)
        return w[::-1], [f(z) for f in unary] + [f(z, w) for f in (lax.mul, lax.div, lax.pow)]
    return lax.scan(trip, jnp.roll(lax.complex(im, -re), 7), None, 3)

@program(*(x.astype(np.float32) for x in plane(1e-30, 89, 1e20, 3e38)))
def complex_plane(re, im):
    return functions_of_the_plane(re, im)

@program(*plane(1e-300, 709, 1e160, 1.7e308))
def wide_complex_plane(re, im):
    return functions_of_the_plane(re, im)

@program(real(3, 3), real(3), real(5, 2, 4), real(7, 5, 3), real(3, 3, dtype=np.float64))
def products(a, x, b, c, d):
    def trip(i, a, x, b, c, d):
        p = jnp.einsum("bij,bkj->bik", b, b)
        q = jnp.einsum("ijk,kl->jil", c, a) * 0.3
        return a @ a.T * 0.3 + 0.1, a @ x * 0.5 + jnp.dot(x, x) * 0.1, p @ b * 0.1, q.transpose(1, 0, 2), d @ d * 0.5
    return steps(5, trip, a, x, b, c, d)

# As the stages of a solver: a vector by a stack of many states.
@program(real(7, 7), real(64, 7, 3))
def stages(a, k):
    def trip(i, y, k):
        y = y * 0.5 + jnp.einsum("s,bsd->bd", a[i % 7], k) * 0.1
        return y, k.at[:, i % 7].set(jnp.cos(y))
    return steps(9, trip, k[:, 0], k)

# So long that its fusions are functions, of which some do the same, in place and not, with scratch memory or none.
@program(real(40), real(5, 30))
def long_body(x, a):
    def trip(i, x, a):
        for n in range(60):
            a = jnp.sort(jnp.cos(a) * (n % 7) + jnp.flip(a, 1) * 0.1, 0) - jax.nn.softmax(a)
            x = jnp.sort(x * 1.1 % 1.7) * (1 + n % 3) + jnp.roll(x, n % 4) + a[2, n % 20]
        return x, a
    return steps(3, trip, x, a)

@program(real(40), real(9, 12), real(3), real(2, 2))
def filters(x, image, taps, square):
    def trip(i, x, image):
        image = jax.scipy.signal.convolve2d(image, square, "same") * 0.2
        return jnp.convolve(x, taps, "same") * 0.4 + jnp.correlate(x, taps[:2], "same") * 0.2, image
    return steps(5, trip, x, image)

# Long enough for several threads, which machine code does not have.
@program(real(700_000))
def large(x):
    return steps(3, lambda i, x: [jnp.tanh(x) * 0.9 + jnp.sin(x)], x)

@program(real(4, 4), real(16))
def calls(a, x):
    def trip(i, a, x):
        return a @ a * 0.3, jnp.sort(x)[::-1] * 0.9 + a.reshape(-1)
    return steps(6, trip, a, x)

device = jax.devices("mps")[0]
for name, (f, args) in programs.items():
    out = jax.tree.leaves(jax.jit(f)(*jax.device_put(args, device)))
    data = [np.asarray(v) for v in out]
    # The bits of a NaN mean nothing.
    data = [np.where(np.isnan(v.astype(np.complex128)), 0, v).astype(v.dtype) for v in data]
    print(name, hashlib.sha256(b"".join(v.tobytes() for v in data)).hexdigest())
'''


def run(program, **env):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=dict(os.environ, **env), capture_output=True, text=True, check=False, timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("x64", ["0", "1"])
def test_bits_are_those_of_threaded_code(x64):
    env = {"JAX_ENABLE_X64": x64, "JAX_MPS_STRICT": "1"}
    code, got, log = run(PROGRAMS, JAX_MPS_LLVM="2", JAX_MPS_LOG="debug", **env)
    assert code == 0, log
    code, want, error = run(PROGRAMS, JAX_MPS_LLVM="0", **env)
    assert code == 0, error
    assert want and got.splitlines() == want.splitlines()
    # Every one of them has been compiled.
    assert log.count("a loop as machine code") >= len(want.splitlines())
    assert "a loop without machine code" not in log


LONG = """
    import jax, jax.numpy as jnp
    from jax import lax
    from jax_plugins.mps import machine_code
    {before}
    f = jax.jit(lambda x: lax.scan(lambda x, _: (jnp.cos(x) * 1.1, x), x, None, 5000)[1].sum())
    print(float(f(jnp.ones(3))))
"""
BROKEN = "machine_code._Processor.object_code = lambda *_: 1 / 0"


def test_without_a_working_generator_the_first_tier_serves():
    _, want, _ = run(LONG.format(before=""))
    code, got, error = run(LONG.format(before=BROKEN), JAX_MPS_LOG="debug", JAX_MPS_STRICT="0", JAX_MPS_LLVM="2")
    assert (code, got) == (0, want), error
    assert "LLVM: ZeroDivisionError: division by zero" in error


def test_strict_refuses_what_the_generator_cannot_do():
    code, _, error = run(LONG.format(before=BROKEN), JAX_MPS_STRICT="1")
    assert code != 0 and "LLVM: ZeroDivisionError" in error


FUSIONS = '''
import hashlib, jax, jax.numpy as jnp, numpy as np
from jax import lax

rng = np.random.default_rng(0)
def real(*shape, dtype=np.float32): return jnp.asarray(rng.uniform(-2, 2, shape), dtype)
def whole(*shape, dtype=np.int32): return jnp.asarray(rng.integers(0, 200, shape), dtype)
x, y, rows, points = real(300, 700), real(700), real(900, 70), real(1000, 16, 3)
fusions = {
    "functions": (lambda x, y: jnp.tanh(x) * jnp.exp(-y) + jnp.sin(x) / (2 + jnp.cos(y)), x, y),
    "one_axis": (lambda x: x * 1.5 - jnp.floor(x), real(100_001)),
    "pairs": (lambda x: (x[:, :, None] - x[:, None]) ** 2, points),
    "softmax": (jax.nn.softmax, rows),
    "rows": (lambda x: (x / jnp.sqrt((x * x).sum(-1, keepdims=True)), x.max(-1)), real(5000, 40)),
    "short_rows": (lambda x: (x * x).sum(-1), real(20_000, 3)),
    "columns": (lambda x: x - x.mean(0), real(20, 50)),
    "bounds": (lambda x, y: jnp.concatenate([x[:, ::-1], jnp.pad(y, ((70, 1), (0, 1))), x], 0), rows, real(100, 69)),
    "bounds_inside": (lambda x: jnp.pad(x, ((3, 5), (7, 11))) + 1, x),
    "turned": (lambda x: x.T * 2 + 1, x),
    "numbers": (lambda x: x * lax.iota(np.float32, 700) + lax.broadcasted_iota(np.float32, (300, 700), 0), x),
    "gathers": (lambda x, i, j: x[i, j] * 2 + x[j, i], real(250, 250), whole(40_000), whole(40_000)),
    "whole": (lambda x, y: (x * 7 + y) // 3 % 11 ^ (x << 2), whole(300, 300), whole(300, 300) + 1),
    "narrow": (lambda x: x.astype(jnp.float8_e4m3fn).astype(np.float32) + x.astype(jnp.bfloat16).astype(np.float32), x),
    "choices": (lambda x: jnp.where(x > 0, jnp.log(x), x * x), x),
    "plane": (lambda x, y: (x + 1j * y) * (y - 2j * x), x, x[::-1]),
    "stacks": (lambda x: jnp.stack([x[:, 0] + x[:, 3], x[:, 1] * x[:, 2], x[:, 2] - 1], -1), real(30_000, 4)),
    "few": (lambda x, y: x * y + 1, real(5), real(5)),
}
device = jax.devices("mps")[0]
for name, (f, *args) in fusions.items():
    given = jax.device_put(args, device)
    out = jax.tree.leaves(jax.jit(f)(*given))
    if name == "functions":  # in the memory of its argument
        out += [jax.jit(f, donate_argnums=0)(given[0] + 0, given[1])]
    print(name, hashlib.sha256(b"".join(np.asarray(v).tobytes() for v in out)).hexdigest())
'''


def test_bits_of_fusions_are_those_of_the_tile_machine():
    code, got, log = run(FUSIONS, JAX_MPS_LLVM="2", JAX_MPS_LOG="debug", JAX_MPS_STRICT="1", JAX_MPS_CPU_THREADS="3")
    assert code == 0, log
    code, want, error = run(FUSIONS, JAX_MPS_LLVM="0")
    assert code == 0, error
    assert want and got.splitlines() == want.splitlines()
    assert log.count("a fusion as machine code") >= len(want.splitlines())


SCAN = "lambda x: lax.scan(lambda x, _: (jnp.cos(x) * 1.1, x), x[0, 0], None, 5000)[1]"
PAIRS = "lambda x: (x[:, :, None] - x[:, None] + 1) ** 2"
WHEN_WORTH_IT = """
    import os, time, jax, jax.numpy as jnp, numpy as np
    from jax import lax
    from jax_plugins.mps import machine_code
    {before}
    f = jax.jit({function})
    x = jnp.ones((100, 16, 3))
    values = [np.asarray(f(x))]
    at_first = len(machine_code._engines)
    def run_until(done, seconds=60):
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            values.append(np.asarray(f(x)))
        values.append(np.asarray(f(x)))
"""


@pytest.mark.parametrize("function", [SCAN, PAIRS])
def test_what_runs_on_is_compiled_beside(function):
    program = WHEN_WORTH_IT.format(before="", function=function) + """
    run_until(lambda: len(machine_code._engines))
    values += [np.asarray(f(x)) for _ in range(20)]
    print(at_first, len(machine_code._engines), len(values) > 2, all((v == values[0]).all() for v in values))
    """
    code, got, error = run(program, JAX_MPS_STRICT="0")
    assert (code, got) == (0, "0 1 True True\n"), error


def test_a_loop_of_unknown_length_goes_on_as_machine_code():
    """From the state that its first run has come to, nested in which are a branch and a loop over an array."""
    program = """
    import jax, jax.numpy as jnp, numpy as np
    from jax import lax

    def step(first, state):
        k, x, v, z = state
        x = lax.cond(k % 3 == 0, lambda x: x * 0.99 + 0.5, lambda x: 1 - x, x)
        return k + 1, x, v * 0.5 + first * x, z * (0.6 + 0.8j)

    # What it starts with is known (0), or read in the loop as well (v).
    @jax.jit
    def f(n, x, v, z):
        return lax.while_loop(lambda s: s[0] < n, lambda s: step(v, s), (0, x, v, z))

    x = np.float32(0.3), np.ones(3, np.float32), np.complex64(1)
    for n in 6_000_000, 1000, 0:
        print([np.asarray(y).tobytes().hex() for y in f(n, *x)])
    """
    code, want, error = run(program, JAX_MPS_LLVM="0")
    assert code == 0, error
    code, got, log = run(program, JAX_MPS_LOG="debug", JAX_MPS_STRICT="0")
    assert (code, got) == (0, want), log
    assert "a loop goes on as machine code" in log


def test_a_generator_that_fails_beside_is_no_error():
    program = WHEN_WORTH_IT.format(before=BROKEN, function=SCAN) + """
    run_until(lambda: False, 1)
    print(len(values) > 2, all((v == values[0]).all() for v in values))
    """
    code, got, error = run(program, JAX_MPS_LOG="debug", JAX_MPS_STRICT="0")
    assert (code, got) == (0, "True True\n"), error
    assert 1 <= error.count("LLVM: ZeroDivisionError: division by zero") <= 2  # the loop, the array it fills


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_compiling_beside_goes_on_in_the_child_of_a_fork():
    # What the parent asked for and has not got goes to the child too.
    before = """
    import warnings
    warnings.simplefilter("ignore")
    work, machine_code._work = machine_code._work, lambda: None
    """
    program = WHEN_WORTH_IT.format(before=before, function=SCAN) + """
    run_until(lambda: machine_code._soon)
    child = os.fork()
    if child == 0:
        machine_code._work = work
        machine_code._start()
    else:
        print(os.waitpid(child, 0)[1], len(machine_code._engines))
        os._exit(0)
    run_until(lambda: len(machine_code._engines))
    print(all((v == values[0]).all() for v in values), len(machine_code._engines), flush=True)
    os._exit(0)
    """
    code, got, error = run(program, JAX_MPS_STRICT="0")
    assert (code, got) == (0, "True 1\n0 0\n"), error


def test_python_ends_after_calls_of_the_generator():
    # One that wants Python's lock when Python has ended would take the process down.
    code, got, error = run("""
    import threading, time
    from jax_plugins.mps import interpreter

    interpreter._table.inside = 1
    end = threading.Thread(target=interpreter._close)
    with interpreter.lock:  # as who compiles
        end.start()
        time.sleep(0.1)
        waits = end.is_alive() and interpreter.is_open()
    time.sleep(0.1)
    waits = waits and end.is_alive() and not interpreter.is_open()
    interpreter._table.inside = 0
    end.join(10)
    print(waits, end.is_alive())
    """)
    assert (code, got) == (0, "True False\n"), error


def test_object_code_is_kept_in_the_cache_of_jax(tmp_path):
    env = {"JAX_MPS_LLVM": "2", "JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1000"}
    _, want, error = run(LONG.format(before=""), **env)
    kept = list((tmp_path / "mps_code").iterdir())
    assert kept and all(path.suffix == ".o" for path in kept), error
    code, got, error = run(LONG.format(before=BROKEN), JAX_MPS_STRICT="1", **env)
    assert (code, got) == (0, want), error
    for path in kept:
        path.write_bytes(path.read_bytes()[:-1])  # cut short
    code, got, error = run(LONG.format(before=""), JAX_MPS_STRICT="1", **env)
    assert (code, got) == (0, want), error


def test_small_arrays_that_change_places():
    program = """
        import jax, jax.numpy as jnp, numpy as np
        from jax import lax
        def trip(i, s):
            a, b, c = s
            return b, c.at[i % 3].add(a[0]), a
        x = [jnp.arange(3.0) + 10 * k for k in range(3)]
        got = jax.jit(lambda *x: lax.fori_loop(0, 7, trip, x))(*x)
        want = [np.arange(3.0) + 10 * k for k in range(3)]
        for i in range(7):
            a, b, c = want
            d = c.copy()
            d[i % 3] += a[0]
            want = [b, d, a]
        print(all((np.asarray(g) == w).all() for g, w in zip(got, want)))
    """
    code, got, error = run(program, JAX_MPS_LLVM="2", JAX_MPS_STRICT="1")
    assert (code, got) == (0, "True\n"), error


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_compiling_keeps_no_memory():
    program = """
        import ctypes, gc, re, jax, jax.numpy as jnp
        from jax import lax
        from jax_plugins.mps import machine_code
        texts, object_code = [], machine_code._Processor.object_code
        machine_code._Processor.object_code = lambda self, text: (texts.append(text), object_code(self, text))[1]
        jax.jit(lambda x: lax.scan(lambda x, _: (jnp.tanh(x) + jnp.cos(x[::-1]), x), x, None, 9))(jnp.ones(7))
        def resident(count):
            for _ in range(count):
                machine_code._processor().object_code(texts[0])
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1])
        before = resident(10)
        print(len(texts) > 0, resident(25) - before)
    """
    code, got, error = run(program, JAX_MPS_LLVM="2")
    assert code == 0, error
    compiled, grown = got.split()
    assert compiled == "True" and int(grown) < 1000, got  # KiB; what the passes need is 90 each
