"""The workloads of the benchmark table, one function each.

A workload is called in a fresh process with a JAX platform chosen, builds its program, and returns
a `Workload`: `run(n)` executes it n times, ends by reading a value back from the device, and returns
that value for the comparison between platforms. `amount` is what one execution does, in `unit`.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

WORKLOADS: dict[str, Callable[[], "Workload"]] = {}  # of the CPU table
GPU_WORKLOADS: dict[str, Callable[[], "Workload"]] = {}


@dataclasses.dataclass
class Workload:
    """`run(n) -> np.ndarray`; times are reported per `per`, rates in `unit` if `amount` is set."""

    run: Callable[[int], np.ndarray]
    per: str = "call"
    divide: float = 1.0  # executions of `per` in one call
    amount: float = 0.0  # work of one call, in units of `unit` times seconds
    unit: str = ""
    tolerance: float = 1e-3  # relative, against the other platform's value


def workload(function):
    WORKLOADS[function.__name__] = function
    return function


def gpu_workload(function):
    GPU_WORKLOADS[function.__name__] = function
    return function


def repeated(function, *args, keep=lambda out: out):
    """Runs function(*args) n times; the last output is read back."""
    compiled = jax.jit(function)

    def run(n):
        out = None
        for _ in range(n):
            out = compiled(*args)
        return np.asarray(keep(out), dtype=np.float64)

    return run


def chained(function, start, keep=lambda state: state, donate=True):
    """state = function(state), n times, starting anew at each run."""
    compiled = jax.jit(function, donate_argnums=0 if donate else ())

    def run(n):
        state = jax.tree.map(jnp.array, start)
        for _ in range(n):
            state = compiled(state)
        return np.asarray(keep(state), dtype=np.float64)

    return run


def uniform(shape, seed=0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype))


def resnet_step(batch):
    """A train step of the example's ResNet-18, and its arguments; it returns parameters and loss."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "resnet"))
    import optax
    from flax import nnx
    from model import ResNet18

    model = ResNet18(10, rngs=nnx.Rngs(0))
    graph, params, statistics = nnx.split(model, nnx.Param, ...)
    images = uniform((batch, 32, 32, 3))
    labels = jnp.arange(batch) % 10

    def step(params, statistics, images, labels):
        def loss(params):
            # Copies, because the model may only change what belongs to the innermost trace.
            own = jax.tree.map(jnp.asarray, statistics)
            logits = nnx.merge(graph, params, own)(images)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, gradients = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradients), value

    return step, (params, jax.tree.map(jnp.asarray, statistics), images, labels)


def _resnet(batch):
    step, (params, *rest) = resnet_step(batch)
    step = jax.jit(step)

    def run(n):
        current, value = params, None
        for _ in range(n):
            current, value = step(current, *rest)
        return np.asarray(value, dtype=np.float64)

    return Workload(run, per="step", tolerance=2e-2)


@workload
def resnet18_train_step():
    return _resnet(32)


@gpu_workload
def resnet18_train_step_256():
    return _resnet(256)


def _gpt_params(layers, width, vocabulary, length):
    rng = np.random.default_rng(0)

    def w(*shape):
        return jnp.asarray(rng.normal(0, 0.02, shape).astype(np.float32))

    block = lambda: {
        "ln1": jnp.ones(width), "ln2": jnp.ones(width),
        "qkv": w(width, 3 * width), "out": w(width, width),
        "up": w(width, 4 * width), "down": w(4 * width, width),
    }
    return {"wte": w(vocabulary, width), "wpe": w(length, width),
            "blocks": [block() for _ in range(layers)], "ln": jnp.ones(width)}


def _norm(x, scale):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * scale


def _gpt_forward(params, tokens, heads):
    batch, length = tokens.shape
    x = params["wte"][tokens] + params["wpe"][:length]
    mask = jnp.tril(jnp.ones((length, length), bool))
    for block in params["blocks"]:
        h = _norm(x, block["ln1"]) @ block["qkv"]
        q, k, v = (
            t.reshape(batch, length, heads, -1).transpose(0, 2, 1, 3) for t in jnp.split(h, 3, -1)
        )
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1])
        scores = jax.nn.softmax(jnp.where(mask, scores, -1e9), -1)
        x = x + (scores @ v).transpose(0, 2, 1, 3).reshape(x.shape) @ block["out"]
        x = x + jax.nn.gelu(_norm(x, block["ln2"]) @ block["up"]) @ block["down"]
    return _norm(x, params["ln"]) @ params["wte"].T


@workload
def gpt_train_step():
    params = _gpt_params(layers=2, width=128, vocabulary=256, length=64)
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, 256, (4, 64)))

    def step(params):
        def loss(params):
            logits = _gpt_forward(params, tokens, heads=4)
            picked = jnp.take_along_axis(
                jax.nn.log_softmax(logits[:, :-1]), tokens[:, 1:, None], axis=-1
            )
            return -picked.mean()

        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    return Workload(chained(step, params, keep=lambda p: p["wte"].sum()), per="step")


@gpu_workload
def gpt2_small_train_step_bf16():
    params = _gpt_params(layers=12, width=768, vocabulary=50304, length=1024)
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, 50304, (8, 1024)))

    def step(params):
        def loss(params):
            half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
            logits = _gpt_forward(half, tokens, heads=12).astype(jnp.float32)
            picked = jnp.take_along_axis(
                jax.nn.log_softmax(logits[:, :-1]), tokens[:, 1:, None], axis=-1
            )
            return -picked.mean()

        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    return Workload(chained(step, params, keep=lambda p: p["wpe"][:64]), per="step", tolerance=5e-2)


@gpu_workload
@workload
def tiny_call_chained():
    return Workload(chained(lambda x: x * 0.5 + 1.0, jnp.ones(8), donate=False))


@gpu_workload
@workload
def forty_small_ops():
    def f(x):
        for i in range(20):
            x = jnp.sin(x) * (1.0 + 0.01 * i)
        return x

    return Workload(chained(f, jnp.ones(16), donate=False))


@gpu_workload
@workload
def lstm_scan():
    batch, width, length = 32, 256, 64
    wx, wh = uniform((width, 4 * width), 1) * 0.05, uniform((width, 4 * width), 2) * 0.05
    xs = uniform((length, batch, width), 3)

    def f(xs):
        def cell(carry, x):
            h, c = carry
            i, g, o, u = jnp.split(x @ wx + h @ wh, 4, -1)
            c = jax.nn.sigmoid(g) * c + jax.nn.sigmoid(i) * jnp.tanh(u)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((batch, width))
        return lax.scan(cell, (zero, zero), xs)[1]

    return Workload(repeated(f, xs, keep=lambda out: out.sum()), per="step", divide=length)


def _while_loop(start):
    count = 10_000

    def f(x):
        return lax.while_loop(
            lambda s: s[0] < count, lambda s: (s[0] + 1, s[1] * 0.999 + 0.001), (0, x)
        )[1]

    return Workload(repeated(f, start), per="iteration", divide=count)


@gpu_workload
@workload
def while_loop_scalar():
    return _while_loop(jnp.float32(2.0))


@workload
def while_loop_small_vector():
    return _while_loop(jnp.full(64, 2.0, jnp.float32))


@workload
def while_loop_1k_vector():
    def f(x):
        return lax.while_loop(
            lambda s: jnp.sum(s[1] * s[1]) > 1e-3, lambda s: (s[0] + 1, s[1] * 0.999), (0, x)
        )

    start = jnp.full(1024, 2.0, jnp.float32)
    trips = int(jax.jit(f)(start)[0])
    return Workload(repeated(f, start, keep=lambda s: s[1]), per="iteration", divide=trips)


def _decode(layers, width, heads, length, vocabulary):
    params = _gpt_params(layers, width, vocabulary, length)
    shape = (layers, 2, heads, length, width // heads)

    def step(state):
        cache, position, token = state
        x = params["wte"][token] + params["wpe"][position]
        for i, block in enumerate(params["blocks"]):
            q, k, v = jnp.split(_norm(x, block["ln1"]) @ block["qkv"], 3)
            kv = jnp.stack([k, v]).reshape(2, heads, 1, -1)
            cache = lax.dynamic_update_slice(cache, kv[None], (i, 0, 0, position, 0))
            scores = jnp.einsum("hd,hld->hl", q.reshape(heads, -1), cache[i, 0])
            scores = jnp.where(jnp.arange(length) <= position, scores / 8.0, -1e9)
            x = x + jnp.einsum("hl,hld->hd", jax.nn.softmax(scores), cache[i, 1]).ravel() @ block["out"]
            x = x + jax.nn.gelu(_norm(x, block["ln2"]) @ block["up"]) @ block["down"]
        logits = _norm(x, params["ln"]) @ params["wte"].T
        return cache, (position + 1) % length, jnp.argmax(logits).astype(jnp.int32)

    start = (jnp.zeros(shape), jnp.int32(0), jnp.int32(1))
    return Workload(chained(step, start, keep=lambda s: s[0].sum()), per="token")


@workload
def decode_token():
    return _decode(2, 256, 4, 256, 1024)


@gpu_workload
def decode_token_gpt2_small():
    return _decode(12, 768, 12, 1024, 50304)


def _matmul(dtype, n=1024):
    a, b = uniform((n, n), 1).astype(dtype), uniform((n, n), 2).astype(dtype)
    return Workload(
        repeated(lambda a, b: a @ b, a, b, keep=lambda out: out[:8, :8].astype(jnp.float32)),
        amount=2 * n**3 / 1e9, unit="GFLOP/s", tolerance=2e-2,
    )


@workload
def matmul_f32_1024():
    return _matmul(jnp.float32)


@workload
def matmul_bf16_1024():
    return _matmul(jnp.bfloat16)


@gpu_workload
def matmul_bf16_8192():
    return _matmul(jnp.bfloat16, 8192)


def _elementwise(n):
    x = uniform((n,))
    return Workload(
        repeated(lambda x: jnp.tanh(x) * x + jnp.exp(-x * x), x, keep=lambda out: out[:1000]),
        amount=n * 8e-9, unit="GB/s",
    )


@workload
def elementwise_1m():
    return _elementwise(1_000_000)


@gpu_workload
def elementwise_128m():
    return _elementwise(128_000_000)


def _softmax(rows):
    x = uniform((rows, 1024))
    return Workload(
        repeated(lambda x: jax.nn.softmax(x, -1), x, keep=lambda out: out[:4]),
        amount=rows * 1024 * 8 / 1e9, unit="GB/s",
    )


@workload
def softmax_rows_1024():
    return _softmax(4096)


@gpu_workload
def softmax_64k_rows_1024():
    return _softmax(65536)


def _sort(n):
    x = uniform((n,))
    return Workload(
        repeated(jnp.sort, x, keep=lambda out: out[::997]), amount=n / 1e6, unit="M/s", tolerance=0
    )


@workload
def sort_256k_f32():
    return _sort(256 * 1024)


@gpu_workload
def sort_16m_f32():
    return _sort(16 * 1024 * 1024)


def _normal(n):
    key = jax.random.PRNGKey(0)
    return Workload(
        repeated(lambda k: jax.random.normal(k, (n,)), key, keep=lambda out: out[:1000]),
        amount=n / 1e6, unit="M/s", tolerance=1e-5,
    )


@workload
def random_normal_1m():
    return _normal(1_000_000)


@gpu_workload
def random_normal_64m():
    return _normal(64_000_000)
