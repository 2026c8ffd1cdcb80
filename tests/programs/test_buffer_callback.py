"""jax.experimental.buffer_callback: callables that write a program's memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback
from jax.experimental.buffer_callback import ExecutionStage, buffer_callback


@pytest.fixture(autouse=True)
def on_mps(mps):
    with jax.default_device(mps):
        yield
    with jax.default_device(mps):  # JAX keeps the error of a callback until there is another one
        jax.jit(lambda: io_callback(lambda: None, None))()
    jax.effects_barrier()


def like(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


@pytest.mark.parametrize("dtype", ["bool", "int4", "int8", "uint16", "int32", "bfloat16", "float32", "complex64"])
@pytest.mark.parametrize("shape", [(), (3, 4), (0, 2)])
def test_values(dtype, shape):
    x = (np.arange(np.prod(shape)).reshape(shape) % 7).astype(jnp.dtype(dtype))

    def write(context, out, arg):
        assert context.stage == ExecutionStage.EXECUTE
        assert (arg.shape, arg.dtype, arg.writeable) == (shape, x.dtype, False)
        assert (out.shape, out.dtype, out.writeable) == (shape, x.dtype, True)
        with pytest.raises(jax.errors.JaxRuntimeError, match="GPU context"):
            _ = context.stream
        np.testing.assert_array_equal(np.asarray(arg), x)
        np.asarray(out)[...] = np.asarray(arg)[::-1] if shape else np.asarray(arg)

    got = jax.jit(lambda x: buffer_callback(write, like(x))(x))(x)
    np.testing.assert_array_equal(np.asarray(got), x[::-1] if shape else x)


def test_trees_keywords_and_dlpack():
    def write(_, out, pair, *, scale):
        total = np.from_dlpack(pair["a"]) + np.asarray(pair["b"], np.float32)
        np.asarray(out[0])[...] = total * np.asarray(scale)
        np.asarray(out[1])[...] = total.sum()

    shapes = (jax.ShapeDtypeStruct((3,), jnp.float32), jax.ShapeDtypeStruct((), jnp.float32))
    f = jax.jit(lambda a, b: buffer_callback(write, shapes)({"a": a, "b": b}, scale=jnp.float32(2)))
    scaled, total = f(jnp.arange(3.0), jnp.arange(3))
    np.testing.assert_array_equal(scaled, [0, 4, 8])
    assert float(total) == 6


@pytest.mark.parametrize("again", [False, True])
def test_a_result_may_share_the_memory_of_an_operand(again):
    def add_one(_, out, arg):
        assert np.asarray(arg).ctypes.data == np.asarray(out).ctypes.data
        np.asarray(out)[...] += 1

    x = jnp.arange(4.0) * 2
    f = jax.jit(lambda x: (buffer_callback(add_one, like(x), input_output_aliases={0: 0})(x), x + 0.5 if again else 0))
    np.testing.assert_array_equal(f(x)[0], [1, 3, 5, 7])
    np.testing.assert_array_equal(x, [0, 2, 4, 6])


@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all"])
def test_vmap(method):
    def add(_, out, x, y):
        np.asarray(out)[...] = np.asarray(x) + np.asarray(y)

    x, y = np.ones((2, 3), np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    f = buffer_callback(add, jax.ShapeDtypeStruct((3,), np.float32), vmap_method=method)
    np.testing.assert_array_equal(jax.vmap(f)(x, y), x + y)


def test_effects_are_not_dropped():
    calls = []
    f = buffer_callback(lambda *_: calls.append(1), jax.ShapeDtypeStruct((), jnp.float32), has_side_effect=True)
    jax.block_until_ready(jax.jit(lambda: (f(), 1)[1:])())
    jax.block_until_ready(jax.jit(f)())
    assert calls


def test_errors_and_buffers_that_are_kept():
    kept = []

    def keep(_, out, arg):
        kept.extend([out, arg])

    x = jnp.ones(3)
    jax.block_until_ready(buffer_callback(keep, like(x))(x))
    for buffer in kept:
        with pytest.raises(RuntimeError, match="has returned"):
            np.asarray(buffer)
    with pytest.raises(Exception, match="must return None"):
        jax.block_until_ready(buffer_callback(lambda _, out, arg: 3, like(x))(x))

    def read_only(_, out, arg):
        np.asarray(arg)[...] = 0

    with pytest.raises(Exception, match="read-only"):
        jax.block_until_ready(buffer_callback(read_only, like(x))(x))
