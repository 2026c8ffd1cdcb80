"""Random expressions: elementwise ops, index maps and reductions in any nesting, over float32.

The oracle is NumPy in float64. Every op keeps values within [-4, 4] or so, so that an error bound can be
carried along: each node has the absolute error that float32 may have made so far. What fusion does must
not matter either: the same program with a barrier around every op, which no fusion crosses, has to give
the same up to the order of sums.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

EPSILON = 2.0**-24
SIZES = st.sampled_from([1, 2, 3, 5, 8, 17, 33, 70])


class Node:
    """A value: how JAX computes it from its operands, and what it is with a bound of its error."""

    def __init__(self, op, operands, exact, error):
        self.op, self.operands, self.exact = op, operands, np.asarray(exact, np.float64)
        self.error = np.broadcast_to(error, self.exact.shape)

    @property
    def shape(self):
        return self.exact.shape


def leaf(data):
    return Node("leaf", (), data, 0.0)


def rounded(op, operands, exact, error):
    """A node whose result is rounded once, or a few times for the functions."""
    units = 8 if op.__name__ in ("tanh", "exp_", "sin", "logistic", "sqrt_") else 1
    return Node(op, operands, exact, error + units * EPSILON * (np.abs(exact) + 1e-30))


def exp_(n, x):
    return n.exp(-n.abs(x))


def sqrt_(n, x):
    return n.sqrt(n.abs(x) + n.float32(0.25))


def tanh(n, x):
    return n.tanh(x)


def sin(n, x):
    return n.sin(x)


def logistic(n, x):
    return n.float32(1) / (n.float32(1) + n.exp(-x))


def negate(n, x):
    return -x


def absolute(n, x):
    return n.abs(x)


def halve_and_shift(n, x):
    return x * n.float32(0.5) + n.float32(0.75)


# No slope is larger than 1, so errors do not grow.
UNARY = [exp_, sqrt_, tanh, sin, logistic, negate, absolute, halve_and_shift]


def mean(n, x, y):
    return (x + y) * n.float32(0.5)


def difference(n, x, y):
    return (x - y) * n.float32(0.5)


def product(n, x, y):
    return x * y * n.float32(0.25)


def largest(n, x, y):
    return n.maximum(x, y)


def smallest(n, x, y):
    return n.minimum(x, y)


def quotient(n, x, y):
    return x / (n.abs(y) + n.float32(1))


def chosen(n, x, y):
    """Rounding must not decide which; the condition is an exact property of the positions."""
    return n.where(n.arange(x.shape[-1]) % 3 == 0 if x.ndim else True, x, y)


BINARY = [mean, difference, product, largest, smallest, quotient, chosen]


def unary(draw, x):
    op = draw(st.sampled_from(UNARY))
    exact = op(np, x.exact)
    return rounded(op, (x,), exact, x.error)


def binary(draw, x, y):
    op = draw(st.sampled_from(BINARY))
    x, y = fit(draw, x, y)
    exact = op(np, x.exact, y.exact)
    bound = 1 + np.maximum(np.abs(x.exact), np.abs(y.exact))
    # Three roundings at most, and the errors of both operands times the slopes.
    error = (x.error + y.error) * np.maximum(1, bound / 2) + 2 * EPSILON * bound * bound
    return rounded(op, (x, y), exact, error)


def fit(draw, x, y):
    """Brings two nodes to one shape: broadcast where that works and is small, else one is reduced first."""
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        shape = None
    if shape is None or np.prod(shape) > LARGEST:
        y = total(y, tuple(range(len(y.shape))), "mean")
        shape = x.shape
    return broadcast(x, shape), broadcast(y, shape)


def moved(op, x, **params):
    """An op that only moves elements."""
    f = functools.partial(op, **params)
    return Node(lambda n, a: f(n, a), (x,), f(np, x.exact), f(np, x.error))


def broadcast(x, shape):
    if x.shape == tuple(shape):
        return x
    return moved(lambda n, a, shape: n.broadcast_to(a, shape), x, shape=tuple(shape))


def total(x, axes, kind):
    if kind == "max":
        return Node(lambda n, a: a.max(axes), (x,), x.exact.max(axes), x.error.max(axes))
    count = int(np.prod([x.shape[a] for a in axes]))
    exact = x.exact.sum(axes) / count
    size = np.abs(x.exact).sum(axes) / count
    return Node(lambda n, a: a.sum(axes) * n.float32(1 / count), (x,), exact,
                x.error.mean(axes) + (count + 4) * EPSILON * size + 1e-30)


def reduction(draw, x):
    if not x.shape:
        return x
    axes = draw(st.sets(st.integers(0, len(x.shape) - 1), min_size=1))
    return total(x, tuple(sorted(axes)), draw(st.sampled_from(["mean", "max"])))


def normalised(draw, x):
    """x minus its mean along one axis: a reduction that is read again."""
    if not x.shape:
        return x
    axis = draw(st.integers(0, len(x.shape) - 1))
    average = total(x, (axis,), "mean")
    back = moved(lambda n, a, axis: n.expand_dims(a, axis), average, axis=axis)
    y = broadcast(back, x.shape)
    return rounded(difference, (x, y), difference(np, x.exact, y.exact), x.error + y.error)


def transpose(draw, x):
    return moved(lambda n, a, axes: n.transpose(a, axes), x, axes=draw(st.permutations(range(len(x.shape)))))


def sliced(draw, x):
    index = []
    for size in x.shape:
        start = draw(st.integers(0, size - 1))
        index.append(slice(start, draw(st.integers(start + 1, size)), draw(st.integers(1, 3))))
    return moved(lambda n, a, index: a[index], x, index=tuple(index))


def reverse(draw, x):
    axes = draw(st.sets(st.integers(0, len(x.shape) - 1))) if x.shape else ()
    return moved(lambda n, a, axes: n.flip(a, axes), x, axes=tuple(axes))


def padded(draw, x):
    widths = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in x.shape]
    return moved(lambda n, a, widths: n.pad(a, widths) if a.ndim else a, x, widths=widths)


def reshape(draw, x):
    shape = draw(st.sampled_from([(-1,), (1, -1), (-1, 1), x.shape[::-1], (*x.shape, 1)]))
    return moved(lambda n, a, shape: n.reshape(a, shape), x, shape=shape)


def widened(draw, x):
    return broadcast(x, (draw(SIZES), *x.shape))


def concatenated(draw, x, y):
    x, y = (z if z.shape else reshape_to(z, (1,)) for z in (x, y))
    if len(y.shape) != len(x.shape) or x.shape[:-1] != y.shape[:-1]:
        y = total(y, tuple(range(len(y.shape))), "max")
        y = broadcast(y, (*x.shape[:-1], draw(SIZES)))
    exact = np.concatenate([x.exact, y.exact], -1)
    return Node(lambda n, a, b: n.concatenate([a, b], -1), (x, y), exact,
                np.concatenate([x.error, y.error], -1))


def reshape_to(x, shape):
    return moved(lambda n, a, shape: n.reshape(a, shape), x, shape=shape)


STEPS = [unary] * 4 + [binary] * 4 + [reduction, normalised, transpose, sliced, reverse, padded, reshape,
                                      widened, concatenated]
LARGEST = 60_000


@st.composite
def expressions(draw):
    """Up to three results over a graph in which values are used more than once."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pool = []
    for _ in range(draw(st.integers(1, 3))):
        shape = tuple(draw(st.lists(SIZES, min_size=1, max_size=3)))
        pool.append(leaf(rng.uniform(-2, 2, shape).astype(np.float32)))
    for _ in range(draw(st.integers(6, 18))):
        step = draw(st.sampled_from(STEPS))
        x = draw(st.sampled_from(pool[-4:]))
        made = step(draw, x, draw(st.sampled_from(pool))) if step in (binary, concatenated) else step(draw, x)
        if 0 < made.exact.size <= LARGEST and len(made.shape) <= 5:
            pool.append(made)
    return pool[-draw(st.integers(1, 3)) :]


def leaves_of(nodes):
    found = {}

    def visit(node):
        if node.op == "leaf":
            found.setdefault(id(node), node)
        for operand in node.operands:
            visit(operand)

    for node in nodes:
        visit(node)
    return list(found.values())


def program(results, leaves, barrier):
    def f(*arguments):
        values = {id(node): value for node, value in zip(leaves, arguments)}

        def value(node):
            if id(node) not in values:
                made = node.op(jnp, *(value(operand) for operand in node.operands))
                values[id(node)] = lax.optimization_barrier(made) if barrier else made
            return values[id(node)]

        return [value(node) for node in results]

    return jax.jit(f)


@pytest.mark.parametrize("seed", range(10))
def test_expressions(mps, seed):
    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=25, deadline=None, database=None,
                         suppress_health_check=list(hypothesis.HealthCheck),
                         phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink])
    @hypothesis.given(results=expressions())
    def check(results):
        check_expressions(mps, results)

    check()


def check_expressions(mps, results):
    leaves = leaves_of(results)
    arguments = [jax.device_put(node.exact.astype(np.float32), mps) for node in leaves]
    with jax.default_device(mps):
        fused = program(results, leaves, barrier=False)(*arguments)
        alone = program(results, leaves, barrier=True)(*arguments)
    for node, one, other in zip(results, fused, alone):
        for got in (np.asarray(one), np.asarray(other)):
            assert got.dtype == np.float32 and got.shape == node.shape
            wrong = np.abs(got - node.exact) > 4 * node.error + 1e-7
            assert not wrong.any(), (got[wrong][:5], node.exact[wrong][:5], node.error[wrong][:5])
