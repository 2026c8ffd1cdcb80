"""Donated arguments are updated where they are: the address of the result is that of the argument."""

import functools
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from versions import DONATES_ANY_SHAPE

optax = pytest.importorskip("optax")


@pytest.fixture(autouse=True)
def on_cpu(mps):
    if mps.device_kind != "cpu":
        pytest.skip("MLX decides where the results of a GPU are")
    with jax.default_device(mps):
        yield


def addresses(tree):
    return [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(jax.block_until_ready(tree))]


def fresh(mps, tree):
    """Copies on the device that nothing else refers to."""
    return jax.tree.map(lambda a: jax.device_put(np.array(a), mps) + 0, tree)


def check_in_place(mps, f, state, *arguments, steps=3, moving=lambda leaf: False):
    """Runs f(state, *arguments) → (state, ...) with the state donated; no leaf may get other memory.

    Leaves of the same shape and type may swap places; `moving` leaves may get other memory after all.
    """
    want = state
    plain = jax.jit(f)
    donating = jax.jit(f, donate_argnums=0)
    state = fresh(mps, state)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state)]
    start = addresses(state)
    for _ in range(steps):
        want = plain(want, *arguments)[0]
        old, state = state, donating(state, *arguments)[0]
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))
        now = addresses(state)
        stays = [not moving(leaf) for leaf in jax.tree.leaves(state)]
        assert [n for n, address, s in zip(names, now, stays) if s and address not in start] == []
        assert len(set(now)) == len(now)
    for got, right in zip(jax.tree.leaves(state), jax.tree.leaves(want)):
        np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_cache_update(mps, dtype):
    def step(cache, row, at):
        return lax.dynamic_update_slice(cache, row, (0, at, 0)), at + 1

    cache = jnp.zeros((4, 128, 64), dtype)
    check_in_place(mps, step, cache, jnp.ones((4, 1, 64), dtype), jnp.int32(5))


def decode(cache, token, at):
    """One step of a decoder of two layers with nested caches."""
    x = token
    new = {}
    for name, (keys, values) in cache["layers"].items():
        keys = lax.dynamic_update_slice(keys, (x * 2)[:, None], (0, at, 0))
        values = values.at[:, at].set(jnp.tanh(x))
        scores = jnp.einsum("bd,btd->bt", x, keys)
        scores = jnp.where(jnp.arange(keys.shape[1]) <= at, scores, -1e9)
        x = x + jnp.einsum("bt,btd->bd", jax.nn.softmax(scores / 8), values)
        new[name] = (keys, values)
    return {"layers": new, "at": cache["at"] + 1}, x


def test_nested_caches(mps):
    caches = {f"layer{i}": (jnp.zeros((3, 64, 32)), jnp.zeros((3, 64, 32))) for i in range(2)}
    cache = {"layers": caches, "at": jnp.zeros((), jnp.int32)}
    check_in_place(mps, decode, cache, jnp.linspace(0, 1, 96).reshape(3, 32), jnp.int32(7))


def test_the_position_in_the_cache(mps):
    """The position is part of the donated state, and both are read by the update."""

    def step(state, x):
        at = state["at"]
        keys = lax.dynamic_update_slice(state["keys"], x[None], (at, 0))
        return {"keys": keys, "at": at + 1}, keys.sum()

    check_in_place(mps, step, {"keys": jnp.zeros((64, 32)), "at": jnp.zeros((), jnp.int32)}, jnp.ones(32))


def test_scan_over_layers_with_caches(mps):
    """The caches of all layers are one array, read and written layer by layer."""

    def step(cache, x, at):
        def layer(x, cache):
            keys, values = cache
            keys = lax.dynamic_update_slice(keys, x[None] * 2, (at, 0))
            values = lax.dynamic_update_slice(values, x[None] + 1, (at, 0))
            x = x + jax.nn.softmax(keys @ x / 100) @ values
            return x, (keys, values)

        x, cache = lax.scan(layer, x, cache)
        return cache, x

    cache = (jnp.zeros((5, 48, 32)), jnp.zeros((5, 48, 32)))
    check_in_place(mps, step, cache, jnp.linspace(0, 1, 32), jnp.int32(4))


def test_caches_carried_through_a_loop(mps):
    def step(state, x):
        def body(i, state):
            cache, total = state
            cache = lax.dynamic_update_index_in_dim(cache, x * i, i, 0)
            return cache, total + cache[i].sum()

        return lax.fori_loop(0, 6, body, state), x

    check_in_place(mps, step, (jnp.zeros((64, 32)), jnp.float32(0)), jnp.ones(32))


def test_branches(mps):
    def step(cache, x, which):
        write = lambda c: c.at[3].set(x)
        return lax.cond(which > 0, write, lambda c: c, cache), x

    check_in_place(mps, step, jnp.zeros((64, 32)), jnp.ones(32), jnp.int32(1))
    check_in_place(mps, step, jnp.zeros((64, 32)), jnp.ones(32), jnp.int32(0))


def loss(parameters, x, y):
    for w, b in parameters[:-1]:
        x = jnp.tanh(x @ w + b)
    w, b = parameters[-1]
    return ((x @ w + b - y) ** 2).mean()


def network():
    sizes = (33, 65, 47, 7)
    rng = np.random.default_rng(0)
    return [
        (jnp.asarray(rng.standard_normal((n, m)).astype(np.float32) / 8), jnp.zeros(m))
        for n, m in zip(sizes[:-1], sizes[1:])
    ]


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "clipped adam", "lion"])
def test_optimisers(mps, name):
    optimizer = {
        "sgd": lambda: optax.sgd(0.1),
        "momentum": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
        "adam": lambda: optax.adam(1e-2),
        "adamw": lambda: optax.adamw(optax.cosine_decay_schedule(1e-2, 100)),
        "clipped adam": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2)),
        "lion": lambda: optax.lion(1e-3),
    }[name]()

    def step(state, x, y):
        parameters, moments = state
        value, gradient = jax.value_and_grad(loss)(parameters, x, y)
        updates, moments = optimizer.update(gradient, moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), value

    parameters = network()
    rng = np.random.default_rng(1)
    x, y = (rng.standard_normal((16, n)).astype(np.float32) for n in (33, 7))
    # Of a bias lion's one kernel makes the gradient and the new moment, but the update reads both that
    # gradient and the old moment.
    moving = lambda leaf: name == "lion" and leaf.ndim < 2
    check_in_place(mps, step, (parameters, optimizer.init(parameters)), x, y, moving=moving)


def test_optimiser_state_of_large_parameters(mps):
    """By hand, so that the update is one fusion over all three."""

    def step(state, gradient):
        p, m, v, t = state
        t = t + 1
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        p = p - 0.01 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return (p, m, v, t), gradient.sum()

    zeros = jnp.zeros((512, 300))
    check_in_place(mps, step, (zeros + 1, zeros, zeros, jnp.float32(0)), jnp.ones((512, 300)))


def test_stacked_outputs_of_scan_are_not_copied():
    """A step that copied the stack would need it twice at that moment."""
    code = """
        import jax, jax.numpy as jnp, numpy as np
        from jax import lax
        x = jnp.zeros(8192)
        stacked = jax.jit(lambda x: lax.scan(lambda c, i: (c * 0.5 + i, c), x, jnp.arange(2000.0)))
        out = jax.block_until_ready(stacked(x))
        want = np.zeros(8192, np.float32)
        for i in range(2000):
            assert i % 500 or np.array_equal(out[1][i], want), i
            want = want * np.float32(0.5) + np.float32(i)
        print(jax.devices("mps")[0].memory_stats()["peak_bytes_in_use"])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          timeout=100, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    size = 2000 * 8192 * 4
    assert size <= int(done.stdout) < 1.5 * size


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_in_both_directions(mps, cpu, reverse):
    def step(stack, x):
        x, stack = lax.scan(lambda c, row: (c + row[0], row * 2 + c), x, stack, reverse=reverse)
        return stack, x

    stack = jnp.arange(7 * 600.0).reshape(7, 600)
    check_in_place(mps, step, stack, jnp.float32(1), steps=2)
    with jax.default_device(cpu):
        want = jax.jit(step)(np.asarray(stack), np.float32(1))
    for g, w in zip(jax.jit(step, donate_argnums=0)(fresh(mps, stack), jnp.float32(1)), want):
        np.testing.assert_allclose(g, w, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Some donated buffers")
@pytest.mark.parametrize("name", ["needed later", "read elsewhere", "read twice", "two outputs",
                                  "part of a slice", "fewer trips", "written elsewhere", "carried too"])
def test_scans_that_could_share_storage_but_for_something(mps, cpu, name):
    stack = jnp.arange(6 * 500.0).reshape(6, 500) / 100
    places = jnp.arange(6)

    def f(s):
        body = lambda c, row: (c + row.sum(), row * 2 + c)
        if name == "needed later":
            return lax.scan(body, 0.0, s), s[3] + 1
        if name == "read elsewhere":
            return lax.scan(lambda c, i: (c, s[i] + s[(i + 5) % 6]), 0.0, places)
        if name == "read twice":
            return lax.scan(lambda c, rows: (c, rows[0] + rows[1][0]), 0.0, (s, s))
        if name == "two outputs":
            return lax.scan(lambda c, row: (c + row[0], (row + c, row * 3)), 0.0, s)
        if name == "part of a slice":
            return lax.scan(lambda c, i: (c, jnp.tile(s[i, 7:10], 200)[:500]), 0.0, places)
        if name == "fewer trips":
            return lax.fori_loop(0, 4, lambda i, a: a.at[i].set(s[i] * 2), jnp.zeros_like(s))
        if name == "written elsewhere":
            return lax.fori_loop(0, 6, lambda i, a: a.at[5 - i].set(s[i] * 2), jnp.zeros_like(s))
        return lax.fori_loop(0, 6, lambda i, a: a.at[i].set(s[i] * 2 + a[(i + 1) % 6]), jnp.ones_like(s))

    if name in ("fewer trips", "written elsewhere", "carried too"):
        want = np.zeros((6, 500), np.float32) if name != "carried too" else np.ones((6, 500), np.float32)
        s = np.asarray(stack)
        for i in range(4 if name == "fewer trips" else 6):
            if name == "written elsewhere":
                want[5 - i] = s[i] * 2
            else:
                want[i] = s[i] * 2 + (want[(i + 1) % 6] if name == "carried too" else 0)
    else:
        with jax.default_device(cpu):
            want = jax.jit(f)(np.asarray(stack))
    for donate in ((), (0,)):
        got = jax.jit(f, donate_argnums=donate)(fresh(mps, stack))
        for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
            np.testing.assert_allclose(g, w, rtol=1e-6)


def test_scan_over_temporary_values(mps, cpu):
    """Here the array that is read is no argument, and the loop is inside another one."""
    def f(x):
        def outer(x, _):
            stack = jnp.outer(jnp.arange(1.0, 9.0), x)
            total, stack = lax.scan(lambda c, row: (c + row, row - c), x, stack)
            return total / 50, stack.sum()

        return lax.scan(outer, x, None, length=3)

    x = jnp.linspace(0, 1, 700)
    with jax.default_device(cpu):
        want = jax.jit(f)(np.asarray(x))
    got = jax.jit(f)(x)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-4)


def test_arguments_that_are_still_referenced(mps):
    """Donation takes the memory only if nobody else has it."""
    f = jax.jit(lambda a: a.at[0].set(-1), donate_argnums=0)

    a = fresh(mps, jnp.arange(64.0))
    view = np.asarray(a)  # NumPy reads the memory of the device
    b = f(a)
    np.testing.assert_array_equal(view, np.arange(64))
    np.testing.assert_array_equal(b[:3], [-1, 1, 2])

    host = np.arange(1 << 16, dtype=np.float32)
    a = jax.device_put(host, mps)
    b = f(a)
    assert host[0] == 0 and float(b[0]) == -1

    a = fresh(mps, jnp.arange(64.0))
    both = jax.jit(lambda a, b: (a.at[0].set(7), b + 1), donate_argnums=0)
    with pytest.raises(Exception, match="same buffer is also argument 1"):
        both(a, a)
    np.testing.assert_array_equal(a, np.arange(64))


def test_donated_and_read_by_queued_work(mps):
    """A program that is queued reads the buffer which a later one overwrites."""
    slow = jax.jit(lambda x, c: (lax.fori_loop(0, 60, lambda i, v: v @ x, x)[0, 0] * 0 + c).sum())
    write = jax.jit(lambda c: c.at[:].set(5), donate_argnums=0)
    x = jax.device_put(np.eye(400, dtype=np.float32), mps)
    cache = fresh(mps, jnp.ones(1000))
    total = slow(x, cache)
    new = write(cache)
    assert float(total) == 1000
    assert float(new.sum()) == 5000


def test_parts_of_one_argument(mps):
    """Two results that could both take the memory of one argument, and one that is the argument."""
    f = jax.jit(lambda a: (a + 1, a * 2, a), donate_argnums=0)
    a = fresh(mps, jnp.arange(1000.0))
    x, y, z = f(a)
    np.testing.assert_array_equal(x, np.arange(1000) + 1)
    np.testing.assert_array_equal(y, np.arange(1000) * 2)
    np.testing.assert_array_equal(z, np.arange(1000))
    assert len(set(addresses((x, y, z)))) == 3


def test_arguments_that_swap_places(mps):
    f = jax.jit(lambda a, b: (b * 2, a * 3), donate_argnums=(0, 1))
    a, b = fresh(mps, (jnp.arange(1000.0), jnp.ones(1000)))
    before = addresses((a, b))
    c, d = f(a, b)
    assert sorted(addresses((c, d))) == sorted(before)
    np.testing.assert_array_equal(c, np.full(1000, 2))
    np.testing.assert_array_equal(d, np.arange(1000) * 3)


@functools.lru_cache
def scatter(kind):
    return jax.jit(lambda a, i, u: getattr(a.at[i], kind)(u), donate_argnums=0)


@pytest.mark.parametrize("kind", ["set", "add", "max", "mul"])
def test_scatters(mps, kind):
    a = fresh(mps, jnp.arange(640.0).reshape(20, 32))
    before = addresses(a)
    b = scatter(kind)(a, jnp.array([3, 7]), jnp.ones((2, 32)))
    assert addresses(b) == before


@pytest.mark.skipif(not DONATES_ANY_SHAPE, reason="this JAX donates to results of the same shape only")
def test_reshaped_and_converted(mps):
    """The memory serves another shape, and another type of the same size."""
    a = fresh(mps, jnp.arange(640.0))
    before = addresses(a)
    b = jax.jit(lambda a: (a * 2).reshape(20, 32), donate_argnums=0)(a)
    assert addresses(b) == before
    c = jax.jit(lambda b: b.astype(jnp.int32).reshape(640), donate_argnums=0)(b)
    assert addresses(c) == before
    np.testing.assert_array_equal(c, np.arange(640) * 2)


def test_an_argument_that_is_part_of_another_result_is_not_overwritten(mps):
    def f(x, y):
        c = jnp.cos(x)
        return c, lax.complex(c + 1, y)

    x, y = fresh(mps, jnp.arange(4.0)), fresh(mps, -jnp.arange(4.0))
    _, z = jax.jit(f, donate_argnums=1)(x, y)
    np.testing.assert_array_equal(np.imag(z), -np.arange(4.0))
