"""Writes the programs of this folder, for which the Metal tests print kernels.

    JAX_PLATFORMS=cpu python tests/cpp/metal/programs/make.py
"""

import pathlib

import jax
import jax.numpy as jnp
from jax import export

WIDTH, HEADS = 64, 4


def save(name, function, *args):
    exported = export.export(jax.jit(function), platforms=["cpu"])(*args)
    pathlib.Path(__file__).with_name(f"{name}.bc").write_bytes(exported.mlir_module_serialized)


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


if __name__ == "__main__":
    main()
