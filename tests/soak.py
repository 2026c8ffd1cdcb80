#!/usr/bin/env python3
"""Uses one process for hours as people use it, and watches what the process holds.

  JAX_PLATFORMS=mps,cpu python tests/soak.py --hours 4

Activities (training, decoding, new programs, exceptions, …) are run in random order; each compares
all that it computes with NumPy or JAX's CPU backend. Every run of one has a seed of its own, so that
a wrong value is shown again with --replay ACTIVITY:SEED. Resident memory, memory that the C library
has handed out, memory in use on the device, descriptors and threads are sampled whenever all arrays
are dropped; the last half of the samples must not grow. With JAX_PLATFORMS=cpu the same runs on JAX's
own backend, for comparison: JAX itself keeps something of each program that it has not seen before.
The exit code is 1 if a value was wrong, an activity failed, or something grew.
"""

import argparse
import collections
import contextlib
import ctypes
import functools
import gc
import logging
import os
import pathlib
import re
import statistics
import sys
import threading
import time
import traceback
import warnings

os.environ.setdefault("JAX_PLATFORMS", "mps,cpu")
os.environ.setdefault("JAX_MPS_STRICT", "1")
warnings.filterwarnings("ignore", message="(?s).*(fork|donated)")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import lax  # noqa: E402
from jax.experimental import io_callback  # noqa: E402

DEVICE = jax.devices()[0]
ORACLE = jax.devices("cpu")[0]
ACTIVITIES = {}


class Wrong(Exception):
    """A value differs from the oracle's."""


def activity(f):
    ACTIVITIES[f.__name__] = f
    return f


def same(got, want, tolerance=0.0, what=""):
    """Compares; `tolerance` is relative to the largest value, 0 means every bit."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        raise Wrong(f"{what}: shape {got.shape}, not {want.shape}")
    scale = float(np.max(np.abs(want), initial=1e-3)) if tolerance else 0
    close = np.abs(got - want) <= tolerance * scale if tolerance else (got == want) | ((got != got) & (want != want))
    if not np.all(close):
        bad = np.argwhere(~close)[0]
        raise Wrong(f"{what}: {np.sum(~close)} of {close.size} differ, at {tuple(bad)} {got[tuple(bad)]} not {want[tuple(bad)]}")


def must_raise(pattern, f):
    logging.disable(logging.ERROR)  # JAX logs what a callback raised
    try:
        jax.block_until_ready(f())
    except Exception as error:
        if not re.search(pattern, str(error)):
            raise Wrong(f"the error lacks {pattern!r}: {error}") from error
        return
    finally:
        logging.disable(logging.NOTSET)
    raise Wrong(f"no error with {pattern!r}")


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def put(tree, device=DEVICE):
    return jax.device_put(tree, device)


# -- Training and decoding --------------------------------------------------------------------------


def _predict(parameters, x):
    for w, b in parameters[:-1]:
        x = jnp.tanh(x @ w + b)
        x = (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
    w, b = parameters[-1]
    return x @ w + b


@functools.partial(jax.jit, donate_argnums=0)
def _train_step(state, x, y):
    parameters, moments, step = state

    def loss(parameters):
        return -(jax.nn.log_softmax(_predict(parameters, x)) * jax.nn.one_hot(y, 10)).sum(-1).mean()

    value, gradient = jax.value_and_grad(loss)(parameters)
    moments = jax.tree.map(lambda m, g: 0.9 * m + g, moments, gradient)
    parameters = jax.tree.map(lambda p, m: p - 0.05 * m, parameters, moments)
    return (parameters, moments, step + 1), value


@activity
def training(rng):
    sizes = [32, 64, 64, 10]
    parameters = [(normal(rng, a, b) / np.sqrt(a), np.zeros(b, np.float32)) for a, b in zip(sizes, sizes[1:])]
    start = parameters, jax.tree.map(np.zeros_like, parameters), np.int32(0)
    states = [put(start), put(start, ORACLE)]
    batch = np.empty((48, 32), np.float32)  # one buffer for all batches, as loaders have it
    for _ in range(int(rng.integers(2, 6))):
        batch[:] = normal(rng, *batch.shape)
        labels = rng.integers(0, 10, len(batch))
        batches = jnp.array(batch), put(batch.copy(), ORACLE)
        results = [_train_step(s, b, put(labels, d)) for s, b, d in zip(states, batches, (DEVICE, ORACLE))]
        batch[:] = np.nan
        states = [state for state, _ in results]
        same(results[0][1], results[1][1], 1e-4, "loss")
    for got, want in zip(jax.tree.leaves(states[0]), jax.tree.leaves(states[1]), strict=True):
        same(got, want, 5e-4, "state")


def _attend(weights, caches, token, at):
    """One token of a two-layer transformer: logits and the caches with its keys and values."""
    x, new = weights["embed"][token], []
    for layer, (keys, values) in zip(weights["layers"], caches):
        q, k, v = jnp.split(x @ layer["qkv"], 3, -1)
        keys = lax.dynamic_update_slice(keys, k[None], (at, 0))
        values = lax.dynamic_update_slice(values, v[None], (at, 0))
        scores = jnp.where(jnp.arange(len(keys)) <= at, keys @ q / 4, -jnp.inf)
        x = x + jax.nn.softmax(scores) @ values
        x = x + jax.nn.gelu(x @ layer["up"]) @ layer["down"]
        new.append((keys, values))
    return x @ weights["embed"].T, new


@functools.partial(jax.jit, donate_argnums=1)
def _decode_step(weights, caches, token, at):
    logits, caches = _attend(weights, caches, token, at)
    return jnp.argmax(logits), logits, caches


@functools.partial(jax.jit, static_argnums=2, donate_argnums=1)
def _decode_all(weights, caches, count, token):
    def body(carry, at):
        caches, token = carry
        logits, caches = _attend(weights, caches, token, at)
        return (caches, jnp.argmax(logits)), logits

    return lax.scan(body, (caches, token), jnp.arange(count))[1]


@activity
def decoding(rng):
    width, length = 16, 24
    layer = lambda: {"qkv": normal(rng, width, 3 * width) / 4, "up": normal(rng, width, 32) / 4,
                     "down": normal(rng, 32, width) / 6}  # fmt: skip
    weights = {"embed": normal(rng, 50, width), "layers": [layer(), layer()]}
    caches = [(np.zeros((length, width), np.float32),) * 2 for _ in range(2)]
    first = np.int32(rng.integers(50))
    count = int(rng.integers(1, 3)) * 8
    want = np.asarray(_decode_all(put(weights, ORACLE), put(caches, ORACLE), count, put(first, ORACLE)))
    weights, device_caches, token = put(weights), put(caches), put(first)
    for at in range(count):
        token, logits, device_caches = _decode_step(weights, device_caches, token, at)
        same(logits, want[at], 1e-3, f"logits of token {at}")
    if rng.integers(2):
        same(_decode_all(weights, put(caches), count, put(first)), want, 1e-3, "scan over tokens")


# -- Programs -----------------------------------------------------------------------------------------

UNARY = [
    lambda n, x: n.tanh(x),
    lambda n, x: n.exp(-n.abs(x)),
    lambda n, x: n.sqrt(n.abs(x) + n.float32(0.25)),
    lambda n, x: x * n.float32(0.5) + n.float32(0.75),
    lambda n, x: n.where(x > 0, x, n.float32(0.1) * x),
    lambda n, x: n.flip(x, 0),
    lambda n, x: n.cumsum(x, 1) / n.float32(x.shape[1]),
    lambda n, x: n.sort(x, -1),
    lambda n, x: x - n.mean(x, 1, keepdims=True),
    lambda n, x: x / (n.float32(1) + n.max(n.abs(x), 0, keepdims=True)),
    lambda n, x: n.concatenate([x[:, 1:], x[:, :1]], 1),
    lambda n, x: n.matmul(x, n.transpose(x)) @ x / n.float32(x.size),
    lambda n, x: n.take(x, n.argsort(x[:, 0]), axis=0),
    lambda n, x: n.pad(x, ((0, 0), (1, 1)))[:, 1:-1],
]
BINARY = [
    lambda n, x, y: x + y,
    lambda n, x, y: x * y,
    lambda n, x, y: n.maximum(x, y) - n.minimum(x, y),
    lambda n, x, y: x / (n.float32(1) + n.abs(y)),
]


@activity
def new_programs(rng):
    """A program that was never compiled before: random ops, shapes and constants."""
    shape = tuple(map(int, rng.integers(2, 40, 2)))
    plan = [(int(rng.integers(len(UNARY))), int(rng.integers(len(BINARY))), np.float32(rng.normal())) for _ in range(int(rng.integers(2, 7)))]

    def program(n, x, y):
        for unary, binary, constant in plan:
            x, y = BINARY[binary](n, UNARY[unary](n, x), y), x * n.float32(0.5) + constant
        return x, n.sum(y, 0)

    x, y = normal(rng, *shape), normal(rng, *shape)
    got = jax.jit(functools.partial(program, jnp))(put(x), put(y))
    wide = lambda a: a.astype(np.float64)
    # Sorting by a key that rounding may tie or swap has no tolerance, so such programs are let go.
    with jax.default_device(ORACLE):
        want = jax.jit(functools.partial(program, jnp))(put(x, ORACLE), put(y, ORACLE))
    exact = program(np, wide(x), wide(y))
    for g, w, e in zip(got, want, exact):
        if np.max(np.abs(np.asarray(w) - e), initial=0) <= 1e-4 * np.max(np.abs(e), initial=1):
            same(g, e, 1e-3, f"program {plan}")


@functools.partial(jax.jit, static_argnums=2)
def _control(x, n, length):
    x = lax.fori_loop(0, n, lambda i, v: v * 0.5 + i, x)
    x = lax.while_loop(lambda v: v.sum() < 100, lambda v: v + 1.5, x)
    x = lax.cond(n % 2 == 0, lambda v: v * 2, lambda v: v - 1, x)
    x = lax.switch(n % 3, [jnp.negative, jnp.abs, lambda v: v + 3], x)
    return lax.scan(lambda c, i: (c + i, c.sum()), x, jnp.arange(length, dtype=x.dtype))


@activity
def control_flow(rng):
    x, n = normal(rng, int(rng.choice([3, 64, 500]))), np.int32(rng.integers(9))
    got, want = (_control(put(x, d), put(n, d), 7) for d in (DEVICE, ORACLE))
    same(got[0], want[0], 1e-5, "carry")
    same(got[1], want[1], 1e-4, "stack")


@jax.jit
def _library(x, index, values):
    square = x @ x.T + 8 * jnp.eye(len(x))
    return {
        "fft": jnp.fft.irfft(jnp.fft.rfft(x), x.shape[-1]),
        "cholesky": jnp.linalg.cholesky(square),
        "solve": jnp.linalg.solve(square, x),
        "gather": x[index],
        "scatter": x.at[index].add(values),
        "windows": lax.reduce_window(x, -jnp.inf, lax.max, (3, 3), (1, 2), "SAME"),
        "convolution": lax.conv_general_dilated(x[None, None], values[:3, :3][None, None], (1, 1), "SAME"),
        "top": lax.top_k(x, 3)[0],
        "bits": jax.random.bits(jax.random.key(index[0]), (33,)).astype(jnp.float32),
    }


@activity
def library(rng):
    x, index, values = normal(rng, 20, 24), rng.integers(0, 20, 15), normal(rng, 15, 24)
    got, want = (_library(*put((x, index, values), d)) for d in (DEVICE, ORACLE))
    for name in want:
        same(got[name], want[name], 0 if name == "bits" else 1e-4, name)


@activity
def sizes(rng):
    """Arrays from one element to 16 MiB, so that the pool of memory is used at every size."""
    count = int(2 ** rng.uniform(0, 22))
    x = normal(rng, count)
    views = put(x), put(x[::-1])
    same(_sum_and_flip(*views)[0], x + x[::-1], 0, "sum")
    same(_sum_and_flip(*views)[1], x[::-1], 0, "flip")


_sum_and_flip = jax.jit(lambda x, y: (x + y, x[::-1]))


# -- Exceptions and callbacks ------------------------------------------------------------------------

_add_one = jax.jit(lambda x: x + 1)


@activity
def exceptions(rng):
    x = put(normal(rng, 8))
    ffi = getattr(jax, "ffi", None)
    kind = int(rng.integers(5))
    if kind == 0 and ffi is not None:
        call = ffi.ffi_call("there_is_no_such_target", jax.ShapeDtypeStruct((8,), np.float32))
        must_raise("there_is_no_such_target", lambda: jax.jit(lambda v: call(v))(x))
    elif kind == 1:
        must_raise("incompatible shapes", lambda: jax.jit(lambda a, b: a + b)(x, put(normal(rng, 3))))
    elif kind == 2:
        gone = put(normal(rng, 8))
        gone.delete()
        must_raise("deleted|donated", lambda: _add_one(gone))
    elif kind == 3:

        def fail(v):
            raise ValueError("failed on purpose")

        shape = jax.ShapeDtypeStruct((8,), np.float32)
        failing = jax.jit(lambda v: jax.pure_callback(fail, shape, v) * 2)
        must_raise("failed on purpose", lambda: _add_one(failing(x)))
        # JAX waits for the last program with callbacks again and again; that shall not be the failed one.
        same(_calls(x, 1)[0], np.sort(np.asarray(x)), 0, "callback after one that failed")
    else:
        donating = jax.jit(lambda v: v * 2, donate_argnums=0)
        given = put(normal(rng, 8))
        donating(given)
        must_raise("deleted|donated", lambda: _add_one(given))
    y = normal(rng, 8)
    same(_add_one(put(y)), y + 1, 0, "after the error")


_seen = []
_host_sort = lambda a: np.sort(np.asarray(a))


@jax.jit
def _calls(x, n):
    sorted_ = jax.pure_callback(_host_sort, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    def body(i, v):
        io_callback(lambda j: _seen.append(int(j)), None, i, ordered=True)
        return v + 1

    x = lax.fori_loop(0, n, body, x)
    jax.debug.callback(lambda s: _seen.append(float(s)), x[0])
    return sorted_, x


@activity
def callbacks(rng):
    x, n = normal(rng, 33), int(rng.integers(1, 6))
    _seen.clear()
    got = _calls(put(x), n)
    same(got[0], np.sort(x), 0, "sorted by the host")
    want = x
    for _ in range(n):
        want = want + np.float32(1)
    same(got[1], want, 0, "loop")
    jax.effects_barrier()
    if sorted(_seen) != sorted([*range(n), float(want[0])]):
        raise Wrong(f"callbacks saw {_seen}")


# -- Ownership ------------------------------------------------------------------------------------------

_double = jax.jit(lambda x: x * 2, donate_argnums=0)
_identity = jax.jit(lambda x: x)


@activity
def donation(rng):
    """The caller's memory is the caller's, whatever is donated."""
    host = normal(rng, int(rng.choice([5, 1000, 40_000])))
    kept = host.copy()
    x = put(host)
    y = _identity(x)
    z = jnp.array(host)
    view = np.asarray(y)
    doubled = jax.block_until_ready([_double(a) for a in (x, z)])
    same(host, kept, 0, "NumPy array whose copy was donated")
    host[:] = 7
    for d in doubled:
        same(d, kept * 2, 0, "donated")
    same(y, kept, 0, "result of identity")
    same(view, kept, 0, "view")


_slow = jax.jit(lambda x: lax.fori_loop(0, 20, lambda i, v: jnp.tanh(v @ v), x))


@activity
def deletion(rng):
    """Arrays die in every state: pending, shared, half read."""
    x = put(normal(rng, 64, 64) / 8)
    pending = [_slow(x) for _ in range(3)]
    rest = _add_one(pending[2])
    pending[0].delete()
    copy = pending[1].copy_to_host_async()
    del pending, copy
    same(rest, _add_one(_slow(x)), 0, "array whose operand died")
    gone = put(normal(rng, 9))
    data = gone.addressable_data(0)
    gone.delete()
    with contextlib.suppress(RuntimeError):
        np.asarray(data)


@activity
def threads(rng):
    x = normal(rng, 48, 48) / 7
    want = np.asarray(_slow(put(x)))
    errors, constants = [], rng.normal(size=4).astype(np.float32)

    def work(number):
        try:
            for _ in range(4):
                same(_slow(put(x)), want, 0, f"thread {number}")
                same(_double(put(x)), x * 2, 0, f"donation in thread {number}")
            same(jax.jit(lambda v: v + constants[number])(put(x)), x + constants[number], 0, "compiled in a thread")
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]


@activity
def forks(rng):
    """The child of a fork runs what was compiled before; the parent goes on."""
    if DEVICE.platform != "mps" or DEVICE.device_kind != "cpu":
        return
    x = normal(rng, 40, 40) / 6
    on_device = put(x)
    want = np.asarray(_slow(on_device)), np.asarray(_add_one(on_device))
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            same(_slow(on_device), want[0], 0, "child")
            same(_add_one(put(x)), want[1], 0, "child")
            code = 0
        os._exit(code)
    deadline = time.monotonic() + 60
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise Wrong("the child of a fork hangs")
        time.sleep(0.002)
    status = os.waitpid(child, 0)[1]
    if status:
        raise Wrong(f"the child of a fork ended with status {status}")
    same(_slow(on_device), want[0], 0, "parent after a fork")


# -- The process ------------------------------------------------------------------------------------------

Sample = collections.namedtuple("Sample", "seconds resident allocated device descriptors threads")
# What noise the medians of two quarters may differ by. Allocators and JAX's caches move resident
# memory by some MiB in either direction.
NOISE = Sample(None, 24 * 2**20, 24 * 2**20, 4096, 1, 1)


class MallInfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]  # fmt: skip


def allocated_bytes() -> int:
    """What glibc's malloc has handed out, of its arenas and as mappings; 0 with another C library."""
    info = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if info is None:
        return 0
    info.restype = MallInfo
    now = info()
    return now.uordblks + now.hblkhd


def sample(start) -> Sample:
    """What the process holds once everything that can be dropped is."""
    jax.clear_caches()
    gc.collect()
    jax.effects_barrier()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # NumPy's freed arrays, which the C library keeps
    status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    stats = DEVICE.memory_stats() or {}
    # Less what the device keeps for reuse on purpose, up to a limit.
    resident = int(status["VmRSS"].split()[0]) * 1024 - stats.get("pool_bytes", 0)
    in_use = stats.get("bytes_in_use", 0)
    allocated = max(0, allocated_bytes() - stats.get("pool_bytes", 0) - in_use)
    return Sample(time.monotonic() - start, resident, allocated, in_use, len(os.listdir("/proc/self/fd")), int(status["Threads"]))


def growth(samples) -> dict[str, tuple[float, float]]:
    """By resource: how much the last quarter's median is above the second's, and that per hour."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    if len(samples) < 8:
        return {}
    middle = lambda part, field: statistics.median(getattr(s, field) for s in part)
    hours = (middle(late, "seconds") - middle(early, "seconds")) / 3600
    found = {}
    for field in Sample._fields[1:]:
        more = middle(late, field) - middle(early, field)
        found[field] = more, more / hours
    return found


def mib(number) -> str:
    return f"{number / 2**20:.1f} MiB"


def run_one(name, seed, times, failures) -> None:
    start = time.monotonic()
    try:
        ACTIVITIES[name](np.random.default_rng(seed))
    except Exception as error:
        kind = "wrong" if isinstance(error, Wrong) else "failed"
        failures[kind, name] += 1
        print(f"{kind.upper()} {name}:{seed}", flush=True)
        traceback.print_exc()
    times[name].append(time.monotonic() - start)


def report(samples, times, failures) -> int:
    print(f"\n{'activity':16} {'runs':>8} {'wrong':>6} {'failed':>7} {'ms each':>9}")
    for name in ACTIVITIES:
        each = 1000 * statistics.fmean(times[name]) if times[name] else 0
        bad = failures["wrong", name], failures["failed", name]
        print(f"{name:16} {len(times[name]):8} {bad[0]:6} {bad[1]:7} {each:9.1f}")
    grown = growth(samples)
    print(f"\n{'held':16} {'at first':>12} {'at last':>12} {'most':>12} {'growth/hour':>14}")
    leaks = []
    for field in Sample._fields[1:]:
        show = mib if field in ("resident", "allocated", "device") else str
        values = [getattr(s, field) for s in samples]
        more, rate = grown.get(field, (0, 0))
        if more > getattr(NOISE, field):
            leaks.append(field)
        rate = mib(rate) if show is mib else f"{rate:.1f}"
        print(f"{field:16} {show(values[0]):>12} {show(values[-1]):>12} {show(max(values)):>12} {rate if grown else '-':>14}"
              f"{'  GROWS' if field in leaks else ''}")  # fmt: skip
    runs, wrong = sum(map(len, times.values())), sum(failures["wrong", name] for name in ACTIVITIES)
    print(f"\n{runs} runs in {samples[-1].seconds / 3600:.2f} hours on {DEVICE.platform} {DEVICE.device_kind}, "
          f"JAX {jax.__version__}: {wrong} wrong, {failures.total() - wrong} failed, "
          f"{'grows: ' + ', '.join(leaks) if leaks else 'nothing grows' if grown else 'too short to judge growth'}")  # fmt: skip
    return 1 if failures.total() or leaks else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=0)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--only", help="comma-separated activities")
    parser.add_argument("--seed", type=int, default=0, help="seed of the whole run")
    parser.add_argument("--samples", type=int, default=200, help="how many samples are taken")
    parser.add_argument("--replay", metavar="ACTIVITY:SEED", help="one run of one activity")
    options = parser.parse_args()
    times, failures = collections.defaultdict(list), collections.Counter()
    if options.replay:
        name, seed = options.replay.split(":")
        run_one(name, int(seed), times, failures)
        return 1 if failures.total() else 0
    seconds = options.hours * 3600 + options.minutes * 60 or 60
    chosen = options.only.split(",") if options.only else list(ACTIVITIES)
    chooser = np.random.default_rng(options.seed)
    start = time.monotonic()
    for number, name in enumerate(chosen):  # the warm-up: everything once
        run_one(name, number, times, failures)
    samples, seed = [sample(start)], options.seed * 1_000_000_007 + len(chosen)
    while time.monotonic() - start < seconds:
        seed += 1
        run_one(chosen[chooser.integers(len(chosen))], seed, times, failures)
        if time.monotonic() - start > len(samples) * seconds / options.samples:
            now = sample(start)
            samples.append(now)
            print(f"{now.seconds / 60:7.1f} min  {sum(map(len, times.values())):8} runs  {failures.total()} bad  "
                  f"resident {mib(now.resident)}  allocated {mib(now.allocated)}  device {mib(now.device)}  "
                  f"{now.descriptors} descriptors  {now.threads} threads", flush=True)  # fmt: skip
    samples.append(sample(start))
    return report(samples, times, failures)


if __name__ == "__main__":
    sys.exit(main())
