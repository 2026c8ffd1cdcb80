"""Who may see whose memory: arrays are made, aliased, donated, exported and deleted, NumPy's memory is
overwritten, and every array keeps the values that it must have."""

import concurrent.futures
import ctypes
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

LARGE = (128, 256)  # from 64 KiB on the memory of NumPy's arrays is used in place

PASS_ON = {
    "identity": lambda a: a,
    "reshape": lambda a: a.reshape(-1),
    "new axis": lambda a: a[None],
    "slice": lambda a: a[: len(a) // 2],
    "transposed": lambda a: a.T,
    "twice transposed": lambda a: a.T.reshape(-1).reshape(a.T.shape).T,
    "cond": lambda a: lax.cond(a.ravel()[0] == a.ravel()[0], lambda a: a, lambda a: a[::-1], a),
    "scan carry": lambda a: lax.scan(lambda c, _: (c, None), a, None, length=3)[0],
    "while carry": lambda a: lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1]), (0, a))[1],
    "pair": lambda a: (a, a),
    "pair of shapes": lambda a: (a.reshape(-1), a),
    "beside work": lambda a: (a, -a),
    "barrier": lambda a: lax.optimization_barrier(a),
}


def busy(mps):
    """Work that keeps the device busy for a while, so that what comes is queued."""
    x = jax.device_put(np.eye(300, dtype=np.float32), mps)
    return jax.jit(lambda x: lax.fori_loop(0, 20, lambda i, v: v @ x, x))(x)


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("name", PASS_ON)
def test_results_do_not_share_the_memory_of_arguments_from_numpy(mps, name, queued):
    f = jax.jit(PASS_ON[name])
    a = np.arange(LARGE[0] * LARGE[1], dtype=np.float32).reshape(LARGE)
    jax.block_until_ready(f(jax.device_put(a, mps)))
    want = jax.tree.map(np.array, f(jax.device_put(a.copy(), mps)))
    work = busy(mps) if queued else None
    result = f(jax.device_put(a, mps))
    a[:] = -1
    jax.tree.map(np.testing.assert_array_equal, result, want)
    jax.block_until_ready(work)


def test_a_staging_buffer_is_refilled(mps):
    staging, batches = np.empty(LARGE, np.float32), []
    for make in (jnp.array, jnp.copy, lambda a: jnp.array(jax.device_put(a, mps))):
        for i in range(3):
            staging[:] = i
            work = busy(mps)
            batches.append((i, make(staging)))
        jax.block_until_ready(work)
    assert [float(b.mean()) for _, b in batches] == [i for i, _ in batches]


def test_donation_does_not_write_into_numpy(mps):
    step = jax.jit(lambda w: w - 0.5, donate_argnums=0)
    for make in (jnp.array, jnp.asarray, lambda a: jax.device_put(a, mps)):
        for queued in (False, True):
            checkpoint = np.ones(LARGE, np.float32)
            work = busy(mps) if queued else None
            result = step(step(make(checkpoint)))
            assert float(result.mean()) == 0 and checkpoint.min() == 1
            jax.block_until_ready(work)


@pytest.mark.cpu_only("a GPU copies what it is given")
def test_an_address_outlives_the_memory_of_numpy(mps):
    """The first queued program copies the memory; who has the old address may go on reading there."""
    a = np.full(LARGE, 7, np.float32)
    x = jax.device_put(a, mps)
    address, view = x.unsafe_buffer_pointer(), np.asarray(x)
    assert address == a.ctypes.data
    del a
    work = busy(mps)
    y = x + 1
    others = [np.zeros(LARGE, np.float32) for _ in range(8)]
    assert (ctypes.c_float * 4).from_address(address)[:] == [7.0] * 4
    assert view.min() == view.max() == 7 and float(y.min()) == 8
    jax.block_until_ready((work, others))


def test_two_threads_use_one_array(mps):
    """One copies the borrowed memory for work that is queued while the other computes with it."""
    write = jax.jit(lambda a: a.at[0].set(-1))
    same = jax.jit(lambda a: a)
    for _ in range(30):
        a = np.ones(LARGE, np.float32)
        x = jax.device_put(a, mps)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            results = [pool.submit(f, x) for f in (same, write, same, write, jnp.sort, same, write)]
            results = [r.result() for r in results]
        assert a.min() == 1
        a[:] = 9
        assert [float(r.max()) for r in results] == [1] * 7


@pytest.mark.parametrize("n", [7, 9])
def test_results_of_a_graph_pass_through_other_programs(mps, n):
    """A transform is evaluated by MLX. Handed on it is read by other threads."""
    x = np.arange(n, dtype=np.float32)
    a = jax.device_put(x, mps)
    want = np.fft.fft(x)
    f = jax.jit(lambda a: lax.fft(a + 0j, "FFT", (n,)))
    for name, g in PASS_ON.items():
        for result in jax.tree.leaves(jax.jit(g)(f(a)))[:1]:
            expected = np.asarray(jax.tree.leaves(g(jnp.asarray(want.astype(np.complex64))))[0])
            np.testing.assert_allclose(np.asarray(result), expected, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(memoryview(jnp.array(f(a))), want, atol=1e-4)
    np.testing.assert_allclose(jnp.fft.irfft(jnp.fft.rfft(a), n=n), x, atol=1e-4)


def read(array):
    return np.array(array, copy=True)


def read_tree(tree):
    return jax.tree.map(read, tree)


def same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


class Entry:
    """An array and the values that it may have: those of its source, if it may share its memory."""

    def __init__(self, array, value, source=None):
        self.array, self.values, self.source = array, [value], source

    def value(self):
        now = read(self.array)
        assert any(same(now, value) for value in self.values), (now, self.values)
        if self.source is not None and not same(now, self.values[-1]):
            self.settle(now)
        return now

    def settle(self, value):
        self.values, self.source = [value], None


class Walk:
    OWN = (jnp.array, jnp.copy, jax.jit(lambda a: a))
    SHARED = (jnp.asarray, jax.device_put, lambda a: jax.device_put(a, may_alias=True),
              lambda a: jax.device_put(a, may_alias=False), lambda a: jax.device_put(a, donate=True))
    OVERWRITE = (lambda a: -a, lambda a: a.at[0].set(a[1]), lambda a: a, lambda a: a.reshape(-1),
                 lambda a: (a, -a))
    SHAPES = ((6, 4), (64, 513))
    DTYPES = (np.float32, np.int8, np.complex64, ml_dtypes.bfloat16)

    def __init__(self, mps, seed):
        self.mps, self.rng = mps, np.random.default_rng(seed)
        self.pass_on = [jax.jit(f) for f in PASS_ON.values()]
        self.overwrite = [jax.jit(f, donate_argnums=0) for f in self.OVERWRITE]
        self.transform = jax.jit(
            lambda a: lax.fft(a.real.astype(jnp.float32), "FFT", a.shape[-1:]).real / a.shape[-1])
        self.sources, self.entries, self.views, self.work = [], [], [], None

    def any(self, things):
        return things[self.rng.integers(len(things))]

    def values(self, shape, dtype):
        return self.rng.integers(-9, 9, shape).astype(dtype)

    def add(self, results, values):
        for result, value in zip(jax.tree.leaves(results), jax.tree.leaves(values)):
            self.entries.append(Entry(result, value))

    def make(self, entry):
        if self.sources and self.rng.random() < 0.5:
            a = self.any(self.sources)
        else:
            a = self.values(self.any(self.SHAPES), self.any(self.DTYPES))
            self.sources.append(a)
        if self.rng.random() < 0.5:
            self.entries.append(Entry(self.any(self.OWN)(a), a.copy()))
        else:
            self.entries.append(Entry(self.any(self.SHARED)(a), a.copy(), a))

    def program(self, entry):
        value, f = entry.value(), self.any(self.pass_on)
        if len(value) > 1:
            self.add(f(entry.array), read_tree(f(value.copy())))

    def graph(self, entry):
        value = entry.value()
        if value.shape[-1] <= 4096:
            result = self.transform(entry.array)
            want = np.fft.fft(value.real.astype(np.float32)).real / value.shape[-1]
            np.testing.assert_allclose(result, want, atol=1e-4)
            self.add(result, read(result))

    def donate(self, entry):
        value, f = entry.value(), self.any(self.overwrite)
        if len(value) > 1:
            self.entries.remove(entry)
            self.add(f(entry.array), read_tree(f(jnp.array(value))))

    def place(self, entry):
        donate = bool(self.rng.integers(2))
        placed = jax.device_put(entry.array, self.mps, donate=donate, may_alias=None if donate else False)
        if donate:
            self.entries.remove(entry)
        made = Entry(placed, None, entry.source)
        made.values = list(entry.values)
        self.entries.append(made)

    def export(self, entry):
        value = entry.value()
        if self.mps.device_kind.startswith("NVIDIA"):  # whose memory the CPU cannot read
            self.views.append((np.asarray(entry.array), value))
            return
        if entry.source is None:
            as_memory = value.dtype in (np.float32, np.int8) and self.rng.integers(2)
            self.views.append((memoryview(entry.array) if as_memory else np.asarray(entry.array), value))
        address = (ctypes.c_uint8 * value.nbytes).from_address(entry.array.unsafe_buffer_pointer())
        assert bytes(address) == value.tobytes()

    def drop(self, entry):
        self.entries.remove(entry)
        if self.rng.integers(2):
            entry.array.delete()

    def refill(self, entry):
        a = self.any(self.sources)
        a[...] = self.values(a.shape, a.dtype)
        for entry in self.entries:
            if entry.source is a:
                entry.values.append(a.copy())

    def keep_busy(self, entry):
        self.work = busy(self.mps)

    def step(self):
        if not self.entries:
            self.make(None)
        kinds = (self.make, self.program, self.graph, self.donate, self.place, self.export, self.drop,
                 self.refill, self.keep_busy)
        kind = kinds[self.rng.choice(len(kinds), p=[0.18, 0.18, 0.08, 0.16, 0.08, 0.1, 0.07, 0.1, 0.05])]
        kind(self.any(self.entries))
        for things in (self.sources, self.views, self.entries):
            while len(things) > 8:
                things.pop(self.rng.integers(len(things)))
        for view, value in self.views:
            assert same(np.asarray(view), value)
        for entry in self.entries:
            entry.value()


@pytest.mark.filterwarnings("ignore:Some donated buffers", "ignore:.*[Cc]omplex")
def test_random_walk(mps):
    with jax.default_device(mps):
        walk = Walk(mps, seed=0)
        for _ in range(300):
            walk.step()


if __name__ == "__main__":  # test_ownership.py STEPS [SEED]: a long walk
    walk = Walk(jax.devices("mps")[0], int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for _ in range(int(sys.argv[1])):
        walk.step()
