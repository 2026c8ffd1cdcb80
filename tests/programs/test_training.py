"""Whole training steps: the same program on `mps` and on JAX's CPU backend, several steps long.

Float32 sums are taken in different orders, so results agree to a tolerance: `TOLERANCE` times the
largest value of each array, measured at about a tenth of it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

optax = pytest.importorskip("optax")

TOLERANCE = 2e-4


def assert_close(got, want, tolerance=TOLERANCE):
    for path, (g, w) in zip(
        jax.tree.leaves_with_path(got), zip(jax.tree.leaves(got), jax.tree.leaves(want)), strict=True
    ):
        g, w = np.asarray(g, np.float64), np.asarray(w, np.float64)
        scale = max(1e-3, float(np.max(np.abs(w), initial=0)))
        np.testing.assert_allclose(g, w, rtol=0, atol=tolerance * scale, err_msg=str(path[0]))


def steps_on(device, make_state, step, batches):
    state = jax.device_put(make_state(), device)
    step = jax.jit(step, donate_argnums=0)
    losses = []
    for batch in batches:
        state, loss = step(state, jax.device_put(batch, device))
        losses.append(np.asarray(loss))
    return jax.tree.map(np.asarray, state), np.array(losses)


def compare_training(mps, cpu, make_state, step, batches, tolerance=TOLERANCE):
    got, want = (steps_on(d, make_state, step, batches) for d in (mps, cpu))
    np.testing.assert_allclose(got[1], want[1], rtol=tolerance, atol=tolerance)
    assert np.all(np.isfinite(got[1]))
    assert_close(got[0], want[0], tolerance)


def trainer(optimizer, loss):
    def step(state, batch):
        parameters, moments = state
        value, gradient = jax.value_and_grad(loss)(parameters, *batch)
        updates, moments = optimizer.update(gradient, moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), value

    return step


def normals(seed, *shapes, scale=0.3):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(s) * scale, np.float32) for s in shapes]


def mlp(parameters, x):
    for w, b in parameters[:-1]:
        x = jax.nn.gelu(x @ w + b)
    w, b = parameters[-1]
    return x @ w + b


def mlp_parameters():
    sizes = (12, 32, 24, 5)
    weights = normals(0, *zip(sizes[:-1], sizes[1:]))
    return [(w, np.zeros(w.shape[1], np.float32)) for w in weights]


def classification_batches(count=4):
    rng = np.random.default_rng(1)
    return [
        (rng.standard_normal((16, 12)).astype(np.float32), rng.integers(0, 5, 16).astype(np.int32))
        for _ in range(count)
    ]


OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: optax.adam(1e-2),
    "adamw": lambda: optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 1e-2, 2, 10), weight_decay=0.1),
    ),
    "lion": lambda: optax.lion(1e-3),
    "rmsprop": lambda: optax.rmsprop(1e-3),
    "adafactor": lambda: optax.adafactor(1e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_mlp(name, mps, cpu):
    optimizer = OPTIMIZERS[name]()

    def loss(parameters, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(mlp(parameters, x), y).mean()

    def make_state():
        parameters = mlp_parameters()
        return parameters, optimizer.init(parameters)

    compare_training(mps, cpu, make_state, trainer(optimizer, loss), classification_batches())


def layer_norm(x, g, b):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * g + b


def attention(x, qkv, out, heads):
    batch, length, width = x.shape
    q, k, v = jnp.split(x @ qkv, 3, axis=-1)
    split = lambda a: a.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)
    q, k, v = split(q), split(k), split(v)
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(width // heads)
    mask = jnp.tril(jnp.ones((length, length), bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9), axis=-1)
    return (weights @ v).transpose(0, 2, 1, 3).reshape(batch, length, width) @ out


def gpt(p, tokens, heads=2):
    x = p["embed"][tokens] + p["position"][: tokens.shape[1]]
    for block in p["blocks"]:
        x = x + attention(layer_norm(x, *block["norm1"]), block["qkv"], block["out"], heads)
        h = jax.nn.gelu(layer_norm(x, *block["norm2"]) @ block["up"])
        x = x + h @ block["down"]
    return layer_norm(x, *p["norm"]) @ p["embed"].T


def gpt_parameters(vocabulary=37, width=16, length=12, layers=2):
    norm = lambda: (np.ones(width, np.float32), np.zeros(width, np.float32))
    blocks = []
    for i in range(layers):
        qkv, out, up, down = normals(
            10 + i, (width, 3 * width), (width, width), (width, 4 * width), (4 * width, width), scale=0.1
        )
        blocks.append(dict(qkv=qkv, out=out, up=up, down=down, norm1=norm(), norm2=norm()))
    embed, position = normals(9, (vocabulary, width), (length, width), scale=0.2)
    return dict(embed=embed, position=position, blocks=blocks, norm=norm())


def test_gpt(mps, cpu):
    optimizer = optax.adamw(1e-3)

    def loss(p, tokens):
        logits = gpt(p, tokens[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

    def make_state():
        p = gpt_parameters()
        return p, optimizer.init(p)

    rng = np.random.default_rng(3)
    batches = [(rng.integers(0, 37, (3, 13)).astype(np.int32),) for _ in range(3)]
    compare_training(mps, cpu, make_state, trainer(optimizer, loss), batches, 1e-3)


def decode(p, cache, position, token, heads=2):
    """One token through the same network with cached keys and values."""
    width = p["embed"].shape[1]
    x = p["embed"][token] + jax.lax.dynamic_index_in_dim(p["position"], position, keepdims=False)
    new_cache = []
    for block, (keys, values) in zip(p["blocks"], cache):
        q, k, v = jnp.split(layer_norm(x, *block["norm1"]) @ block["qkv"], 3, axis=-1)
        put = lambda c, n: jax.lax.dynamic_update_slice(c, n[:, None], (0, position, 0))
        keys, values = put(keys, k), put(values, v)
        new_cache.append((keys, values))
        by_head = lambda a: a.reshape(*a.shape[:-1], heads, width // heads)
        scores = jnp.einsum("bhd,bthd->bht", by_head(q), by_head(keys)) / np.sqrt(width // heads)
        seen = jnp.arange(keys.shape[1]) <= position
        weights = jax.nn.softmax(jnp.where(seen, scores, -1e9), axis=-1)
        mixed = jnp.einsum("bht,bthd->bhd", weights, by_head(values)).reshape(x.shape)
        x = x + mixed @ block["out"]
        x = x + jax.nn.gelu(layer_norm(x, *block["norm2"]) @ block["up"]) @ block["down"]
    return layer_norm(x, *p["norm"]) @ p["embed"].T, new_cache


def test_decode_with_cache(mps, cpu):
    """Cached decoding with donation gives what the whole sequence gives, on both devices."""
    rng = np.random.default_rng(4)
    tokens = rng.integers(0, 37, (3, 8)).astype(np.int32)
    outputs = []
    for device in (mps, cpu):
        p = jax.device_put(gpt_parameters(), device)
        cache = jax.device_put([(np.zeros((3, 12, 16), np.float32),) * 2 for _ in p["blocks"]], device)
        step = jax.jit(decode, donate_argnums=1)
        logits = []
        for i in range(tokens.shape[1]):
            out, cache = step(p, cache, jnp.int32(i), tokens[:, i])
            logits.append(np.asarray(out))
        whole = np.asarray(jax.jit(gpt)(p, jax.device_put(tokens, device)))
        np.testing.assert_allclose(np.stack(logits, 1), whole, rtol=0, atol=2e-4)
        outputs.append(whole)
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=0, atol=2e-4)


def test_greedy_generation(mps, cpu):
    """A whole generation in one program: while_loop, argmax, cache updates."""

    @functools.partial(jax.jit, static_argnums=2)
    def generate(p, first, count):
        cache = [(jnp.zeros((3, 12, 16)),) * 2 for _ in p["blocks"]]

        def body(state):
            i, token, cache, out = state
            logits, cache = decode(p, cache, i, token)
            token = jnp.argmax(logits, -1).astype(jnp.int32)
            return i + 1, token, cache, out.at[:, i].set(token)

        state = (jnp.int32(0), first, cache, jnp.zeros((3, count), jnp.int32))
        return jax.lax.while_loop(lambda s: s[0] < count, body, state)[3]

    first = np.array([1, 5, 30], np.int32)
    got, want = (
        np.asarray(generate(*jax.device_put((gpt_parameters(), first), d), 10)) for d in (mps, cpu)
    )
    np.testing.assert_array_equal(got, want)


def lstm_loss(p, x, y):
    def cell(state, x):
        h, c = state
        i, f, g, o = jnp.split(x @ p["wx"] + h @ p["wh"] + p["b"], 4, axis=-1)
        c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[1], p["wh"].shape[0]))
    (h, _), _ = jax.lax.scan(cell, (zeros, zeros), x)
    return jnp.mean((h @ p["out"] - y) ** 2)


def test_lstm(mps, cpu):
    optimizer = optax.adam(1e-2)
    wx, wh, out = normals(5, (6, 64), (16, 64), (16, 3))

    def make_state():
        p = dict(wx=wx, wh=wh, b=np.zeros(64, np.float32), out=out)
        return p, optimizer.init(p)

    batches = [tuple(normals(20 + i, (9, 4, 6), (4, 3), scale=1.0)) for i in range(3)]
    compare_training(mps, cpu, make_state, trainer(optimizer, lstm_loss), batches)


def test_vae(mps, cpu):
    """Random numbers inside the step: the noise is the same on both devices."""
    optimizer = optax.adam(1e-3)

    def loss(p, key, x):
        h = jnp.tanh(x @ p["enc"])
        mean, logvar = jnp.split(h @ p["latent"], 2, axis=-1)
        z = mean + jnp.exp(0.5 * logvar) * jax.random.normal(key, mean.shape)
        logits = jnp.tanh(z @ p["dec"]) @ p["out"]
        reconstruction = optax.sigmoid_binary_cross_entropy(logits, (x > 0).astype(x.dtype)).sum(-1)
        divergence = -0.5 * (1 + logvar - mean**2 - jnp.exp(logvar)).sum(-1)
        return (reconstruction + divergence).mean()

    def make_state():
        enc, latent, dec, out = normals(6, (20, 16), (16, 8), (4, 16), (16, 20))
        p = dict(enc=enc, latent=latent, dec=dec, out=out)
        return p, optimizer.init(p)

    batches = [
        (np.array([0, i], np.uint32), normals(30 + i, (8, 20), scale=1.0)[0]) for i in range(3)
    ]
    compare_training(mps, cpu, make_state, trainer(optimizer, loss), batches)


def test_convolutional_net(mps, cpu):
    """Convolutions, batch statistics, pooling and their gradients."""
    optimizer = optax.sgd(0.05, momentum=0.9)

    def loss(p, x, y):
        for w in p["convs"]:
            x = jax.lax.conv_general_dilated(
                x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            x = jax.nn.relu((x - mean) * jax.lax.rsqrt(var + 1e-5))
            x = jax.lax.reduce_window(
                x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
            )
        logits = x.mean((1, 2)) @ p["head"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def make_state():
        a, b, head = normals(7, (3, 3, 3, 8), (3, 3, 8, 16), (16, 5))
        p = dict(convs=[a, b], head=head)
        return p, optimizer.init(p)

    rng = np.random.default_rng(8)
    batches = [
        (rng.standard_normal((4, 8, 8, 3)).astype(np.float32), rng.integers(0, 5, 4).astype(np.int32))
        for _ in range(3)
    ]
    compare_training(mps, cpu, make_state, trainer(optimizer, loss), batches, 2e-3)
