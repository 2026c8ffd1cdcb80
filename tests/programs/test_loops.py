"""Loops of every form: the same program on `mps` and on JAX's CPU backend.

Small loops run as threaded code whose arrays rotate between fixed places in memory; most programs
here are about which value lies where: swaps, copies, views, updates in place, nesting.
"""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from versions import enable_x64

F32 = np.float32


def compare(mps, cpu, function, *args, rtol=1e-5, donate=()):
    """Runs `function` on both devices; integers and booleans have to be equal."""
    outputs = []
    for device in (mps, cpu):
        placed = [jax.device_put(a, device) for a in args]
        outputs.append(jax.tree.map(np.asarray, jax.jit(function, donate_argnums=donate)(*placed)))
    got, want = outputs
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert g.dtype == w.dtype and g.shape == w.shape
        if g.dtype.kind in "iub":
            np.testing.assert_array_equal(g, w)
        else:
            g, w = (np.asarray(v, np.complex128 if v.dtype.kind == "c" else np.float64) for v in (g, w))
            np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol)


def vector(n, seed=0, dtype=F32):
    return np.random.default_rng(seed).uniform(-1, 1, n).astype(dtype)


def steps(count, body, *state):
    return lax.fori_loop(0, count, lambda i, s: body(i, *s), state)


# --- scalars --------------------------------------------------------------------------------------


@pytest.mark.parametrize("trips", [0, 1, 2, 17])
def test_trip_counts(mps, cpu, trips):
    compare(mps, cpu, lambda n, x: steps(n, lambda i, a: (a * 0.5 + i,), x), np.int32(trips), F32(3))
    compare(mps, cpu, lambda x: steps(trips, lambda i, a: (a * 0.5 + i,), x), F32(3))


def test_scalars_that_swap(mps, cpu):
    compare(mps, cpu, lambda a, b, c: steps(7, lambda i, a, b, c: (b, c, a), a, b, c), F32(1), F32(2), F32(3))
    compare(mps, cpu, lambda a, b: steps(31, lambda i, a, b: (b, a + b), a, b), np.int32(0), np.int32(1))
    compare(mps, cpu, lambda a, b: steps(5, lambda i, a, b: (b - a, a * b + i), a, b), np.int32(3), np.int32(4))
    compare(mps, cpu, lambda a, b: steps(5, lambda i, a, b: (a + b, a + b), a, b), F32(3), F32(4))
    compare(mps, cpu, lambda a, b: steps(4, lambda i, a, b: (b, 7.0), a, b), F32(3), F32(4))


def test_integers_wrap(mps, cpu):
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32):
        def body(i, a, b):
            return a * b + b, b * dtype(3) - a

        compare(mps, cpu, lambda a, b: steps(100, body, a, b), dtype(3), dtype(7))  # noqa: B023
    compare(mps, cpu, lambda n: lax.while_loop(lambda i: i > 0, lambda i: i * 2, n), np.int32(3))


def test_collatz(mps, cpu):
    def length(n):
        def body(s):
            n, count = s
            return jnp.where(n % 2 == 0, n // 2, 3 * n + 1), count + 1

        return lax.while_loop(lambda s: s[0] != 1, body, (n, 0))

    compare(mps, cpu, length, np.int32(97))


def test_condition_on_nan_ends(mps, cpu):
    def run(x):
        return lax.while_loop(lambda s: s[1] < 10, lambda s: (s[0] + 1, jnp.log(s[1] - 1)), (0, x))

    for start in (F32(5), F32(np.nan), F32(0.5), F32(11)):
        compare(mps, cpu, run, start)
    # `not (x >= 10)` holds for NaN: only the counter ends this one.
    compare(
        mps, cpu,
        lambda x: lax.while_loop(
            lambda s: (s[0] < 9) & ~(s[1] >= 10), lambda s: (s[0] + 1, s[1] * jnp.nan), (0, x)
        ),
        F32(1),
    )


def test_boolean_state(mps, cpu):
    def run(n):
        def body(s):
            i, odd, seen = s
            return i + 1, ~odd, seen | (i == 3)

        return lax.while_loop(lambda s: ~(s[1] & (s[0] >= n)), body, (0, False, False))

    for n in (1, 4, 5):
        compare(mps, cpu, run, np.int32(n))
    compare(mps, cpu, lambda x: steps(3, lambda i, x: (~x ^ x[::-1],), x), np.array([True, False, False]))


@pytest.mark.parametrize("dtype", ["complex64", "bfloat16", "float16"])
def test_other_types(mps, cpu, dtype):
    x = vector(9).astype(dtype)
    y = (vector(9, 1) * (1 + 1j if dtype == "complex64" else 1)).astype(dtype)

    def body(i, a, b):
        return b * a - a, a * 0.5

    tolerance = 1e-5 if dtype == "complex64" else 1e-2
    compare(mps, cpu, lambda a, b: steps(6, body, a, b), x, y, rtol=tolerance)
    compare(mps, cpu, lambda a, b: steps(6, body, a, b), x[0], y[1], rtol=tolerance)
    compare(
        mps, cpu,
        lambda a: lax.while_loop(lambda s: jnp.abs(s) < 100, lambda s: s * 2 + 1, a), y[0], rtol=tolerance,
    )


RECURRENCES = [
    lambda x, c, d: x * c + d, lambda x, c, d: d + c * x, lambda x, c, d: x * x + d,
    lambda x, c, d: x * c + x, lambda x, c, d: c * d + x, lambda x, c, d: x * c - d,
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("trips", [1, 2, 13])
def test_recurrences_have_the_bits_of_their_ops(mps, dtype, trips):
    x, c, d = (dtype(v) for v in ((5, 3, -7) if dtype is np.int32 else (0.7, 0.3, 0.1)))
    with enable_x64(dtype is np.float64), np.errstate(over="ignore"):
        for k, update in enumerate(RECURRENCES):
            want = x
            for _ in range(trips):
                want = update(want, c, d)
            placed = [jax.device_put(v, mps) for v in (x, c, d)]
            run = jax.jit(lambda x, c, d: steps(trips, lambda i, x: (update(x, c, d),), x)[0])  # noqa: B023
            np.testing.assert_array_equal(np.asarray(run(*placed)), want, str(k))
            run = jax.jit(lambda x: steps(trips, lambda i, x: (update(x, c, d),), x)[0])  # noqa: B023
            np.testing.assert_array_equal(np.asarray(run(placed[0])), want, str(k))


def test_double_precision(mps, cpu):
    with enable_x64(True):
        x = vector(5, dtype=np.float64)
        compare(mps, cpu, lambda x: steps(50, lambda i, x: (jnp.sin(x) * 1.5,), x), x, rtol=1e-12)
        compare(mps, cpu, lambda x: steps(50, lambda i, x: (jnp.exp(-x) + i,), x), x[0], rtol=1e-12)
        compare(mps, cpu, lambda n: steps(n, lambda i, a: (a * 3 + i,), np.int64(1)), np.int64(60))


# --- arrays ---------------------------------------------------------------------------------------


def test_arrays_that_swap(mps, cpu):
    a, b, c = vector(8), vector(8, 1), vector(8, 2)
    for count in (0, 1, 2, 5, 6):
        compare(mps, cpu, lambda a, b, c: steps(count, lambda i, a, b, c: (b, c, a), a, b, c), a, b, c)
        compare(mps, cpu, lambda a, b: steps(count, lambda i, a, b: (b, a[::-1] + b), a, b), a, b)
        compare(mps, cpu, lambda a, b: steps(count, lambda i, a, b: (a + b, a + b), a, b), a, b)
        compare(mps, cpu, lambda a, b: steps(count, lambda i, a, b: (b, b), a, b), a, b)
        compare(mps, cpu, lambda a, b, c: steps(count, lambda i, a, b: (b, c), a, b), a, b, c)
        compare(mps, cpu, lambda a, b: steps(count, lambda i, a, b: (a[::-1], a * 2), a, b), a, b)


def test_arrays_of_different_sizes_swap_halves(mps, cpu):
    def body(i, a, b):
        return b[:8] * 0.5, jnp.concatenate([a, a[::-1]])

    compare(mps, cpu, lambda a, b: steps(5, body, a, b), vector(8), vector(16, 1))


@pytest.mark.parametrize("donate", [(), (0,), (0, 1)])
def test_donated_state(mps, cpu, donate):
    def run(a, b):
        return steps(5, lambda i, a, b: (a * 0.5 + b, b[::-1] - i), a, b)

    compare(mps, cpu, run, vector(64), vector(64, 1), donate=donate)


def test_operands_stay_as_they_are(mps, cpu):
    a = jax.device_put(vector(16), mps)
    before = np.asarray(a).copy()
    jax.block_until_ready(jax.jit(lambda a: steps(5, lambda i, a: (a.at[i].set(7.0) * 2,), a))(a))
    np.testing.assert_array_equal(np.asarray(a), before)
    # The same array as two carried values and as an outer one.
    compare(mps, cpu, lambda a: steps(5, lambda i, x, y: (x + 1, y - x + a), a, a), vector(16))


def test_updates_in_place(mps, cpu):
    def run(x, y):
        def body(i, x, y):
            row = lax.dynamic_slice(x, (i, 0), (1, 4))
            x = lax.dynamic_update_slice(x, row * 2, (5 - i, 0))
            y = y.at[i, 1].set(x[0, 0] + i)
            return lax.dynamic_update_slice(x, row, (i + 1, 0)), y

        return steps(5, body, x, y)

    compare(mps, cpu, run, vector((6, 4)), vector((6, 4), 1))


def test_views_outlive_updates(mps, cpu):
    def body(i, x):
        old = lax.dynamic_slice(x, (i,), (3,))
        changed = lax.dynamic_update_slice(x, old[::-1] + 1, (i + 1,))
        return (lax.dynamic_update_slice(changed, old * 2, (0,)),)

    compare(mps, cpu, lambda x: steps(5, body, x), vector(10))


@pytest.mark.parametrize("start", [-3, 0, 2, 9])
@pytest.mark.parametrize("dtype", ["int32", "uint8", "uint32", "int8"])
def test_windows_are_clamped(mps, cpu, start, dtype):
    index = np.int64(start).astype(dtype)

    def body(i, x, s):
        x = lax.dynamic_update_slice(x, lax.dynamic_slice(x, (s, s), (1, 3)) + 1, (s, s))
        return x, s + 1

    compare(mps, cpu, lambda x, s: steps(3, body, x, s), vector((5, 4)), index)


def test_data_dependent_trip_counts(mps, cpu):
    def run(x, limit):
        return lax.while_loop(
            lambda s: jnp.sum(s[1] * s[1]) > limit, lambda s: (s[0] + 1, s[1] * 0.9), (0, x)
        )

    for n in (3, 64, 1024, 5000):
        compare(mps, cpu, run, vector(n), F32(0.37))
    compare(mps, cpu, run, vector(8), F32(1e9))


def test_matrix_products_and_solves(mps, cpu):
    a = vector((8, 8)) / 4
    compare(mps, cpu, lambda a, x: steps(9, lambda i, x: (jnp.tanh(a @ x) + 0.1,), x), a, vector(8))
    compare(mps, cpu, lambda a: steps(4, lambda i, a: (a @ a + jnp.eye(8) * 0.1,), a), a, rtol=1e-4)
    compare(mps, cpu, lambda x: steps(3, lambda i, x: (jnp.sort(-x) + jnp.cumsum(x),), x), vector(33), rtol=1e-4)


def test_softmax_rows_in_a_loop(mps, cpu):
    compare(mps, cpu, lambda x: steps(6, lambda i, x: (jax.nn.softmax(x * 2, -1) + x.mean(0),), x), vector((7, 33)))


def scaled(i, x):
    return (x * 0.75 + 0.3,)


def products_and_sums(i, x, y):
    return x * y + 0.5, x * 0.25 + y


def swapped(i, x, y):
    return y, x + y * 0.5


def several_fusions(i, x, y):
    rolled = jnp.concatenate([x[1:], x[:1]]) * 0.5
    return y + rolled, jnp.maximum(x * rolled + y, -1)


def chosen(i, x, flags):
    over = x > 0.5
    return jnp.where(over, x - 0.5, x + 0.25), flags ^ over


def normalized(i, x, y):
    return x - x.max(), y * 0.5 + x.sum()


LENGTHS = [1, 3, 16, 63, 64, 65, 1000, 4097]
SHORT = [scaled, products_and_sums, swapped, several_fusions, chosen, normalized]


def start_of(body, n, dtype):
    x = np.random.default_rng(n).integers(-8, 9, (2, n)).astype(np.float64) / 7
    if dtype == "int32":
        x = x * 20
    x = x.astype(dtype)
    return (x[0],) if body is scaled else (x[0], x[1] > 0) if body is chosen else (x[0], x[1])


@pytest.mark.parametrize("body", SHORT, ids=lambda body: body.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int32"])
def test_short_vectors_have_the_bits_of_their_ops(mps, body, dtype):
    """The loop against its ops one by one: no product is rounded together with the sum behind it."""
    with enable_x64(dtype == "float64"):
        for n in LENGTHS:
            state = tuple(jax.device_put(v, mps) for v in start_of(body, n, dtype))
            want = state
            for i in range(3):
                want = tuple(w.astype(s.dtype) for w, s in zip(body(i, *want), state, strict=True))

            def run(*state):
                def step(i, *s):
                    return tuple(v.astype(o.dtype) for v, o in zip(body(i, *s), s, strict=True))

                return steps(3, step, *state)

            got = jax.jit(run)(*state)
            for g, w in zip(got, want, strict=True):
                np.testing.assert_array_equal(np.asarray(g).view(np.uint8), np.asarray(w).view(np.uint8), f"{n}")


@pytest.mark.parametrize("n", LENGTHS)
def test_short_vectors_in_loops_of_every_form(mps, cpu, n):
    x, y = vector(n), vector(n, 1)

    def until(x):
        return lax.while_loop(lambda s: jnp.sum(s[1] * s[1]) > 1e-2, lambda s: (s[0] + 1, s[1] * 0.5), (0, x))

    def nested(x, y):
        def outer(i, x, y):
            x, y = steps(i, swapped, x, y)
            return x * 0.5 + y[::-1], y - x

        return steps(4, outer, x, y)

    def stacked(x, y):
        return lax.scan(lambda c, k: (c * 0.5 + y * k, (c, (c > 0, c.sum()))), x, jnp.arange(5.0))

    def branches(x, y):
        def body(i, x, y):
            return lax.cond(i % 2 == 0, lambda: (x * 0.5 + y, y), lambda: (y + 1, x * y + 0.5))

        return steps(5, body, x, y)

    compare(mps, cpu, until, x)
    for run in (nested, stacked, branches):
        compare(mps, cpu, run, x, y)


# --- scans ----------------------------------------------------------------------------------------


def test_scan_with_several_outputs(mps, cpu):
    def run(xs, n):
        def body(carry, x):
            total, last = carry
            total = total + x["a"] * x["b"]
            return (total, x["a"]), {"sum": total, "swapped": last, "flag": x["b"] > 0, "pair": jnp.stack([x["a"][0], x["b"]])}

        return lax.scan(body, (jnp.zeros(3), jnp.ones(3)), xs, reverse=bool(n))

    xs = {"a": vector((11, 3)), "b": vector(11, 1)}
    compare(mps, cpu, lambda xs: run(xs, 0), xs)
    compare(mps, cpu, lambda xs: run(xs, 1), xs)
    empty = {"a": vector((0, 3)), "b": vector(0)}
    compare(mps, cpu, lambda xs: run(xs, 0), empty)


def test_scan_gradients(mps, cpu):
    def loss(w, xs):
        return lax.scan(lambda h, x: (jnp.tanh(w @ h + x), h.sum()), jnp.zeros(5), xs)[1].sum()

    compare(mps, cpu, jax.grad(loss, argnums=(0, 1)), vector((5, 5)), vector((12, 5), 1), rtol=1e-4)


def test_large_stacked_outputs(mps, cpu):
    """More than a loop of small arrays holds: the stack is the result's own memory."""

    def run(xs):
        return lax.scan(lambda c, x: (c * 0.5 + x, c[:2]), jnp.zeros(64), xs)

    compare(mps, cpu, run, vector((5000, 64)))


def test_while_in_scan_in_cond(mps, cpu):
    def run(flag, xs):
        def newton(c, x):
            root = lax.while_loop(
                lambda s: jnp.abs(s[0] * s[0] - x) > 1e-4 * x, lambda s: ((s[0] + x / s[0]) / 2, s[1] + 1), (x, 0)
            )
            return c + root[0], root[1]

        return lax.cond(flag, lambda xs: lax.scan(newton, F32(0), xs), lambda xs: (xs.sum(), jnp.zeros(len(xs), int)), xs)

    xs = np.abs(vector(20)) + F32(0.1)
    for flag in (True, False):
        compare(mps, cpu, run, flag, xs)


# --- nesting --------------------------------------------------------------------------------------


def test_nested_loops(mps, cpu):
    def run(x, n):
        def outer(i, x, total):
            def inner(j, y, t):
                return y * 0.5 + x[j % 4] + i, t + y.sum()

            y, total = steps(i % 3 + n, inner, x[::-1], total)
            return y + x, total

        return steps(5, outer, x, F32(0))

    for n in (0, 1, 3):
        compare(mps, cpu, run, vector(4), np.int32(n))


def test_nested_scalar_loops(mps, cpu):
    def run(n):
        def outer(i, a, b):
            a, b = steps(i, lambda j, a, b: (b + i * j, a), a, b)
            return b, a + steps(3, lambda j, c: (c * 3 + a,), i)[0]

        return steps(n, outer, jnp.int32(1), jnp.int32(2))

    for n in (0, 1, 9):
        compare(mps, cpu, run, np.int32(n))


def test_branches_in_loops(mps, cpu):
    def run(x, n):
        def body(i, x, k):
            x = lax.switch(i % 4, [lambda x: x + 1, lambda x: x[::-1], lambda x: x, lambda x: jnp.sin(x) * k], x)
            k = lax.cond(x[0] > 1, lambda: k * 0.5, lambda: k + i)
            return x, lax.cond(k > 3, lambda k: steps(2, lambda j, k: (k - j,), k)[0], lambda k: k, k)

        return steps(n, body, x, F32(1))

    compare(mps, cpu, run, vector(6), np.int32(13))
    # An index out of range takes the last branch.
    compare(
        mps, cpu,
        lambda n: steps(6, lambda i, a: (lax.switch(i - n, [lambda a: a + 1, lambda a: a * 2, lambda a: a - 5], a),), F32(1)),
        np.int32(2),
    )


def test_a_branch_that_does_not_run_may_not_end(mps, cpu):
    def run(n):
        forever = lambda a: lax.while_loop(lambda s: s < 1e9, lambda s: s * 0.5, a)
        return steps(3, lambda i, a: (lax.cond(a > n, forever, lambda a: a + 1, a),), F32(1))

    compare(mps, cpu, run, F32(1e6))


def test_random_numbers_in_a_loop(mps, cpu):
    def run(key):
        def body(i, key, total):
            key, use = jax.random.split(key)
            return key, total + jax.random.normal(use, (4,))

        return steps(6, body, key, jnp.zeros(4))

    compare(mps, cpu, run, np.array([0, 7], np.uint32))


def test_runs_at_once(mps, cpu):
    from concurrent.futures import ThreadPoolExecutor

    run = jax.jit(lambda x: steps(2000, lambda i, x: (jnp.sin(x) + x[::-1] * 0.1,), x))
    arguments = [jax.device_put(vector(32, seed), mps) for seed in range(8)]
    want = [np.asarray(run(a)[0]) for a in arguments]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda a: np.asarray(run(a)[0]), arguments * 4))
    for g, w in zip(got, want * 4, strict=True):
        np.testing.assert_array_equal(g, w)


def test_errors_come_out_of_loops(mps, cpu):
    def fails(x):
        raise ValueError("no more rows")

    def run(x):
        call = lambda r: jax.pure_callback(fails, jax.ShapeDtypeStruct((4,), F32), r)
        return steps(3, lambda i, x: (call(x) + 1,), x)

    with pytest.raises(Exception, match="no more rows"):
        jax.block_until_ready(jax.jit(run)(jax.device_put(vector(4), mps)))
    compare(mps, cpu, lambda x: steps(3, lambda i, x: (x + i,), x), vector(4))


# --- random programs ------------------------------------------------------------------------------


class RandomLoop:
    """A body of random ops on int32 arrays of two sizes and scalars, with loops and branches."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def scalar(self, s):
        return self.rng.choice(s[2])

    def op(self, s, depth):
        small, large, scalars = s
        pick = self.rng.choice
        kind = self.rng.randrange(12 if depth < 2 else 10)
        if kind == 0:
            scalars.append(self.scalar(s) * 3 + self.scalar(s))
        elif kind == 1:
            scalars.append(pick(small)[self.scalar(s) % 4] - self.scalar(s))
        elif kind == 2:
            small.append(pick(small) + pick(small)[::-1] * self.scalar(s))
        elif kind == 3:
            large.append(pick(large) * 5 - pick(large)[::-1])
        elif kind == 4:
            small.append(lax.dynamic_slice(pick(large), (self.scalar(s) % 20,), (4,)))
        elif kind == 5:
            large.append(lax.dynamic_update_slice(pick(large), pick(small), (self.scalar(s) % 20,)))
        elif kind == 6:
            scalars.append(pick([jnp.sum, jnp.max, jnp.min])(pick(small + large)))
        elif kind == 7:
            small.append(pick(large).reshape(4, 4)[self.scalar(s) % 4] ^ self.scalar(s))
        elif kind == 8:
            large.append(jnp.concatenate([pick(small), pick(large)[4:]]).reshape(16))
        elif kind == 9:
            small.append(jnp.sort(pick(small)))
        elif kind == 10:
            names = self.rng.random()
            inner = RandomLoop(names)
            results = inner.loop(s, depth + 1, abs(self.scalar(s)) % 4 if self.rng.random() < 0.5 else self.rng.randrange(4))
            for mine, new in zip(s, results, strict=True):
                mine.extend(new)
        else:
            first, second = RandomLoop(self.rng.random()), RandomLoop(self.rng.random())
            state = self.chosen(s)
            results = lax.cond(
                self.scalar(s) % 2 == 0, lambda t: first.block(s, t, depth + 1), lambda t: second.block(s, t, depth + 1), state
            )
            for mine, new in zip(s, results, strict=True):
                mine.extend(new)

    def chosen(self, s):
        return [[self.rng.choice(part) for _ in range(count)] for part, count in zip(s, (2, 2, 2), strict=True)]

    def block(self, outer, state, depth):
        s = [list(new) + list(old) for new, old in zip(state, outer, strict=True)]
        for _ in range(self.rng.randrange(2, 7)):
            self.op(s, depth)
        recent = [part[:2] + part[2 + len(old) :] for part, old in zip(s, outer, strict=True)]
        return self.chosen(recent)

    def loop(self, outer, depth, trips):
        return lax.fori_loop(0, trips, lambda i, t: self.block([outer[0], outer[1], [*outer[2], i]], t, depth), self.chosen(outer))


@pytest.mark.parametrize("seed", range(40))
def test_random_loops(mps, cpu, seed):
    rng = np.random.default_rng(seed)
    small, large = rng.integers(-9, 9, (2, 4), np.int32), rng.integers(-9, 9, (2, 16), np.int32)

    def run(small, large, n):
        return RandomLoop(seed).loop([list(small), list(large), [n, n + 3]], 0, n)

    compare(mps, cpu, run, small, large, np.int32(5))


# --- scatters of one window -----------------------------------------------------------------------


def test_updates_outside_of_the_array_do_nothing(mps, cpu):
    def body(i, x, a):
        x = x.at[i - 5].add(x[0] * 0.5, mode="drop").at[i * 3].max(0.25, mode="drop")
        return x, a.at[i].set(x[:3], mode="drop").at[2, i % 3].multiply(1.5)

    compare(mps, cpu, lambda x, a: steps(14, body, x, a), vector(10), vector((6, 3)))


def test_updates_of_what_is_still_read(mps, cpu):
    def body(i, x):
        y = x.at[i % 4].set(9.0)
        return (x * 0.5 + y.at[1].add(x[2]),)

    compare(mps, cpu, lambda x: steps(9, body, x), vector(4))
