"""Ctrl-C while a program runs, and two processes that use the plugin at once."""

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

    device = jax.devices("mps")[0]
    x = jax.device_put(np.eye(500, dtype=np.float32), device)
    repeat = jax.jit(lambda x, n: lax.fori_loop(0, n, lambda i, v: v @ x, x))
    small = jax.jit(lambda x: x + 1)
    np.asarray(small(x))
    repeat(x, 5).block_until_ready()
    begin = time.perf_counter()
    repeat(x, 20).block_until_ready()
    a_second = int(20 / (time.perf_counter() - begin)) + 1

    def slow(x):
        return repeat(x, 2 * a_second)

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


def test_waiting_can_be_interrupted(mps):
    """The wait ends at once, the work goes on, and its result is right."""
    out = run("""
        y = slow(x)
        interrupt_soon()
        try:
            y.block_until_ready()
            print("not interrupted")
        except KeyboardInterrupt:
            print("interrupted", y.is_ready())
        assert np.array_equal(small(x), np.eye(500) + 1)
        assert np.array_equal(y, np.eye(500))
    """)
    assert out.split() == ["interrupted", "False"]


def test_reading_can_be_interrupted(mps):
    """As in JAX's CPU backend a copy to the host is waited for; then the interrupt is seen."""
    out = run("""
        y = slow(x)
        interrupt_soon()
        try:
            np.asarray(y)
            time.sleep(3)
            print("not interrupted")
        except KeyboardInterrupt:
            print("interrupted")
        assert np.array_equal(y, np.eye(500))
    """)
    assert out.split() == ["interrupted"]


def test_an_interrupt_in_a_callback_is_an_error_of_the_program(mps):
    out = run("""
        def host(a):
            for _ in range(100):
                time.sleep(0.05)
                if stop:
                    raise KeyboardInterrupt("as if on this thread")
            return a

        stop = []
        f = jax.jit(lambda a: jax.pure_callback(host, jax.ShapeDtypeStruct((), np.float32), a))
        y = f(jax.device_put(np.float32(1), device))
        interrupt_soon()
        try:
            y.block_until_ready()
        except KeyboardInterrupt:
            print("interrupted")
        stop.append(True)
        try:
            y.block_until_ready()
        except Exception as error:
            print("as if on this thread" in str(error))
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
