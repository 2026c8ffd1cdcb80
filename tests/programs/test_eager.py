"""Sessions as at a prompt: op by op, results handed from call to call; the same as on JAX's CPU backend."""

import copy
import operator
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

X = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
SQUARE = np.random.default_rng(1).standard_normal((5, 5)).astype(np.float32)


def transforms():
    x = jnp.asarray(X)
    spectrum = jnp.fft.rfft(x)
    yield spectrum
    yield jnp.fft.irfft(spectrum, n=8)
    yield jnp.fft.irfft(spectrum.at[:, 3:].set(0), n=8)
    yield jnp.fft.ifft(jnp.fft.fft(x)).real
    yield jnp.fft.irfft2(jnp.fft.rfft2(x), s=(6, 8))
    yield jnp.fft.fftshift(jnp.fft.fftn(x))
    yield jnp.abs(jnp.fft.fft(x, axis=0)) ** 2
    yield jnp.fft.hfft(jnp.fft.ihfft(x))
    yield jnp.fft.fftfreq(9), jnp.fft.rfftfreq(8, 0.5)
    yield jnp.array(jnp.fft.fft(x)), jnp.fft.fft(x).T, jnp.fft.fft(x)[1], jnp.fft.fft(x).reshape(-1)
    yield [row for row in jnp.fft.fft(x)]


def linear_algebra():
    a = jnp.asarray(SQUARE)
    spd = a @ a.T + 5 * jnp.eye(5)
    factor = jnp.linalg.cholesky(spd)
    yield factor, factor @ factor.T - spd
    yield jnp.linalg.solve(spd, a), jnp.linalg.inv(spd) @ spd
    yield jnp.linalg.det(a), jnp.linalg.slogdet(spd)
    yield jnp.linalg.eigvalsh(spd), jnp.linalg.svd(a, compute_uv=False)
    q, r = jnp.linalg.qr(a)
    yield q @ r, q.T @ q
    values, vectors = jnp.linalg.eigh(spd)
    yield vectors @ jnp.diag(values) @ vectors.T
    yield jnp.linalg.norm(a), jnp.linalg.norm(a, axis=0), jnp.linalg.matrix_power(a, 3)
    yield jnp.linalg.lstsq(a, a[:, 0])[0], jnp.linalg.pinv(spd)
    yield jax.scipy.linalg.solve_triangular(factor, a, lower=True), jnp.trace(a), jnp.kron(a[:2, :2], a)


def indexing():
    x = jnp.asarray(X)
    order = jnp.argsort(x[0])
    yield order, x[:, order], jnp.sort(x, axis=0), x[0][order[::-1]]
    yield jnp.take_along_axis(x, jnp.argsort(x, axis=1), axis=1)
    yield x[x > 0], jnp.nonzero(x[1] > 0), jnp.where(x > 0, x, 0), jnp.unique((x * 2).astype(int))
    y = x.at[2].set(0).at[:, -1].add(5).at[::2, 1:4].multiply(-1).at[jnp.array([0, 0, 1])].add(1)
    yield y, x, y.at[0, 0].get(), y[1, ::-1], y[..., None].shape[0], x[-1, -1]
    yield jnp.searchsorted(jnp.sort(x[0]), x[1]), jnp.concatenate([x, y])[3:8], jnp.split(x, 2)
    yield lax.dynamic_slice(x, (jnp.argmax(x[:, 0]), 2), (2, 3)), lax.top_k(x, 3)
    yield jnp.stack([x[i] for i in range(3)]), jnp.roll(x, 3), jnp.flip(x).T, jnp.pad(x, 1)[0]


def randomness():
    key = jax.random.PRNGKey(7)
    for _ in range(3):
        key, one, other = jax.random.split(key, 3)
        yield jax.random.normal(one, (4,)), jax.random.uniform(other, (3,), minval=-1)
    yield key, jax.random.permutation(key, 9), jax.random.randint(key, (4,), 0, 100)
    yield jax.random.choice(key, jnp.asarray(X)[0], (3,)), jax.random.bernoulli(key, 0.5, (9,))
    fresh = jax.random.key(3)
    yield jax.random.key_data(jax.random.fold_in(fresh, 5)), jax.random.bits(fresh, (3,))


def scans():
    carry, rows = lax.scan(lambda c, row: (c + row, c * row), jnp.zeros(8), jnp.asarray(X))
    yield carry, rows, rows[2], rows.T[1], carry + rows[-1], rows.sum(0)
    for row in rows:
        yield row.max(), row[3]
    yield lax.fori_loop(0, 4, lambda i, v: v.at[i].set(i), carry)[1:3], jnp.cumsum(rows, 1)[:, -1]


def complex_numbers():
    z = jnp.asarray(X) + 1j * jnp.asarray(X)[::-1]
    w = z * z.conj() - 2j * z
    yield z, w, w / z, w.real, w.imag, jnp.abs(w), jnp.angle(w), jnp.exp(1j * jnp.angle(z)), z.sum(), z @ w.T
    yield jnp.sqrt(z), z**2, jnp.conj(z).T[1], jnp.where(jnp.abs(z) > 1, z, 0), complex(z[0, 0])
    yield z.at[0].set(1j), lax.complex(w.imag, w.real)[::2], z == z, jnp.asarray([1j, 2, 3 - 1j]) * z[0, 0]


def parts_of_gone_arrays():
    step = jax.jit(lambda a: a * 2, donate_argnums=0)
    for end in (lambda a: a.delete(), step):
        base = jnp.asarray(np.arange(40000, dtype=np.float32).reshape(200, 200)) + 1
        row, block, flat, whole = base[3], base[50:150], base.reshape(-1), base[:]
        viewed = np.asarray(base[4:9])
        end(base) if whole is not base else None
        yield row, block, flat, viewed, row + block[7], flat[-1]


def loops_with_donation():
    step = jax.jit(lambda s, x: {"w": s["w"] * 0.9 + x, "n": s["n"] + 1}, donate_argnums=0)
    state = {"w": jnp.zeros((300, 100)), "n": jnp.int32(0)}
    seen, kept = [], []
    for i in range(6):
        state = step(state, jnp.full((300, 100), float(i)))
        seen.append(float(state["w"][5, 5]))
        kept.append(state["w"][i])  # a part of what the next call donates
    yield state, seen, kept, int(state["n"])


def scalars():
    x = jnp.asarray(X)
    yield float(x[0, 0]), int(jnp.int32(7)), bool(x[0, 0] > 0), bool(jnp.any(x > 9)), len(x), x.item(3)
    yield operator.index(jnp.int32(3)), list(range(10))[jnp.int32(4)], [1, 2, 3][jnp.argmax(x[0]) % 3]
    yield [float(v) for v in x[0]], [r.shape for r in x], x.tolist(), jnp.float32(2).item(), max(x[0])
    yield x.shape, x.ndim, x.size, x.nbytes, str(x.dtype), round(float(x.sum()), 3), x[0, 2] in x[0]
    total = 0
    for i, row in enumerate(x):
        total = total + i * row.sum()
    yield total, divmod(jnp.int32(17), 5), -x[0], abs(x[0]), x[0] // 0.5, x[0] % 0.5, ~(x[0] > 0), 2 ** x[0]


def copies():
    x = jnp.asarray(X) + 1
    for same in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.copy(), jnp.array(x)):
        yield same, same + x
    tree = {"a": x, "b": [x[0], jnp.asarray(X[1]).astype(jnp.bfloat16)]}
    again = pickle.loads(pickle.dumps(tree))
    twin = copy.deepcopy(tree)
    x.delete()
    yield again, twin, jax.tree.map(lambda a: a * 2, again)


def printing():
    x = jnp.asarray(X)
    for a in (x, x[0] > 0, x.astype(jnp.bfloat16), (x * 9).astype(jnp.int8), x[0, 0], jnp.zeros((0, 3)), x[:2] + 1j):
        yield repr(a), str(a)
    yield f"{x[0, 0]:.3f} {jnp.int32(7):4d}", repr(jnp.arange(2000)), repr({"a": x[1]})


def numpy_functions():
    x = jnp.asarray(X)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_allclose(x + 1, X + 1, rtol=1e-6)
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(x, X + 1)
    yield np.sum(x), np.mean(x, axis=0), np.sqrt(np.abs(x)), np.concatenate([x, X]), np.dot(X.T, x)
    yield np.array(x) * 2, X + x, np.asarray(x, np.float64), np.asarray(x[::2]).strides, np.linalg.norm(x)
    yield np.asarray(memoryview(x)), np.frombuffer(x[0], np.float32), np.shape(x), np.array_equal(x, X)
    yield bytes(memoryview(jnp.arange(4))), np.float32(3) * x, [np.asarray(s.data) for s in x.addressable_shards]


SESSIONS = [
    transforms,
    linear_algebra,
    indexing,
    randomness,
    scans,
    complex_numbers,
    parts_of_gone_arrays,
    loops_with_donation,
    scalars,
    copies,
    printing,
    numpy_functions,
]


def run(session, device):
    with jax.default_device(device):
        return [jax.tree.map(lambda v: np.asarray(v) if isinstance(v, jax.Array) else v, y) for y in session()]


@pytest.mark.parametrize("session", SESSIONS, ids=lambda s: s.__name__)
def test_session(session, mps, cpu):
    got, want = run(session, mps), run(session, cpu)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        assert type(g) is type(w)
        if isinstance(w, (str, bytes, bool, int)):
            assert g == w
            continue
        assert np.shape(g) == np.shape(w)
        if isinstance(w, np.ndarray):
            assert g.dtype == w.dtype
            if not jnp.issubdtype(w.dtype, jnp.inexact):
                np.testing.assert_array_equal(g, w)
                continue
        wide = np.complex128 if np.iscomplexobj(w) else np.float64
        np.testing.assert_allclose(np.asarray(g, wide), np.asarray(w, wide), rtol=2e-4, atol=2e-4)


def set_item(x):
    x[0] = 1


def add_in_place(x):
    a = np.asarray(x)
    a += 1


def write_through_buffer(x):
    np.asarray(memoryview(x))[0] = 1


def write_addressable(x):
    np.asarray(x.addressable_data(0))[0] = 1


WRITES = {
    "item": set_item,
    "item of a view": lambda x: operator.setitem(np.asarray(x), 0, 1),
    "in place": add_in_place,
    "out": lambda x: np.add(x, 1, out=x),
    "out, a view": lambda x: np.add(x, 1, out=np.asarray(x)),
    "sort": lambda x: np.asarray(x).sort(),
    "fill": lambda x: np.asarray(x).fill(0),
    "buffer": write_through_buffer,
    "addressable data": write_addressable,
    "writable again": lambda x: np.asarray(x).setflags(write=True),
    "copyto": lambda x: np.copyto(np.asarray(x), 0),
    "shuffle": lambda x: np.random.default_rng(0).shuffle(np.asarray(x)),
    "resize": lambda x: np.asarray(x).resize(3),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_writes_are_refused(write, mps, cpu):
    errors = []
    for device in (mps, cpu):
        x = jax.device_put(np.arange(5, dtype=np.float32), device) + 0
        with pytest.raises((TypeError, ValueError)) as caught:
            write(x)
        errors.append((caught.type, str(caught.value)))
        np.testing.assert_array_equal(x, np.arange(5, dtype=np.float32))
    assert errors[0] == errors[1]


READS = {
    "asarray": np.asarray,
    "float": lambda x: float(x[0]),
    "iteration": list,
    "print": repr,
    "memoryview": memoryview,
    "shard": lambda x: x.addressable_data(0),
    "add": lambda x: x + 1,
    "copy": copy.deepcopy,
    "pickle": pickle.dumps,
    "wait": jax.block_until_ready,
    "move": lambda x: jax.device_put(x, jax.devices("cpu")[0]),
    "host copy": lambda x: x.copy_to_host_async(),
    "pointer": lambda x: x.unsafe_buffer_pointer(),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("end", [lambda x: x.delete(), jax.jit(lambda x: x + 1, donate_argnums=0)], ids=["deleted", "donated"])
def test_what_is_gone_is_not_read(read, end, mps, cpu):
    outcomes = []
    for device in (mps, cpu):
        x = jax.device_put(np.arange(3.0), device) + 0
        end(x)
        try:
            outcomes.append(type(read(x)))
        except Exception as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]


def test_dlpack(mps, cpu):
    x = jax.device_put(X, mps) + 1
    there = x if mps.device_kind == "cpu" else jax.device_put(x, cpu)
    view = np.from_dlpack(there)
    again = view.copy()
    # Neither deleted nor donated memory is gone or overwritten while somebody looks at it.
    jax.jit(lambda x: x * 0, donate_argnums=0)(there).block_until_ready()
    x.delete()
    np.testing.assert_array_equal(view, again)
    np.testing.assert_array_equal(view, X + 1)
    source = np.arange(40000, dtype=np.float32)
    taken = jax.device_put(jnp.from_dlpack(source), mps)
    twice = taken * 2
    np.testing.assert_array_equal(twice, np.arange(40000, dtype=np.float32) * 2)


def test_dlpack_types_and_requests(mps):
    if mps.device_kind != "cpu":
        pytest.skip("exports of a GPU's memory")
    for dtype in "bool int8 uint16 int32 float16 float32 complex64".split():
        x = jax.device_put(np.array([[0, 1, 2], [3, 4, 5]], dtype), mps)
        view = np.from_dlpack(x)
        assert view.dtype == dtype and view.shape == (2, 3)
        np.testing.assert_array_equal(view, np.asarray(x))
    x = jax.device_put(jnp.ones(3, jnp.bfloat16), mps)
    assert type(x.__dlpack__()).__name__ == "PyCapsule"  # never taken, and dropped here
    with pytest.raises(BufferError, match="float8"):
        jax.device_put(jnp.ones(3, jnp.float8_e4m3fn), mps).__dlpack__()
    assert tuple(map(int, x.__dlpack_device__())) == (1, 0)
    with pytest.raises(BufferError, match="cannot be exported"):
        x.__dlpack__(dl_device=(2, 0))


def test_results_have_memory_of_their_own(mps):
    """As on JAX's own backends: nobody sees an address twice, unless the argument was donated."""
    for value in (X, np.float32(3), np.ones(300_000, np.int8)):
        x = jax.device_put(value, mps)
        results = jax.jit(lambda x: (x, x, x + 1, jnp.ones(3)))(x)
        once_more = jax.jit(lambda x: (x, x, x + 1, jnp.ones(3)))(x)
        arrays = [x, *results, *once_more, jnp.array(x, copy=True)]
        assert len({a.unsafe_buffer_pointer() for a in arrays}) == len(arrays)
        for same in (*results[:2], arrays[-1]):
            np.testing.assert_array_equal(same, value)
    y = jax.device_put(X, mps) + 1
    address = y.unsafe_buffer_pointer()
    assert jax.jit(lambda y: (y, y * 2), donate_argnums=0)(y)[0].unsafe_buffer_pointer() == address


def test_reading_an_array_leaves_it_to_the_programs_that_run_on_it(mps):
    """MLX for CUDA would free the memory under them when the CPU looks."""
    with jax.default_device(mps):
        make = jax.jit(lambda s: jnp.broadcast_to(s, (512, 512)) + jnp.arange(512, dtype=jnp.float32))
        last = jax.jit(lambda x: lax.fori_loop(0, 30, lambda i, y: y @ jnp.eye(512) + 1, jnp.zeros_like(x)) + x)
        want = 30 + np.broadcast_to(np.arange(512, dtype=np.float32), (512, 512))
        for s in range(6):
            x = make(float(s))
            jax.block_until_ready(x)
            pending = last(x)
            np.testing.assert_array_equal(np.asarray(x), want - 30 + s)
            others = [make(float(-i)) for i in range(4)]
            np.testing.assert_array_equal(np.asarray(pending), want + s)
            del others
