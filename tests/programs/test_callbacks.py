"""Calls from programs into Python: values, order, effects, errors."""

import gc
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback


@pytest.fixture(autouse=True)
def on_mps(mps):
    with jax.default_device(mps):
        yield


def test_pure_callback():
    def host(x, y):
        return (np.sort(np.asarray(x)) + np.asarray(y)).astype(np.float32)

    @jax.jit
    def f(x, y):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(host, shape, x * 2, y) + 1

    x = np.array([3.0, 1.0, 2.0], np.float32)
    np.testing.assert_array_equal(f(x, np.float32(10)), np.sort(x * 2) + 11)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "bfloat16", "float16", "complex64"])
def test_types(dtype):
    x = np.arange(6).reshape(2, 3).astype(jnp.dtype(dtype))
    f = jax.jit(lambda x: jax.pure_callback(lambda a: np.asarray(a)[::-1], jax.ShapeDtypeStruct(x.shape, x.dtype), x))
    np.testing.assert_array_equal(np.asarray(f(x)), x[::-1])


def test_several_results_and_empty_arrays():
    shapes = (jax.ShapeDtypeStruct((0, 3), jnp.float32), jax.ShapeDtypeStruct((), jnp.int32))
    f = jax.jit(lambda x: jax.pure_callback(lambda a: (np.zeros((0, 3), np.float32), np.int32(a.size)), shapes, x))
    empty, count = f(jnp.zeros((0, 5)))
    assert empty.shape == (0, 3) and int(count) == 0


def test_vmap():
    f = lambda x: jax.pure_callback(lambda a: np.asarray(a) ** 2, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential")
    np.testing.assert_array_equal(jax.jit(jax.vmap(f))(jnp.arange(4.0)), np.arange(4.0) ** 2)


def test_ordered_io():
    seen = []

    @jax.jit
    def f(x):
        def body(i, v):
            io_callback(lambda j: seen.append(int(j)), None, i, ordered=True)
            return v + i

        return jax.lax.fori_loop(0, 5, body, x)

    assert float(f(jnp.float32(0))) == 10
    jax.effects_barrier()
    assert seen == [0, 1, 2, 3, 4]


def test_debug_print(capsys):
    @jax.jit
    def f(x):
        jax.debug.print("value {v}", v=x[1])
        jax.debug.print("ordered {v}", v=x[0], ordered=True)
        return x + 1

    f(jnp.arange(3))
    jax.effects_barrier()
    out = capsys.readouterr().out
    assert "value 1" in out and "ordered 0" in out


def test_debug_callback():
    seen = []
    f = jax.jit(lambda x: (jax.debug.callback(lambda v: seen.append(float(v)), x.sum()), x * 2)[1])
    f(jnp.ones(4)).block_until_ready()
    jax.effects_barrier()
    assert seen == [4.0]


def test_errors_arrive_and_the_next_call_works():
    def host(x):
        if float(x) < 0:
            raise ValueError("negative on purpose")
        return np.sqrt(x)

    f = jax.jit(lambda x: jax.pure_callback(host, jax.ShapeDtypeStruct((), jnp.float32), x))
    with pytest.raises(Exception, match="negative on purpose"):
        f(jnp.float32(-1)).block_until_ready()
    assert float(f(jnp.float32(4))) == 2


def test_wrong_shape_is_an_error():
    f = jax.jit(lambda x: jax.pure_callback(lambda a: np.zeros(3, np.float32), jax.ShapeDtypeStruct((2,), jnp.float32), x))
    with pytest.raises(Exception, match=r"float32\[[23]\]|\(3,\)"):
        f(jnp.float32(1)).block_until_ready()


def _host_on(device, seen, compute):
    """A host function that computes on `device`, as the arrays that it made say."""

    def host(*arguments):
        y = compute(*(jax.device_put(np.array(a), device) for a in arguments))
        seen.append(y.devices())
        return np.asarray(y)

    return host


def _big(x):
    return jnp.tanh(x @ x + 1).sum(0)


@pytest.mark.parametrize("size", [8, 300])
def test_callback_that_computes_on_mps(mps, size):
    """Small programs run on the thread of the caller, large ones on the device's: here both are one."""
    seen = []
    host = _host_on(mps, seen, jax.jit(_big))
    f = jax.jit(lambda x: jax.pure_callback(host, jax.ShapeDtypeStruct((size,), x.dtype), x) * 2)
    x = np.linspace(-1, 1, size * size, dtype=np.float32).reshape(size, size) / size
    want = np.asarray(jax.jit(_big)(x)) * 2
    for _ in range(3):
        np.testing.assert_array_equal(f(x), want)
    assert seen == [{mps}] * 3


@pytest.mark.parametrize("kind", ["io", "debug", "ordered"])
def test_effects_that_compute_on_mps(mps, kind):
    seen, values = [], []
    compute = _host_on(mps, seen, jax.jit(_big))

    def host(x):
        values.append(compute(x))

    @jax.jit
    def f(x):
        if kind == "debug":
            jax.debug.callback(host, x)
        else:
            io_callback(host, None, x, ordered=kind == "ordered")
        return x + 1

    x = jnp.ones((64, 64))
    f(x).block_until_ready()
    jax.effects_barrier()
    assert seen == [{mps}]
    np.testing.assert_array_equal(values[0], jax.jit(_big)(x))


def test_callbacks_in_callbacks(mps):
    def level(depth):
        if depth == 0:
            return jax.jit(lambda x: x * 2 + x.sum())
        inner = level(depth - 1)
        host = _host_on(mps, [], inner)
        return jax.jit(lambda x: jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x) + 1)

    np.testing.assert_array_equal(level(3)(jnp.arange(4.0)), np.arange(4.0) * 2 + 6 + 3)


@pytest.mark.parametrize("how", ["program", "host"])
def test_callback_that_needs_what_is_queued_behind_it(mps, how):
    """The callback wants the result of an execution that waits for the callback's own."""
    late, started = [], threading.Event()
    square = jax.jit(lambda x: x @ x)
    x = jax.device_put(2 * np.eye(400, dtype=np.float32), mps)
    square(x).block_until_ready()

    def host(a):
        started.wait(30)
        return np.asarray(square(late[0]) if how == "program" else late[0])[0, 0] + a

    f = jax.jit(lambda a: jax.pure_callback(host, jax.ShapeDtypeStruct((), jnp.float32), a))
    out = f(jnp.float32(1))
    late.append(square(x))
    assert not late[0].is_ready()
    started.set()
    assert float(out) == (17 if how == "program" else 5)


def test_callback_that_computes_with_jax():
    def host(x):
        return np.asarray(jnp.cumsum(x))

    f = jax.jit(lambda x: jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x))
    np.testing.assert_array_equal(f(jnp.arange(5.0)), np.cumsum(np.arange(5.0)))


def test_the_function_may_die_before_its_program_has_run():
    def host(a):
        time.sleep(0.05)
        return np.asarray(a) + 1

    x = jnp.zeros(3)
    for _ in range(5):
        # Nobody holds the jitted function or its executable while the call is under way.
        x = jax.jit(lambda x: jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x))(x)
        gc.collect()
    np.testing.assert_array_equal(x, np.full(3, 5))


def test_callables_are_released():
    from jax_plugins.mps import callbacks

    x = jax.jit(lambda x: jax.pure_callback(np.asarray, jax.ShapeDtypeStruct(x.shape, x.dtype), x))(jnp.zeros(3))
    x.block_until_ready()
    jax.clear_caches()
    gc.collect()
    assert not callbacks._held
