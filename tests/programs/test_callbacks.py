"""Calls from programs into Python: values, order, effects, errors."""

import concurrent.futures
import gc
import inspect
import os
import subprocess
import sys
import textwrap
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from jax_plugins.mps import interpreter


@pytest.fixture(autouse=True)
def on_mps(mps):
    with jax.default_device(mps):
        yield
    jax.effects_barrier()


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
    """The call returns when it has been printed, whatever is still to do before and behind it."""

    @jax.jit
    def f(x):
        jax.debug.print("value {v}", v=x[1])
        jax.debug.print("ordered {v}", v=x[0], ordered=True)
        return x + 1

    later = jax.jit(lambda x, y: (y @ y @ y)[0, : x.size].astype(int) + x)
    f(later(jnp.arange(3), jnp.zeros((600, 600))))
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


SHAPE = jax.ShapeDtypeStruct((4,), np.float32)


def _fail(*_):
    raise ValueError("at the call")


FAILURES = {
    "pure": lambda x: jax.pure_callback(_fail, SHAPE, x),
    "io": lambda x: io_callback(_fail, SHAPE, x),
    "ordered io": lambda x: io_callback(_fail, SHAPE, x, ordered=True),
    "unused io": lambda x: (io_callback(_fail, SHAPE, x), x + 1)[1],
    "debug": lambda x: (jax.debug.callback(_fail, x), x + 1)[1],
    "ordered debug": lambda x: (jax.debug.callback(_fail, x, ordered=True), x + 1)[1],
}


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("kind", FAILURES)
def test_errors_are_raised_by_the_call_and_once(kind, jit):
    f = jax.jit(FAILURES[kind]) if jit else FAILURES[kind]
    with pytest.raises(Exception, match="at the call"):
        f(jnp.ones(4))
    jax.effects_barrier()
    np.testing.assert_array_equal(jax.jit(lambda x: x + 1)(jnp.ones(4)), 2 * np.ones(4))


def test_the_process_ends_quietly_after_an_error():
    code = """
        import jax
        def fail(x): raise ValueError("once")
        try: jax.jit(lambda x: (jax.debug.callback(fail, x, ordered=True), x)[1])(1.0)
        except Exception: pass
    """
    environment = {**os.environ, "JAX_PLATFORMS": "mps"}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0 and "atexit" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    "shapes, value, words",
    [
        (SHAPE, lambda x: None, "Expected: 1, Actual: 0"),
        ((SHAPE, SHAPE), lambda x: (x,), "Expected: 2, Actual: 1"),
        ((SHAPE, SHAPE), lambda x: (x, x, x), "Expected: 2, Actual: 3"),
        (SHAPE, lambda x: x[:2], "Expected: (4,), Actual: (2,)"),
        (SHAPE, lambda x: x.reshape(2, 2), "Expected: (4,), Actual: (2, 2)"),
        (SHAPE, lambda x: x.astype(np.int32), "Expected: float32, Actual: int32"),
        (SHAPE, lambda x: np.array(["text"] * 4), "Expected: float32, Actual: <U4"),
    ],
)
@pytest.mark.parametrize("call", [jax.pure_callback, io_callback])
def test_results_are_checked(call, shapes, value, words):
    f = jax.jit(lambda x: call(lambda a: value(np.asarray(a)), shapes, x))
    with pytest.raises(Exception) as caught:
        jax.block_until_ready(f(jnp.ones(4)))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "dtype, value, want",
    [
        ("float32", 42.0, 42.0),
        ("int32", 7, 7),
        ("bool", True, True),
        ("complex64", 1j, 1j),
        ("float32", [0.0, 1.0], [0, 1]),
        ("float32", np.linspace(0, 1, 4), np.linspace(0, 1, 4, dtype=np.float32)),
        ("uint32", np.arange(3, dtype=np.uint64), [0, 1, 2]),
        ("int32", np.arange(6).reshape(2, 3).T, [[0, 3], [1, 4], [2, 5]]),
    ],
)
def test_results_are_converted_as_on_the_cpu(cpu, dtype, value, want):
    shape = jax.ShapeDtypeStruct(np.shape(value), dtype)
    host = (lambda: value) if not isinstance(value, list) else (lambda: np.array(value))
    f = jax.jit(lambda: jax.pure_callback(host, shape))
    got = f()
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, np.asarray(want, dtype))
    with jax.default_device(cpu):
        np.testing.assert_array_equal(got, jax.jit(lambda: jax.pure_callback(host, shape))())


@pytest.mark.parametrize("kind", ["pure", "io", "debug"])
@pytest.mark.parametrize("size", [7, 1000, 200_000])
def test_arguments_stay_as_they_were(kind, size):
    """Memory is used again as soon as a call is over; what a callback kept must not change with it."""
    kept = []

    def keep(a):
        kept.append(a)
        return np.float32(0)

    @jax.jit
    def f(x):
        y = x * 2
        if kind == "debug":
            jax.debug.callback(keep, y)
            return y.sum()
        call = jax.pure_callback if kind == "pure" else io_callback
        return call(keep, jax.ShapeDtypeStruct((), np.float32), y)

    for i in range(10):
        f(jnp.full((size,), float(i))).block_until_ready()
    jax.effects_barrier()
    assert [set(np.unique(a)) for a in kept] == [{2 * i} for i in range(10)]


def test_what_a_callback_takes(cpu):
    """An array of JAX on its CPU device, as on JAX's CPU backend."""
    seen = []

    def host(a, b):
        seen.append((type(a), a.devices(), b.dtype, a.at[0].set(5).sum() + b))
        return np.asarray(seen[-1][-1])

    f = jax.jit(lambda a, b: jax.pure_callback(host, jax.ShapeDtypeStruct((), np.float32), a, b))
    assert float(f(jnp.ones(3), jnp.float32(1))) == 8
    (kind, devices, dtype, _) = seen[0]
    assert issubclass(kind, jax.Array) and devices == {cpu} and dtype == np.float32


@pytest.mark.parametrize("n", [0, 1, 2, 3, 100_000])
def test_messages_are_whole(n):
    def host(x):
        try:
            raise KeyError("\u00fc\u20ac\U0001f600" * n + "the cause")
        except KeyError as error:
            raise ValueError("the \udc80 error") from error

    f = jax.jit(lambda x: jax.pure_callback(host, SHAPE, x))
    with pytest.raises(Exception) as caught:
        f(jnp.ones(4)).block_until_ready()
    text = str(caught.value)
    assert "\u00fc\u20ac\U0001f600" * n + "the cause" in text and "ValueError: the \\udc80 error" in text
    assert "direct cause" in text and text.count(", in host") == 2


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [KeyboardInterrupt("now"), SystemExit(3), Unprintable(), SyntaxError("odd"), StopIteration()])
def test_every_exception_is_an_error_of_the_program(error):
    def host(x):
        raise error

    f = jax.jit(lambda x: jax.pure_callback(host, SHAPE, x))
    with pytest.raises(Exception, match=type(error).__name__) as caught:
        f(jnp.ones(4)).block_until_ready()
    assert not isinstance(caught.value, type(error))


def test_failures_are_logged(caplog):
    """In JAX's words, by which libraries filter."""

    def host(x):
        raise ValueError("into the log")

    f = jax.jit(lambda x: (jax.debug.callback(host, x), x + 1)[1])
    with pytest.raises(Exception, match="into the log"):
        f(jnp.ones(4)).block_until_ready()
    (record,) = (r for r in caplog.records if r.getMessage() == "jax.debug.callback failed")
    assert record.name == "jax._src.debugging" and "into the log" in record.exc_text


def test_tracebacks_on_two_threads():
    """Python's parser, which draws the marks in tracebacks, does not always bear two threads."""
    import traceback

    def host(x):
        return [x][1] + (x * 2)[None].real

    f = jax.jit(lambda x: jax.pure_callback(host, SHAPE, x))

    def fail_often():
        for _ in range(60):
            with pytest.raises(Exception, match="IndexError"):
                f(np.ones(4, np.float32))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # seconds: a failing call takes the interpreter's lock dozens of times
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            failing = pool.submit(fail_often)
            while not failing.done():
                try:
                    (lambda: [1][1] + 2)()
                except IndexError:
                    traceback.format_exc()
            failing.result()
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("where", ["scan", "while", "cond", "switch", "vmap"])
@pytest.mark.parametrize("kind", ["debug", "io", "ordered"])
def test_effects_in_control_flow(where, kind):
    seen = []
    keep = lambda a: seen.append(float(a))

    def effect(v):
        if kind == "debug":
            jax.debug.callback(keep, v)
        else:
            io_callback(keep, None, v, ordered=kind == "ordered")
        return v

    def run(x):
        if where == "scan":
            return jax.lax.scan(lambda c, v: (c + effect(v), effect(c)), 0.0, x)
        if where == "while":
            return jax.lax.while_loop(lambda c: c[0] < 4, lambda c: (c[0] + 1, c[1] + effect(x[c[0]])), (0, 0.0))
        if where == "cond":
            return [jax.lax.cond(v > 1, effect, lambda v: v, v) for v in x]
        if where == "switch":
            return [jax.lax.switch(i, [effect, lambda v: effect(v * 10)], v) for i, v in enumerate(x[:2])]
        return jax.vmap(effect)(x)

    if where == "vmap" and kind == "ordered":
        pytest.skip("JAX refuses ordered effects in vmap")
    jax.block_until_ready(jax.jit(run)(jnp.arange(4.0)))
    jax.effects_barrier()
    want = {"scan": [0, 0, 1, 0, 2, 1, 3, 3], "while": [0, 1, 2, 3], "cond": [2, 3], "switch": [0, 10], "vmap": [0, 1, 2, 3]}
    assert (seen if kind == "ordered" else sorted(seen)) == (want[where] if kind == "ordered" else sorted(want[where]))


@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all"])
def test_vmap_methods(cpu, method):
    def f(x, y):
        host = lambda a, b: np.asarray(a) + np.asarray(b)
        return jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x, y, vmap_method=method)

    x, y = np.arange(4, dtype=np.float32), np.float32(2)
    np.testing.assert_array_equal(jax.jit(jax.vmap(f, in_axes=(0, None)))(x, y), x + 2)


def test_keys():
    f = jax.jit(lambda k: jax.pure_callback(lambda k: np.asarray(k), jax.ShapeDtypeStruct((2,), np.uint32), jax.random.key_data(k)))
    key = jax.random.key(7)
    np.testing.assert_array_equal(f(key), jax.random.key_data(key))


def test_without_the_cpu_device(mps):
    """JAX_PLATFORMS=mps: also callables that compute, and callbacks outside of programs."""
    code = """
        import numpy as np, jax, jax.numpy as jnp
        from jax.experimental import io_callback
        S = jax.ShapeDtypeStruct
        x = jnp.arange(3.0)
        jax.debug.print("eager {}", x[1])
        jax.debug.print("eager and ordered {}", x[2], ordered=True)
        jax.debug.callback(lambda a: print("called", a.sum()), x)

        @jax.jit
        def f(x):
            jax.debug.print("in a program {}", x[1])
            jax.debug.print("ordered {}", x[2], ordered=True)
            y = jax.pure_callback(lambda a: jnp.cumsum(a @ jnp.eye(3)), S((3,), np.float32), x)
            return io_callback(lambda a: jax.jit(jnp.sum)(a), S((), np.float32), y, ordered=True)

        y = f(x)
        jax.effects_barrier()
        print("result", y)
        print("alone", jax.pure_callback(lambda a: a * 2, S((3,), np.float32), x))
        assert {d.platform for d in jax.devices()} == {"mps"}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=100,
                          env={**os.environ, "JAX_PLATFORMS": "mps"})
    assert done.returncode == 0, done.stderr[-4000:]
    out = sorted(done.stdout.splitlines())
    assert out == sorted(["eager 1.0", "eager and ordered 2.0", "called 3.0", "in a program 1.0", "ordered 2.0", "result 4.0",
                          "alone [0. 2. 4.]"])


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
    late, called, started = [], threading.Event(), threading.Event()
    square = jax.jit(lambda x: x @ x)
    x = jax.device_put(2 * np.eye(400, dtype=np.float32), mps)
    square(x).block_until_ready()

    def host(a):
        called.set()
        started.wait(30)
        return np.asarray(square(late[0]) if how == "program" else late[0])[0, 0] + a

    f = jax.jit(lambda a: jax.pure_callback(host, jax.ShapeDtypeStruct((), jnp.float32), a))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        out = pool.submit(f, jax.device_put(np.float32(1), mps))
        assert called.wait(30)
        late.append(square(x))
        assert not late[0].is_ready()
        started.set()
        assert float(out.result()) == (17 if how == "program" else 5)


def test_callback_that_computes_with_jax():
    def host(x):
        return np.asarray(jnp.cumsum(x))

    f = jax.jit(lambda x: jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x))
    np.testing.assert_array_equal(f(jnp.arange(5.0)), np.cumsum(np.arange(5.0)))


def test_none_is_called_once_python_is_ending():
    f = jax.jit(lambda x: jax.pure_callback(np.sin, x, x))
    x = np.ones(3, np.float32)
    np.testing.assert_array_equal(f(x), np.sin(x))
    interpreter._table.open = 0
    try:
        with pytest.raises(Exception, match="the Python interpreter has ended"):
            f(x).block_until_ready()
    finally:
        interpreter._table.open = 1


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


def test_the_cache_on_disk_holds_what_it_can(tmp_path, mps):
    from jax._src import compiler
    from jax.experimental.compilation_cache import compilation_cache

    options = {"jax_compilation_cache_dir": str(tmp_path), "jax_persistent_cache_min_compile_time_secs": 0}
    options["jax_persistent_cache_min_entry_size_bytes"] = 0
    before = {name: getattr(jax.config, name) for name in options}
    try:
        for name, value in options.items():
            jax.config.update(name, value)
        for number in range(2):  # reset_cache() turns the cache off for platforms that JAX does not know
            compilation_cache.reset_cache()
            jax.block_until_ready(jax.jit(lambda x, number=number: jnp.sin(x) + number)(jnp.ones(3)))
            assert len(list(tmp_path.glob("jit__lambda*-cache"))) == number + 1
        if "host_callbacks" not in inspect.signature(compiler._cache_write).parameters:
            return  # a JAX that writes every program
        form = jax.ShapeDtypeStruct((3,), jnp.float32)
        jax.block_until_ready(jax.jit(lambda x: jax.pure_callback(np.asarray, form, x))(jnp.ones(3)))
        assert len(list(tmp_path.glob("jit__lambda*-cache"))) == 2, "callables do not outlive their process"
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


READ_WHILE_COMPUTED = """
    import faulthandler, sys, time
    faulthandler.dump_traceback_later(20, exit=True)  # a hanging thread has the interpreter's lock
    import jax, numpy as np

    def host(x):
        entered.append(True)
        for _ in range(20):
            time.sleep(0.005)
        return np.asarray(x) + 1

    entered = []
    f = jax.jit(lambda x: jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x))
    x = jax.device_put(np.zeros(20_000, np.float32), jax.devices("mps")[0])

    def pointer(y):
        (device,) = y.devices()
        seen = np.asarray(y).ctypes.data  # of a copy, where the CPU does not read the GPU's memory
        assert y.unsafe_buffer_pointer() == seen or device.device_kind != "cpu"

    y = f(x)
    while not entered and {wait}:
        time.sleep(0.001)
"""


@pytest.mark.parametrize(
    ("read", "wait"),
    [
        ("pointer(y)", True),
        ("for _ in range(3): y = f(y)\npointer(y)", False),
        ("assert (np.asarray(y) == 1).all()", True),
        ("y.copy_to_host_async(); y.delete()", False),
        ("del f, x, y; jax.clear_caches()", True),
    ],
)
def test_reading_what_a_callback_still_computes(mps, read, wait):
    """By whatever route, and also if the process ends instead."""
    code = textwrap.dedent(READ_WHILE_COMPUTED.format(wait=wait)) + read
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, env=dict(os.environ))
    assert done.returncode == 0 and "FATAL" not in done.stderr, done.stderr[-2000:]


def test_rules_of_other_packages_call_into_python():
    """A primitive of somebody else's whose rule calls `emit_python_callback`."""
    from jax.extend.core import Primitive
    from jax.interpreters import mlir

    prim = Primitive("doubled_by_python")
    prim.def_abstract_eval(lambda x: x)

    def rule(ctx, x):
        results, token, keep = mlir.emit_python_callback(
            ctx, lambda x: (np.multiply(x, 2),) if type(x) is np.ndarray else None, None, [x], ctx.avals_in, ctx.avals_out, has_side_effect=False)
        assert token is None and keep is not None
        return results

    mlir.register_lowering(prim, rule)
    np.testing.assert_array_equal(jax.jit(prim.bind)(jnp.arange(3.0)), [0, 2, 4])
