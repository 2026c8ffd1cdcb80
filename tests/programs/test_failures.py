"""A failure while a program runs names the op and the line of the user's source, as a refusal does."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax


def line_of(function, text):
    """file:line of the line of the function that contains the text."""
    lines, first = inspect.getsourcelines(function)
    return f"test_failures.py:{first + next(i for i, line in enumerate(lines) if text in line)}:"


def fail(x):
    raise ValueError("on purpose")


def call(x):
    return jax.pure_callback(fail, jax.ShapeDtypeStruct((3,), np.float32), x)  # here


def large(x):
    return lax.sort(jnp.broadcast_to(x, (1 << 20, 1 << 24)))[0, :1]  # here


def error_of(mps, function, argument):
    with pytest.raises(Exception) as caught:
        jax.jit(function)(jax.device_put(argument, mps)).block_until_ready()
    return str(caught.value)


@pytest.mark.parametrize("where", ["program", "scan", "while", "branch"])
def test_a_callback_that_raises(mps, where):
    program = {
        "program": lambda x: call(x) + 1,
        "scan": lambda x: lax.fori_loop(0, 3, lambda i, v: call(v) * 2, x),
        "while": lambda x: lax.while_loop(lambda v: v.sum() < 10, lambda v: call(v) * 2, x),
        "branch": lambda x: lax.cond(x.sum() > 0, call, lambda v: v, x),
    }[where]
    text = error_of(mps, program, np.ones(3, np.float32))
    assert "ValueError: on purpose" in text
    assert "custom_call @mps.python_callback" in text
    assert "tensor<3xf32>" in text or "f32[3]" in text, text
    assert line_of(call, "# here") in text, text


def test_no_memory(mps):
    """64 TiB."""
    if mps.device_kind != "cpu":
        pytest.skip("MLX's own text, late")
    text = error_of(mps, large, np.float32(1))
    assert "RESOURCE_EXHAUSTED" in text and "out of memory" in text
    assert line_of(large, "# here") in text, text
    text = error_of(mps, lambda x: jnp.broadcast_to(x, (1 << 20, 1 << 24)), np.float32(1))
    assert "out of memory: the results of " in text and " need 70368744177664 bytes, device " in text
