"""Ctrl-C while programs run: what the main thread asked for is stopped. And two processes at once."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
    import os, signal, sys, threading, time
    import numpy as np, jax, jax.numpy as jnp
    from jax import lax

    # A process that was started in the background may have been told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    device = jax.devices("mps")[0]
    x = jax.device_put(np.eye(500, dtype=np.float32), device)
    repeat = jax.jit(lambda x, n: lax.fori_loop(0, n, lambda i, v: v @ x, x))
    small = jax.jit(lambda x: x + 1)
    np.asarray(small(x))
    repeat(x, 5).block_until_ready()
    a_second = 0  # trips, by the fastest of some tries: others may be running
    for _ in range(3):
        begin = time.perf_counter()
        repeat(x, 20).block_until_ready()
        a_second = max(a_second, int(20 / (time.perf_counter() - begin)) + 1)

    def slow(x):
        return repeat(x, 60 * a_second)

    def interrupt_soon():
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
"""


def start(code):
    # In a group of its own, so that only this process gets the signals meant for it.
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(PRELUDE) + textwrap.dedent(code)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True, env=dict(os.environ))


def finish(process):
    try:
        return *process.communicate(timeout=120), process.returncode
    finally:
        process.kill()


def run(code):
    out, err, status = finish(start(code))
    assert status == 0, err[-4000:]
    return out


PROGRAMS = {
    "steps": "lambda x: lax.fori_loop(0, 1000 * a_second, lambda i, v: v @ x, x)",
    "condition": "lambda x: lax.while_loop(lambda v: v[0, 0] < 2, lambda v: v @ x, x)",
    "threaded code": "lambda x: lax.while_loop(lambda v: v < 2, lambda v: v * 0.5, x[0, 0])",
    "threaded code, small arrays": "lambda x: lax.while_loop(lambda v: v[0] < 2, lambda v: v * 0.5, x[0, :64])",
    "nested": "lambda x: lax.fori_loop(0, 1 << 30, lambda i, v: lax.cond(v[0, 0] > 0, lambda v: v @ x, lambda v: v, v), x)",
}


# A GPU is sent the steps of a counted loop long before it has done them.
FAR_AHEAD = pytest.param("steps", marks=pytest.mark.cpu_only("what a GPU has been sent is not stopped"))


@pytest.mark.parametrize("program", [FAR_AHEAD, *(name for name in PROGRAMS if name != "steps")])
def test_an_interrupt_stops_what_runs_and_what_is_queued(mps, program):
    out = run(f"""
        f = jax.jit({PROGRAMS[program]})
        waiting = [f(x)] + [slow(x) for _ in range(3)]
        waiting.append(small(waiting[0]))
        interrupt_soon()
        begin = time.perf_counter()
        try:
            waiting[0].block_until_ready()
            print("not interrupted")
        except KeyboardInterrupt:
            print("interrupted")
        assert np.array_equal(small(x), np.eye(500) + 1)
        assert time.perf_counter() - begin < 2, time.perf_counter() - begin
        for y in waiting:
            try:
                np.asarray(y)
                print("a value")
            except Exception as error:
                assert "CANCELLED" in str(error) and "the program was stopped by an interrupt (Ctrl-C)" in str(error), error
        assert np.array_equal(repeat(x, 3), np.eye(500))
    """)
    assert out.split() == ["interrupted"]


def test_what_was_short_before_can_be_interrupted(mps):
    """Where the last run was short, the next one is done on the caller's thread, however long it takes."""
    out = run("""
        halve = jax.jit(lambda v, end: lax.while_loop(lambda v: v != end, lambda v: v * 0.5, v))
        for _ in range(200):
            halve(jnp.float32(8), jnp.float32(1)).block_until_ready()
        interrupt_soon()
        begin = time.perf_counter()
        try:
            halve(jnp.float32(8), jnp.float32(2.1)).block_until_ready()
            print("not interrupted")
        except KeyboardInterrupt:
            print("interrupted")
        assert time.perf_counter() - begin < 2, time.perf_counter() - begin
        print(halve(jnp.float32(8), jnp.float32(1)))
    """)
    assert out.split() == ["interrupted", "1.0"]


def test_reading_can_be_interrupted(mps):
    """JAX does not look for signals while it copies to the host: the read ends with the program."""
    out = run("""
        y = slow(x)
        interrupt_soon()
        begin = time.perf_counter()
        try:
            try:
                np.asarray(y)
                print("a value")
            except Exception as error:
                print("CANCELLED" in str(error))
                time.sleep(3)
        except KeyboardInterrupt:
            print("interrupted")
        assert time.perf_counter() - begin < 2
        assert np.array_equal(small(x), np.eye(500) + 1)
    """)
    assert "interrupted" in out.split() and "a value" not in out


@pytest.mark.cpu_only("what a GPU has been sent is not stopped")
def test_donated_arguments_are_not_lost_by_the_first_interrupt(mps):
    """The state of a training is in the programs under way; whoever means it presses twice."""
    out = run("""
        step = jax.jit(lambda x: lax.fori_loop(0, 2 * a_second, lambda i, v: v @ v, x), donate_argnums=0)
        last = lambda: jax.device_put(np.eye(500, dtype=np.float32), device)
        for presses in 1, 2:
            state = step(step(last()))
            lost = slow(x)
            for _ in range(presses):
                interrupt_soon()
                try:
                    state.block_until_ready()
                except KeyboardInterrupt:
                    print("interrupted")
            try:
                print(np.array_equal(np.asarray(state), np.eye(500)))  # array_equal hides errors
            except Exception as error:
                print("CANCELLED" in str(error), "stopped")
            try:
                lost.block_until_ready()
            except Exception as error:
                assert "CANCELLED" in str(error)
    """)
    assert out.split() == ["interrupted", "True", "interrupted", "interrupted", "True", "stopped"]


def test_programs_of_other_threads_go_on(mps):
    out = run("""
        f = jax.jit(lambda x: lax.fori_loop(0, a_second, lambda i, v: v @ x, x))
        results = []
        thread = threading.Thread(target=lambda: results.append(np.asarray(f(x))))
        thread.start()
        time.sleep(0.1)
        y = slow(x)
        interrupt_soon()
        try:
            y.block_until_ready()
        except KeyboardInterrupt:
            print("interrupted")
        thread.join()
        assert np.array_equal(results[0], np.eye(500))
    """)
    assert out.split() == ["interrupted"]


def test_a_handler_of_the_user_stops_nothing(mps):
    out = run("""
        seen = []
        signal.signal(signal.SIGINT, lambda *_: seen.append("signal"))
        y = jax.jit(lambda x: lax.fori_loop(0, a_second, lambda i, v: v @ x, x))(x)
        interrupt_soon()
        y.block_until_ready()
        assert np.array_equal(y, np.eye(500)), "stopped"
        while not seen:  # the device may have been faster than when its speed was measured
            time.sleep(0.01)
        print(*seen)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        y = slow(x)
        interrupt_soon()
        try:
            y.block_until_ready()
        except KeyboardInterrupt:
            print("interrupted")
        begin = time.perf_counter()
        assert np.array_equal(small(x), np.eye(500) + 1)
        try:
            y.block_until_ready()
        except Exception as error:
            print("CANCELLED" in str(error))
        assert time.perf_counter() - begin < 5
    """)
    assert out.split() == ["signal", "interrupted", "True"]


def test_an_interrupt_in_a_callback_is_an_error_of_the_program(mps):
    out = run("""
        def host(a):
            time.sleep(1)
            raise KeyboardInterrupt("as if on this thread")

        f = jax.jit(lambda a: jax.pure_callback(host, jax.ShapeDtypeStruct((), np.float32), a))
        interrupt_soon()
        try:
            f(jax.device_put(np.float32(1), device))
        except KeyboardInterrupt as error:
            print("interrupted", "as if on this thread" in str(error.__context__))
        assert np.array_equal(small(x), np.eye(500) + 1)
    """)
    assert out.split() == ["interrupted", "True"]


@pytest.mark.parametrize("wait", ["y.block_until_ready()", "np.asarray(y)", "time.sleep(30)"])
def test_an_interrupted_process_ends_as_python_does(mps, wait):
    """Work is running and queued while the interpreter ends."""
    process = start(f"""
        y = slow(x)
        z = [slow(y) for _ in range(3)]
        print("started", flush=True)
        {wait}
    """)
    try:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        _, err, status = finish(process)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in err
    assert status in (-signal.SIGINT, 130), (status, err[-2000:])


def test_two_processes_at_once(mps):
    code = """
        for _ in range(20):
            assert np.array_equal(repeat(x, 5), np.eye(500))
            assert np.array_equal(small(x), np.eye(500) + 1)
        print(device.memory_stats()["bytes_in_use"] < 1 << 30)
    """
    processes = [start(code) for _ in range(2)]
    results = [finish(process) for process in processes]
    assert [(out.strip(), status) for out, _, status in results] == [("True", 0)] * 2, results
