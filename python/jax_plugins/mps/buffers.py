"""What the callable of jax.experimental.buffer_callback is called with: a program's own memory.

The memory is the program's until the callable returns, and serves other values from then on. A Buffer
refuses itself then; arrays that were made of it must not be used any more, as on JAX's CPU backend.
Callables run on the host on every device: on a GPU the memory is a copy there.
"""

import ctypes

import jax
import numpy as np


class Buffer:
    """An array-like object: `shape`, `dtype`, `writeable`, NumPy's array protocol and dlpack."""

    def __init__(self, address, form, *, writeable: bool):
        shape, dtype, size = form
        if size:
            memory = (ctypes.c_byte * size).from_address(address)
            array = np.frombuffer(memory, np.uint8).view(dtype).reshape(shape)
        else:
            array = np.empty(shape, dtype)
        array.flags.writeable = writeable
        self._array = array
        self.shape, self.dtype, self.writeable = shape, dtype, writeable

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def close(self) -> None:
        """Ends the access to the memory."""
        self._array = None

    def _open(self):
        if self._array is None:
            raise RuntimeError("the callback that this buffer belongs to has returned")
        return self._array

    def __array__(self, dtype=None, copy=None):
        array = self._open()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(f"a buffer of {array.dtype} cannot be read as {dtype} without a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options):
        return self._open().__dlpack__(**options)

    def __dlpack_device__(self):
        return self._open().__dlpack_device__()


class ExecutionContext:
    """The first argument of the callable."""

    @property
    def stage(self):
        from jax.experimental.buffer_callback import ExecutionStage

        return ExecutionStage.EXECUTE

    @property
    def stream(self):
        raise jax.errors.JaxRuntimeError("XLA FFI GPU context is not available: callables run on the host")
