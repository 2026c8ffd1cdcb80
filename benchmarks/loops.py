"""Programs that loop over small states: simulation, differential equations, sampling, games.

The rows of the table of loops in docs/performance.md; see workloads.py for what a workload is.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from workloads import repeated, uniform, Workload

LOOPS = {}


def loop(function):
    def make():
        program, *args = function()
        tolerance = args.pop() if isinstance(args[-1], float) else 1e-3
        return _workload(program, *args, tolerance=tolerance)

    LOOPS[function.__name__] = make
    return function


def _workload(program, *args, tolerance=1e-3):
    first = lambda out: jax.tree.leaves(out)[0]  # noqa: E731
    return Workload(repeated(program, *args, keep=first), tolerance=tolerance)


def _lorenz(state):
    x, y, z = state[..., 0], state[..., 1], state[..., 2]
    return jnp.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z], -1)


def _runge_kutta(f, y, h):
    k1 = f(y)
    k2 = f(y + 0.5 * h * k1)
    k3 = f(y + 0.5 * h * k2)
    k4 = f(y + h * k3)
    return y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


def _solve(y, steps, h=0.002):
    return lax.scan(lambda y, _: (_runge_kutta(_lorenz, y, h),) * 2, y, None, steps)[1]


@loop
def runge_kutta():
    return functools.partial(_solve, steps=2000), jnp.array([1.0, 1.0, 1.0])


@loop
def runge_kutta_gradient():
    return jax.grad(lambda y: _solve(y, 300)[-1].sum()), jnp.array([1.0, 1.0, 1.0])


@loop
def runge_kutta_batch():
    solve = jax.vmap(lambda y: lax.fori_loop(0, 200, lambda _, y: _runge_kutta(_lorenz, y, 0.002), y))
    return solve, uniform((1000, 3))


@loop
def stages_of_batch():
    # As diffrax's solvers: the stages are stacked, and weighed by a row of a table.
    table, batch = uniform((7, 7), 1), jax.vmap(_lorenz)

    def program(y):
        def step(_, y):
            def stage(i, k):
                return k.at[:, i].set(0.002 * batch(y + jnp.einsum("s,bsd->bd", table[i], k)))

            return y + lax.fori_loop(0, 7, stage, jnp.zeros((64, 7, 3))).sum(1) / 7

        return lax.fori_loop(0, 100, step, y)

    return program, uniform((64, 3))


@loop
def adaptive_steps():
    def program(y):
        def step(state):
            t, h, y = state
            full = _runge_kutta(_lorenz, y, h)
            half = _runge_kutta(_lorenz, _runge_kutta(_lorenz, y, h / 2), h / 2)
            error = jnp.max(jnp.abs(full - half)) / 1e-4
            accepted = error < 1.0
            grow = jnp.clip(0.9 * (error + 1e-10) ** -0.2, 0.2, 5.0)
            return jnp.where(accepted, t + h, t), h * grow, jnp.where(accepted, half, y)

        return lax.while_loop(lambda s: s[0] < 5.0, step, (0.0, 0.01, y))[2]

    # The steps hang on the last digits.
    return program, jnp.array([1.0, 1.0, 1.0]), 1e-2


@loop
def cond_in_scan():
    def program(x):
        def step(x, i):
            x = lax.cond(x > 1.0, lambda x: x * 0.5, lambda x: x * 1.3 + 0.1, x)
            return x, x

        return lax.scan(step, x, jnp.arange(2000))[1]

    return program, jnp.float32(0.3)


@loop
def switch_in_scan():
    branches = [lambda x: x * 0.9 + 0.2, lambda x: x * x - 0.1, lambda x: 0.5 - x, lambda x: jnp.abs(x) * 0.7]

    def program(x):
        return lax.scan(lambda x, i: (lax.switch(i % 4, branches, x),) * 2, x, jnp.arange(2000))[1]

    return program, jnp.float32(0.3)


@loop
def four_normals():
    def program(key):
        def step(state, _):
            key, total = state
            key, use = jax.random.split(key)
            total = total * 0.9 + jax.random.normal(use, (4,))
            return (key, total), total

        return lax.scan(step, (key, jnp.zeros(4)), None, 1000)[1]

    return program, jax.random.PRNGKey(0)


@loop
def products_3x3():
    def program(a):
        return lax.fori_loop(0, 2000, lambda _, x: x @ a * 0.999, a)

    angle = 0.1
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    return program, jnp.array(turn, jnp.float32)


@loop
def tanh_of_product():
    def program(w, x):
        return lax.fori_loop(0, 2000, lambda _, x: jnp.tanh(w @ x), x)

    return program, uniform((64, 64)) / 8, uniform((64,), 1)


@loop
def update_by_index():
    def program(x):
        def step(i, x):
            return x.at[i % 100].set(0.5 * (x[(i * 7) % 100] + x[(i * 3 + 1) % 100]))

        return lax.fori_loop(0, 2000, step, x)

    return program, uniform((100,))


def _cartpole(state, force):
    x, v, angle, spin = state[:, 0], state[:, 1], state[:, 2], state[:, 3]
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    push = (force + 0.05 * spin**2 * sin) / 1.1
    turn = (9.8 * sin - cos * push) / (0.5 * (4.0 / 3.0 - 0.1 * cos**2 / 1.1))
    pull = push - 0.05 * turn * cos / 1.1
    return jnp.stack([x + 0.02 * v, v + 0.02 * pull, angle + 0.02 * spin, spin + 0.02 * turn], -1)


@loop
def environments():
    def program(state):
        def step(state, _):
            force = -10.0 * state[:, 2] - state[:, 3]
            state = _cartpole(state, force)
            return state, state[:, 2].sum()

        return lax.scan(step, state, None, 200)

    return program, uniform((1000, 4)) * 0.05


@loop
def particles():
    def program(x):
        def step(_, state):
            x, v = state
            apart = x[:, None] - x[None]
            force = -(apart / ((apart**2).sum(-1, keepdims=True) + 0.1) ** 1.5).sum(1)
            v = v + 0.001 * force
            return x + 0.001 * v, v

        return lax.fori_loop(0, 30, step, (x, jnp.zeros_like(x)))

    return program, uniform((300, 3))


def _lstm(params, h, c, x):
    w, u, b = params
    i, f, g, o = jnp.split(x @ w + h @ u + b, 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


@loop
def lstm():
    params = uniform((32, 128)) * 0.2, uniform((32, 128), 1) * 0.2, uniform((128,), 2)

    def program(params, xs):
        def step(state, x):
            h, c = _lstm(params, *state, x)
            return (h, c), h

        return lax.scan(step, (jnp.zeros((8, 32)), jnp.zeros((8, 32))), xs)[1]

    return program, params, uniform((500, 8, 32), 3)


@loop
def gru_gradient():
    def cell(params, h, x):
        w, u = params
        a, b = x @ w, h @ u
        r = jax.nn.sigmoid(a[:, :32] + b[:, :32])
        z = jax.nn.sigmoid(a[:, 32:64] + b[:, 32:64])
        return (1 - z) * jnp.tanh(a[:, 64:] + r * b[:, 64:]) + z * h

    def loss(params, xs):
        def step(h, x):
            h = cell(params, h, x)
            return h, h

        return (lax.scan(step, jnp.zeros((8, 32)), xs)[1] ** 2).mean()

    return jax.grad(loss), (uniform((32, 96)) * 0.2, uniform((32, 96), 1) * 0.2), uniform((200, 8, 32), 2)


@loop
def small_solves():
    def program(a, b):
        return lax.map(lambda ab: jnp.linalg.solve(*ab), (a, b))

    return program, uniform((500, 4, 4)) + 2 * jnp.eye(4), uniform((500, 4), 1)


@loop
def associative_scan():
    def program(a, b):
        return lax.associative_scan(lambda x, y: (x[0] * y[0], y[0] * x[1] + y[1]), (a, b))[1]

    return program, uniform((4096, 32)), uniform((4096, 32), 1)


@loop
def while_of_batch():
    def collatz(n):
        return lax.while_loop(lambda s: s[0] > 1.0, lambda s: (s[0] * 0.7, s[1] + 1.0), (n, 0.0))[1]

    return jax.vmap(collatz), uniform((2000,)) * 100


@loop
def sorts_in_loop():
    def program(x):
        return lax.fori_loop(0, 500, lambda i, x: jnp.sort(x * 1.1 % 1.0), x)

    return program, uniform((50,))


@loop
def convolve_in_loop():
    kernel = jnp.array([0.25, 0.5, 0.25])

    def program(x):
        return lax.fori_loop(0, 300, lambda _, x: jnp.convolve(x, kernel, "same"), x)

    return program, uniform((1000,))


@loop
def spectral_equation():
    def program(u):
        waves = 2 * jnp.pi * jnp.fft.rfftfreq(256)
        decay = jnp.exp(-0.01 * waves**2)

        def step(u, _):
            v = jnp.fft.rfft(u)
            return jnp.fft.irfft(v * decay) - 0.01 * u * jnp.fft.irfft(1j * waves * v), None

        return lax.scan(step, u, None, 200)[0]

    return program, uniform((256,))


@loop
def float8_and_back():
    return lambda x: x.astype(jnp.float8_e4m3fn).astype(jnp.float32), uniform((1 << 20,))


@loop
def cubic_resize():
    return lambda x: jax.image.resize(x, (192, 192, 3), "cubic"), uniform((128, 128, 3))


@loop
def map_coordinates():
    def program(image, at):
        return jax.scipy.ndimage.map_coordinates(image, [at[0], at[1]], order=1)

    return program, uniform((250, 250)), (uniform((2, 250, 250), 1) + 1) * 124


# --- once, not in a loop: a few numbers along the last axis ---------------------------------------


@loop
def one_step_of_environments():
    return lambda state: _cartpole(state, -10.0 * state[:, 2] - state[:, 3]), uniform((1000, 4)) * 0.05


@loop
def pairs_of_points():
    return lambda x: (x[:, :, None] - x[:, None]) ** 2, uniform((1000, 16, 3))


@loop
def sums_of_three():
    return lambda x: jnp.sqrt((x * x).sum(-1)), uniform((100_000, 3))


@loop
def products_with_3x3():
    return lambda x, w: x @ w, uniform((100_000, 3)), uniform((3, 3), 1)


@loop
def splits_of_keys():
    return jax.vmap(lambda key: jax.random.split(key, 2)), jax.random.split(jax.random.PRNGKey(0), 10_000)


@loop
def quantised_product():
    def quantised(x, dtype):
        scale = jnp.abs(x).max(-1, keepdims=True) / jnp.finfo(dtype).max.astype(jnp.float32)
        return (x / scale).astype(dtype).astype(jnp.float32) * scale

    def program(x, w):
        return quantised(x, jnp.float8_e4m3fn) @ quantised(w, jnp.float8_e4m3fn).T

    return program, uniform((256, 512)), uniform((512, 512), 1)


@loop
def a_dozen_small_steps():
    def program(x, w):
        for _ in range(4):
            x = jnp.sort(jnp.tanh(x @ w)[::-1] * 0.9 + 0.1)
        return x

    return program, uniform((16,)), uniform((16, 16), 1)


@loop
def transforms_of_rows():
    return jnp.fft.rfft, uniform((1000, 256))


@loop
def transform_of_plane():
    return lambda x: jnp.abs(jnp.fft.fft2(x)), uniform((512, 512))


@loop
def transform_of_prime_length():
    return lambda x: jnp.abs(jnp.fft.fft(x)), uniform((997,))
