"""Combiners and comparators that are not one op: their initial values, orders and grouping.

Wanted values are those of JAX's CPU backend, or, where an initial value that is not neutral meets
padding, of the StableHLO interpreter: XLA skips padding, StableHLO says that it holds the initial value.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from stablehlo_text import interpret_text, run_text


def run(function, *arguments, platform):
    device = jax.devices(platform)[0]
    placed = [jax.device_put(np.array(a), device) for a in arguments]
    return [np.asarray(r) for r in jax.tree.leaves(jax.jit(function)(*placed))]


def interpreted(function, *arguments):
    placed = [jax.device_put(np.array(a), jax.devices("cpu")[0]) for a in arguments]
    return interpret_text(jax.jit(function).lower(*placed).as_text(), *arguments)


def check(function, *arguments, oracle="cpu", rtol=0.0):
    got = run(function, *arguments, platform="mps")
    if oracle == "cpu":
        want = run(function, *arguments, platform="cpu")
    else:
        want = interpreted(function, *arguments)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w.reshape(g.shape), rtol=rtol, atol=0)


LARGER = lambda a, b: jnp.where(a > b, a, b)
SATURATED = lambda a, b: jnp.clip(a + b, -10, 10)
DECAY = lambda a, b: a * 0.5 + b
RIGHT = lambda a, b: b
LEFT = lambda a, b: a
NAN_AWARE = lambda a, b: jnp.where(jnp.isnan(a) | (b > a), b, a)


def product(p, q):
    """Of 2x2 matrices: associates, but does not commute."""
    (a, b, c, d), (e, f, g, h) = p, q
    return a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h


def first_largest(p, q):
    keep = p[0] >= q[0]
    return jnp.where(keep, p[0], q[0]), jnp.where(keep, p[1], q[1])


FAR = np.array([-200, -300, -250, -400, -150], np.float32)
SMALL = np.array([3, -2, 9, 4, -7, 5, 8], np.float32)
# size, stride, padding, base dilation, window dilation
WINDOWS = {
    "prefix": ((7,), (1,), [(6, 0)], (1,), (1,)),
    "suffix": ((7,), (1,), [(0, 6)], (1,), (1,)),
    "longer prefix": ((9,), (1,), [(8, 0)], (1,), (1,)),
    "strided": ((3,), (2,), [(2, 1)], (1,), (1,)),
    "dilated": ((3,), (1,), [(1, 2)], (2,), (1,)),
    "window dilated": ((3,), (1,), [(2, 2)], (1,), (2,)),
    "cropped": ((2,), (1,), [(-1, -2)], (1,), (1,)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_an_initial_value_far_from_small_numbers_counts(dtype):
    window = ((4,), (1,), [(3, 0)])
    check(lambda x: lax.reduce_window(x, dtype(-100), LARGER, *window), FAR.astype(dtype))
    check(lambda x: lax.reduce_window(x, dtype(-100), lax.max, *window), FAR.astype(dtype))
    check(lambda x: lax.reduce(x, dtype(-100), LARGER, (0,)), FAR.astype(dtype))


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("combiner", [LARGER, SATURATED, DECAY, RIGHT, LEFT, NAN_AWARE])
@pytest.mark.parametrize("init", [0.0, 2.0])
def test_windows(name, combiner, init):
    size, stride, padding, base, dilation = WINDOWS[name]
    f = lambda x: lax.reduce_window(
        x, np.float32(init), combiner, size, stride, padding, base_dilation=base, window_dilation=dilation
    )
    check(f, SMALL, oracle="interpreter", rtol=1e-6)
    check(lambda x: f(x * 1.0 + 0.0), SMALL, oracle="interpreter", rtol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_long_windows_that_reach_to_an_end(reverse):
    x = np.random.default_rng(0).integers(-3, 4, (3, 200)).astype(np.float32)
    padding = [(0, 0), (0, 199) if reverse else (199, 0)]
    for combiner in (LARGER, RIGHT, LEFT):
        f = lambda x: lax.reduce_window(x, np.float32(-2), combiner, (1, 200), (1, 1), padding)
        check(f, x, oracle="interpreter")
    check(lambda x: lax.cumlogsumexp(x, axis=1, reverse=reverse), x, rtol=1e-5)
    if not reverse:
        f = lambda x: lax.reduce_window(x, np.float32(0), SATURATED, (1, 200), (1, 1), padding)
        check(f, x, oracle="interpreter")


def test_windows_in_two_dimensions_are_walked_row_by_row():
    x = np.arange(30, dtype=np.float32).reshape(5, 6) % 7 - 3
    for combiner in (DECAY, RIGHT, NAN_AWARE):
        f = lambda x: lax.reduce_window(x, np.float32(1), combiner, (2, 3), (1, 2), [(1, 0), (0, 1)])
        check(f, x, oracle="interpreter", rtol=1e-6)


def test_windows_of_pairs():
    f = lambda x: lax.reduce_window(
        (x, jnp.arange(x.size)), (np.float32(-100), np.int32(0)), first_largest, (4,), (1,), [(3, 0)]
    )
    check(f, FAR)


@pytest.mark.parametrize("combiner", [SATURATED, DECAY, RIGHT, LEFT, NAN_AWARE])
def test_long_reductions_keep_their_order(combiner, mps):
    if mps.device_kind != "cpu" and combiner in (SATURATED, DECAY):
        pytest.skip("GPUs regroup reductions by functions that are not one op")
    x = np.random.default_rng(1).integers(-9, 10, 33_000).astype(np.float32)
    check(lambda x: lax.reduce(x, np.float32(3), combiner, (0,)), x, oracle="interpreter")


def test_reduction_that_does_not_commute():
    x = np.random.default_rng(2).integers(-1, 2, (4, 40, 3)).astype(np.float32)
    one, zero = np.float32(1), np.float32(0)
    check(lambda x: lax.reduce(tuple(x), (one, zero, zero, one), product, (0,)), x[:, :20])
    # The initial value comes first.
    check(lambda x: lax.reduce(tuple(x), (one, one, zero, one), product, (0,)), x[:, :20])


@pytest.mark.parametrize("reverse", [False, True])
def test_index_beside_the_largest(reverse):
    x = np.random.default_rng(3).integers(0, 50, (3, 40_000)).astype(np.float32)
    x[1, 20_000] = x[1, 35_000] = np.nan
    indices = np.arange(x.shape[1], dtype=np.int32)
    if reverse:
        indices = indices[::-1].copy()

    def better(p, q):
        pick = (p[0] > q[0]) | (p[0] != p[0])
        index = pick | ((p[0] == q[0]) & (p[1] < q[1]))
        return jnp.where(pick, p[0], q[0]), jnp.where(index, p[1], q[1])

    def f(x, i):
        i = jnp.broadcast_to(i, x.shape)
        return lax.reduce((x, i), (np.float32(7), np.int32(5)), better, (1,))

    check(f, x, indices)
    check(lambda x, i: lax.reduce((x, i), (np.float32(99), np.int32(5)), better, (0,)), x[:, :9], x[:, :9].astype(np.int32))


@pytest.mark.parametrize("bits", [32, 64])
def test_extremes_of_integers_that_floats_round(bits):
    with jax.enable_x64() if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        dtype = np.dtype(f"int{bits}").type
        top = int(np.iinfo(dtype).max)
        x = np.array([top, top - 1, top - 9], dtype)
        for init in (top, top - 5):
            f = lambda x: lax.reduce_window(x, dtype(init), lax.min, (3,), (1,), [(2, 0)])
            check(f, x)


SELECT_AND_SCATTER = """func.func @main(%x: tensor<9xf32>, %s: tensor<5xf32>) -> tensor<9xf32> {{
  %i = stablehlo.constant dense<3.0> : tensor<f32>
  %0 = "stablehlo.select_and_scatter"(%x, %s, %i) ({{
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.compare {select}, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
    stablehlo.return %c : tensor<i1>
  }}, {{
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %r = stablehlo.{scatter} %a, %b : tensor<f32>
    stablehlo.return %r : tensor<f32>
  }}) {{window_dimensions = array<i64: 3>, window_strides = array<i64: 2>,
       padding = dense<[[1, 1]]> : tensor<1x2xi64>}}
    : (tensor<9xf32>, tensor<5xf32>, tensor<f32>) -> tensor<9xf32>
  return %0 : tensor<9xf32> }}"""


@pytest.mark.parametrize("select", ["GE", "LT", "NE"])
@pytest.mark.parametrize("scatter", ["add", "multiply", "subtract", "maximum"])
def test_select_and_scatter_with_any_functions(select, scatter):
    x = np.array([3, 1, np.nan, 2, 2, 5, 0, 4, 4], np.float32)
    source = np.array([1, 2, 3, 4, 5], np.float32)
    text = SELECT_AND_SCATTER.format(select=select, scatter=scatter)
    got, want = run_text(text, x, source), run_text(text, x, source, platform="cpu")
    np.testing.assert_array_equal(got[0], want[0])


SCATTER = """func.func @main(%x: tensor<6xf32>, %i: tensor<6x1xi32>, %u: tensor<6xf32>) -> tensor<6xf32> {{
  %two = stablehlo.constant dense<2.0> : tensor<f32>
  %0 = "stablehlo.scatter"(%x, %i, %u) ({{
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    {body}
    stablehlo.return %r : tensor<f32>
  }}) {{scatter_dimension_numbers = #stablehlo.scatter<inserted_window_dims = [0],
       scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}}
    : (tensor<6xf32>, tensor<6x1xi32>, tensor<6xf32>) -> tensor<6xf32>
  return %0 : tensor<6xf32> }}"""
SCATTERS = {
    "minus": "%r = stablehlo.subtract %a, %b : tensor<f32>",
    "minus, swapped": "%r = stablehlo.subtract %b, %a : tensor<f32>",
    "quotient": "%r = stablehlo.divide %a, %b : tensor<f32>",
    "update": "%r = stablehlo.add %b, %b : tensor<f32>",
    "decay": "%h = stablehlo.divide %a, %two : tensor<f32>\n %r = stablehlo.add %h, %b : tensor<f32>",
    "by select": "%c = stablehlo.compare GT, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>\n"
    "%r = stablehlo.select %c, %a, %b : tensor<i1>, tensor<f32>",
}


@pytest.mark.parametrize("name", SCATTERS)
def test_scatter_in_order(name):
    x = np.arange(6, dtype=np.float32)
    indices = np.array([[1], [4], [1], [9], [1], [0]], np.int32)
    updates = np.array([5, -3, np.nan, 7, 8, 2], np.float32)
    text = SCATTER.format(body=SCATTERS[name])
    want = interpret_text(text, x, indices, updates)[0]
    np.testing.assert_allclose(run_text(text, x, indices, updates)[0], want, rtol=1e-6)


WIDENED = """func.func @main(%x: tensor<4xi8>, %i: tensor<2x1xi32>, %u: tensor<2xi8>) -> (tensor<4xi32>, tensor<i32>, tensor<4xi32>) {
  %zero = stablehlo.constant dense<1> : tensor<i8>
  %0 = "stablehlo.scatter"(%x, %i, %u) ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %r = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %r : tensor<i32>
  }) {scatter_dimension_numbers = #stablehlo.scatter<inserted_window_dims = [0],
      scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}
    : (tensor<4xi8>, tensor<2x1xi32>, tensor<2xi8>) -> tensor<4xi32>
  %1 = "stablehlo.reduce"(%x, %zero) ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %r = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %r : tensor<i32>
  }) {dimensions = array<i64: 0>} : (tensor<4xi8>, tensor<i8>) -> tensor<i32>
  %2 = "stablehlo.reduce_window"(%x, %zero) ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %r = stablehlo.multiply %a, %b : tensor<i32>
    stablehlo.return %r : tensor<i32>
  }) {window_dimensions = array<i64: 2>, padding = dense<[[1, 0]]> : tensor<1x2xi64>}
    : (tensor<4xi8>, tensor<i8>) -> tensor<4xi32>
  return %0, %1, %2 : tensor<4xi32>, tensor<i32>, tensor<4xi32> }"""


def test_combiners_of_a_wider_type_than_their_inputs():
    x = np.array([100, 120, -128, 7], np.int8)
    got = run_text(WIDENED, x, np.array([[1], [3]], np.int32), np.array([127, 127], np.int8))
    np.testing.assert_array_equal(got[0], [100, 247, -128, 134])
    assert got[1] == 100
    np.testing.assert_array_equal(got[2], [100, 12000, -15360, -896])


SORT = """func.func @main(%x: tensor<{n}xf32>, %y: tensor<{n}xi32>) -> (tensor<{n}xf32>, tensor<{n}xi32>) {{
  %0:2 = "stablehlo.sort"(%x, %y) ({{
  ^bb0(%a: tensor<f32>, %b: tensor<f32>, %c: tensor<i32>, %d: tensor<i32>):
    {body}
    stablehlo.return %r : tensor<i1>
  }}) {{dimension = 0 : i64, is_stable = true}}
    : (tensor<{n}xf32>, tensor<{n}xi32>) -> (tensor<{n}xf32>, tensor<{n}xi32>)
  return %0#0, %0#1 : tensor<{n}xf32>, tensor<{n}xi32> }}"""
_F = lambda how, pair: f"stablehlo.compare {how}, {pair} : (tensor<f32>, tensor<f32>) -> tensor<i1>"
_I = lambda how, pair: f"stablehlo.compare {how}, {pair} : (tensor<i32>, tensor<i32>) -> tensor<i1>"
_T = lambda how, pair: f"stablehlo.compare {how}, {pair}, TOTALORDER : (tensor<f32>, tensor<f32>) -> tensor<i1>"


def _nan_key(nan, test="NE", kind=""):
    compare = f"stablehlo.compare {test}, {{0}}, {{0}}{kind} : (tensor<f32>, tensor<f32>) -> tensor<i1>"
    lines = [f"%nan = stablehlo.constant dense<{nan}> : tensor<f32>"]
    for v in "ab":
        lines.append(f"%is{v} = " + compare.format(f"%{v}"))
        lines.append(f"%k{v} = stablehlo.select %is{v}, %nan, %{v} : tensor<i1>, tensor<f32>")
    return "\n".join([*lines, "%r = " + _T("LT", "%ka, %kb")])


COMPARATORS = {
    "by absolute value": "%p = stablehlo.abs %a : tensor<f32>\n%q = stablehlo.abs %b : tensor<f32>\n%r = " + _F("LT", "%p, %q"),
    "by the second": "%r = " + _I("GT", "%c, %d"),
    "by both": f"%p = {_F('GT', '%a, %b')}\n%q = {_F('EQ', '%a, %b')}\n%s = {_I('LT', '%c, %d')}\n"
    "%t = stablehlo.and %q, %s : tensor<i1>\n%r = stablehlo.or %p, %t : tensor<i1>",
    "by sign only": "%z = stablehlo.constant dense<0.0> : tensor<f32>\n"
    f"%p = {_F('LT', '%a, %z')}\n%q = {_F('GE', '%b, %z')}\n%r = stablehlo.and %p, %q : tensor<i1>",
    "never": "%r = stablehlo.constant dense<false> : tensor<i1>",
    "total order": "%r = " + _T("LT", "%a, %b"),
    "NaN last": _nan_key("0x7FC00000"),
    "NaN first": _nan_key("0xFFC00000"),
    "NaN equal to itself": _nan_key("0xFFC00000", kind=", TOTALORDER"),
}


@pytest.mark.parametrize("name", COMPARATORS)
def test_sorts(name):
    rng = np.random.default_rng(5)
    x = rng.integers(-4, 5, 60).astype(np.float32)
    if "NaN" in name or "total" in name:
        bits = x.view(np.uint32)
        bits[[3, 17, 40]] = 0x7FC00000
        bits[[5, 29]] = 0xFFC00001
        bits[[8, 11]] = 0x80000000
    y = rng.integers(0, 3, 60).astype(np.int32)
    text = SORT.format(n=60, body=COMPARATORS[name])
    got, want = run_text(text, x, y), run_text(text, x, y, platform="cpu")
    np.testing.assert_array_equal(got[0].view(np.uint32), want[0].view(np.uint32))
    np.testing.assert_array_equal(got[1], want[1])


def test_windows_beyond_32_bits_are_refused():
    pads = (2**33, 2**33)
    f = lambda x: lax.reduce_window(x, np.float32(0), SATURATED, (2**33,), (2**33,), [pads])
    with pytest.raises(Exception, match="more than 2\\^31 positions"):
        run(f, SMALL, platform="mps")
