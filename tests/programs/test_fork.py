"""Processes forked after the plugin was used: of its threads the child has none.

Each test forks in a process of its own. The child must answer rightly or refuse clearly; what hangs
runs into the time limit. JAX warns about os.fork for good reasons of its own, on every backend: its
threads that compile are lost too, so the child can only run what was compiled before, and it must end
with os._exit, as those of multiprocessing do.
"""

import os
import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
    import os, sys, time, traceback, warnings
    warnings.filterwarnings("ignore", message="(?s).*fork.*")
    import numpy as np, jax, jax.numpy as jnp

    def put(value):
        return jax.device_put(value, jax.devices("mps")[0])

    def in_child(work):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(code)
        deadline = time.monotonic() + 30
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline:
                os.kill(child, 9)
                os.waitpid(child, 0)
                sys.exit("the child hangs")
            time.sleep(0.005)
        if status:
            sys.exit(f"the child ended with status {status}")
"""


def run(code, **env):
    source = textwrap.dedent(PRELUDE) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=200,
                          env={**os.environ, **env})
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def on_cpu(mps):
    if mps.device_kind != "cpu":
        pytest.skip("GPU drivers do not survive a fork: see test_gpu_refuses")


def test_small_and_large_programs(mps):
    """Small programs run on the caller's thread, large ones on the device's and on the workers."""
    on_cpu(mps)
    run("""
        small, large = jax.jit(lambda a: a * 2 + 1), jax.jit(lambda a: jnp.tanh(a @ a).sum(0))
        x, y = put(np.arange(8, dtype=np.float32)), put(np.full((700, 700), 1 / 700, np.float32))
        want = np.asarray(small(x)), np.asarray(large(y))

        def work():
            for _ in range(3):
                assert np.array_equal(small(x), want[0])
                assert np.array_equal(large(y), want[1])
                assert np.array_equal(large(put(np.asarray(y))), want[1])
            assert np.array_equal(np.asarray(x), np.arange(8))

        in_child(work)
        work()
        in_child(lambda: in_child(work))  # and in the child of a child
    """)


@pytest.mark.parametrize("fusion", ["0", "1"])
def test_programs_of_mlx(mps, fusion):
    """MLX evaluates graphs on a thread for each stream, which the child lacks too."""
    on_cpu(mps)
    run("""
        f = jax.jit(lambda a: jnp.linalg.qr(jnp.sin(a) @ a.T)[1] + jax.lax.bitcast_convert_type(a, jnp.uint8).sum())
        x = put(np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32))
        want = np.asarray(f(x))

        def work():
            assert np.array_equal(f(x), want)

        in_child(work)
        work()
    """, JAX_MPS_FUSION=fusion)


def test_work_under_way(mps):
    """What the parent has not computed yet is an error in the child: done by both, its callbacks
    would be run twice."""
    on_cpu(mps)
    run("""
        @jax.jit
        def slow(a):
            return jax.lax.fori_loop(0, 200, lambda i, v: v @ a, a)

        x = put(np.full((512, 512), 1 / 512, np.float32))
        want = np.asarray(slow(x))
        running = slow(x)
        time.sleep(0.02)
        queued = [slow(x), slow(running)]
        assert not running.is_ready()

        def work():
            for lost in [running, *queued, slow(running)]:
                try:
                    lost.block_until_ready()
                except Exception as error:
                    assert "FAILED_PRECONDITION" in str(error) and "spawn" in str(error), error
                    assert lost is not running or "the process was forked before this was computed" in str(error)
                else:
                    assert False, "a result of nothing"
            assert np.array_equal(slow(x), want)

        in_child(work)
        assert np.array_equal(running, want) and np.array_equal(queued[0], want)
    """)


def test_waiting_before_the_fork(mps):
    """Somebody in the parent waits already, so that the child gets a future that is waited for."""
    on_cpu(mps)
    run("""
        import threading

        @jax.jit
        def slow(a):
            return jax.lax.fori_loop(0, 100, lambda i, v: v @ a, a)

        x = put(np.full((512, 512), 1 / 512, np.float32))
        want = np.asarray(slow(x))
        running = slow(x)
        waiter = threading.Thread(target=running.block_until_ready)
        waiter.start()
        time.sleep(0.02)
        assert not running.is_ready()

        def work():
            try:
                running.block_until_ready()
            except Exception as error:
                assert "FAILED_PRECONDITION" in str(error), error
            else:
                assert False, "a result of nothing"

        in_child(work)
        waiter.join()
        assert np.array_equal(running, want)
    """)


def test_mlx_under_way(mps):
    """MLX's locks cannot be made good: only programs that do without it go on in the child."""
    on_cpu(mps)
    run("""
        f = jax.jit(lambda a: jax.lax.bitcast_convert_type(a @ a, jnp.uint8))  # of another width: by MLX
        g = jax.jit(lambda a: jnp.sort(a))
        x = put(np.ones((2048, 2048), np.float32))
        want = np.asarray(f(x))
        g(x).block_until_ready()
        running = f(x)
        time.sleep(0.01)
        assert not running.is_ready()

        def work():
            assert np.asarray(g(x))[0, 0] == 1
            try:
                f(x).block_until_ready()
            except Exception as error:
                assert "FAILED_PRECONDITION" in str(error) and "spawn" in str(error), error
            else:
                assert False, "MLX's locks may be held by a thread that is gone"

        in_child(work)
        assert np.array_equal(running, want)
    """, JAX_MPS_FUSION="0")


def test_forks_at_any_moment(mps):
    """The device's thread may hold any of the plugin's locks. (Threads of Python that call JAX at that
    moment are another matter: now and then they hold a lock of JAX's own.)"""
    on_cpu(mps)
    run("""
        f = jax.jit(lambda a: jnp.tanh(a) + a.sum())
        g = jax.jit(lambda a: jnp.tanh(a @ a))
        h = jax.jit(lambda a: a + 1)
        x, y = put(np.ones((1 << 16,), np.float32)), put(np.eye(64, dtype=np.float32))
        want = np.asarray(f(x)), np.asarray(g(y)), np.asarray(h(y))

        def work():
            assert np.array_equal(f(x), want[0])
            assert np.array_equal(g(y), want[1])
            assert np.array_equal(h(put(np.eye(64, dtype=np.float32))), want[2])

        for n in range(40):
            z = [g(y) for _ in range(25)]
            time.sleep(n * 2e-5)
            in_child(work)
            assert np.array_equal(z[-1], want[1])
    """)


def test_multiprocessing(mps):
    on_cpu(mps)
    out = run("""
        import multiprocessing
        f = jax.jit(lambda a: (a * a).sum())
        float(f(put(np.ones(1 << 17, np.float32))))

        def task(n):
            return float(f(put(np.full(1 << 17, n, np.float32))))

        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map_async(task, range(4)).get(timeout=100))
    """)
    assert out.strip() == str([float(n * n << 17) for n in range(4)])


def test_fork_in_a_callback(mps):
    """The child of a callback goes on as the device's thread."""
    on_cpu(mps)
    run("""
        x = put(np.eye(300, dtype=np.float32))
        f = jax.jit(lambda a: a @ a + 1).lower(x).compile()
        want = np.asarray(f(x))

        def host(a):
            def work():
                assert np.array_equal(f(x), want)
            in_child(work)
            return a + 1

        g = jax.jit(lambda a: jax.pure_callback(host, jax.ShapeDtypeStruct((), np.float32), a))
        assert float(g(put(np.float32(1)))) == 2
    """)


def test_gpu_refuses(mps):
    if mps.device_kind == "cpu":
        pytest.skip("needs a GPU")
    run("""
        f = jax.jit(lambda a: a + 1)
        x = put(np.ones(4, np.float32))
        f(x).block_until_ready()

        def work():
            for call in (lambda: f(x).block_until_ready(), lambda: put(np.ones(3, np.float32))):
                try:
                    call()
                except Exception as error:
                    assert "FAILED_PRECONDITION" in str(error) and "spawn" in str(error), error
                else:
                    assert False, "the GPU cannot be used in a forked process"

        in_child(work)
    """)
