"""Writes the programs of this folder, for which the Metal tests print kernels, those of counted/, whose
launches are counted, and those of benchmarks/, which are all that benchmarks/workloads.py measures.

    JAX_PLATFORMS=cpu python tests/cpp/metal/programs/make.py
"""

import contextlib
import pathlib
import sys

import jax
import jax.numpy as jnp
from jax import export

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[3] / "benchmarks"))
import workloads  # noqa: E402
WIDTH, HEADS = 64, 4
# Only the name of a file, so that programs do not depend on where they were made.
jax.config.update("jax_hlo_source_file_canonicalization_regex", ".*/")


def save(name, function, *args):
    exported = export.export(jax.jit(function), platforms=["cpu"])(*args)
    (HERE / f"{name}.bc").write_bytes(exported.mlir_module_serialized)


def zeros(*shape):
    return jnp.zeros(shape, jnp.float32)


def layer_norm(x, scale, shift):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift


def transformer(p, x):
    batch, length, width = x.shape
    heads = jnp.split(layer_norm(x, p["scale1"], p["shift1"]) @ p["qkv"], 3, -1)
    q, k, v = (
        h.reshape(batch, length, HEADS, width // HEADS).transpose(0, 2, 1, 3) for h in heads
    )
    scores = q @ k.transpose(0, 1, 3, 2) / 4.0
    scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -1e9)
    mixed = (jax.nn.softmax(scores, -1) @ v).transpose(0, 2, 1, 3).reshape(batch, length, width)
    x = x + mixed @ p["out"]
    return x + jax.nn.gelu(layer_norm(x, p["scale2"], p["shift2"]) @ p["up"]) @ p["down"]


def transformer_gradient(p, x):
    def loss(p, x):
        return (transformer(p, x).astype(jnp.float32) ** 2).mean()

    return jax.grad(loss)(p, x)


def batch_norm(x, scale, shift):
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift


def convolution(x, w):
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def residual_step(p, momentum, x, labels):
    def loss(p):
        y = jax.nn.relu(batch_norm(convolution(x, p[0]), p[1], p[2]))
        y = jax.nn.relu(x + batch_norm(convolution(y, p[3]), p[4], p[5]))
        logits = jax.nn.log_softmax(y.mean((1, 2)))
        return -(logits * jax.nn.one_hot(labels, 16)).sum(-1).mean()

    momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, jax.grad(loss)(p))
    return jax.tree.map(lambda w, m: w - 0.1 * m, p, momentum), momentum


def chain(x):
    for i in range(40):
        x = jnp.sin(x) * 1.01 + 0.1 * i
    return x


def randoms(key):
    return (
        jax.random.normal(key, (100, 7)),
        jax.random.gumbel(key, (64,)),
        jax.random.permutation(key, 50),
    )


def softmax(x):
    return jax.nn.softmax(x, -1)


def gradient(function):
    """Of a sum with weights, with respect to all arguments."""
    return lambda weights, *args: jax.grad(
        lambda args: (function(*args) * weights).sum()
    )(args)


def decode(p, cache, position, x):
    """One token through one layer; the cache has the keys and values of those before it."""
    q, k, v = jnp.split(layer_norm(x, p["scale1"], p["shift1"]) @ p["qkv"], 3)
    new = jnp.stack([k, v]).reshape(2, HEADS, 1, WIDTH // HEADS)
    cache = jax.lax.dynamic_update_slice(cache, new, (0, 0, position, 0))
    scores = jnp.einsum("hd,hld->hl", q.reshape(HEADS, -1), cache[0]) / 4.0
    scores = jnp.where(jnp.arange(cache.shape[2]) <= position, scores, -1e9)
    mixed = jnp.einsum("hl,hld->hd", jax.nn.softmax(scores, -1), cache[1]).ravel()
    x = x + mixed @ p["out"]
    return cache, x + jax.nn.gelu(layer_norm(x, p["scale2"], p["shift2"]) @ p["up"]) @ p["down"]


def resnet18_step():
    """The example's model as benchmarks/ trains it, with its arguments."""
    step, (params, statistics, *batch) = workloads.resnet_step(8)
    values, tree = jax.tree.flatten((params, statistics))

    def flat(values, images, labels):
        updated, loss = step(*jax.tree.unflatten(tree, values), images, labels)
        return jax.tree.leaves(updated), loss

    return flat, (values, *batch)


def save_counted(p):
    x, row, scale = zeros(8, 512), zeros(WIDTH), zeros(512)
    (HERE / "counted").mkdir(exist_ok=True)
    save("counted/softmax", softmax, x)
    save("counted/softmax_gradient", gradient(softmax), x, x)
    save("counted/layer_norm", layer_norm, x, scale, scale)
    save("counted/layer_norm_gradient", gradient(layer_norm), x, x, scale, scale)
    save("counted/decode", decode, p, zeros(2, HEADS, 128, WIDTH // HEADS), jnp.int32(5), row)
    step, args = resnet18_step()
    save("counted/resnet18_step", step, *args)


class Captured(Exception):
    """Ends a workload that has called its program."""


class CapturingJax:
    """JAX for a workload: what it compiles is saved at its first call, with what it closes over as parameters."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, name):
        return getattr(jax, name)

    def jit(self, function, **_):
        def call(*args):
            closed = jax.make_jaxpr(function)(*args)
            run = lambda constants, leaves: jax.core.eval_jaxpr(closed.jaxpr, constants, *leaves)
            shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (closed.consts, jax.tree.leaves(args)))
            save(f"benchmarks/{self.name}", run, *shapes)
            raise Captured

        return call


def save_benchmarks():
    (HERE / "benchmarks").mkdir(exist_ok=True)
    for name, build in {**workloads.WORKLOADS, **workloads.GPU_WORKLOADS}.items():
        workloads.jax = CapturingJax(name)
        with contextlib.suppress(Captured):
            build().run(1)
    workloads.jax = jax


def main():
    ones = zeros(WIDTH)
    p = dict(scale1=ones, shift1=ones, scale2=ones, shift2=ones)
    p |= dict(qkv=zeros(WIDTH, 3 * WIDTH), out=zeros(WIDTH, WIDTH))
    p |= dict(up=zeros(WIDTH, 4 * WIDTH), down=zeros(4 * WIDTH, WIDTH))
    x = zeros(2, 32, WIDTH)
    narrow = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (p, x))
    save("transformer", transformer, p, x)
    save("transformer_gradient", transformer_gradient, p, x)
    save("transformer_gradient_bf16", transformer_gradient, *narrow)
    block = [zeros(3, 3, 16, 16), zeros(16), zeros(16)] * 2
    labels = jnp.zeros(8, jnp.int32)
    save("residual_step", residual_step, block, block, zeros(8, 16, 16, 16), labels)
    save("chain", chain, zeros(1000))
    save("randoms", randoms, jax.random.PRNGKey(0))
    save_counted(p)
    save_benchmarks()


if __name__ == "__main__":
    main()
