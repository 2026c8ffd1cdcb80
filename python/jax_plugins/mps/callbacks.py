"""Calls from running programs into Python: pure_callback, io_callback, debug.callback, debug.print.

JAX's own rules refuse platforms they do not know. Ours emit a custom call that carries a number; the
plugin hands it, with the addresses of operands and results, to `_run`, which finds the callable.
"""

import ctypes
import itertools
import traceback
import weakref

import numpy as np

from jax_plugins.mps import private

TARGET = "mps.python_callback"

_numbers = itertools.count(1)
_callables = weakref.WeakValueDictionary()  # kept alive by the programs that call them


class _Callable:
    """A callable with the shapes and types of what it takes and gives."""

    def __init__(self, function, operands, results):
        self.function = function
        self.operands = [(a.shape, np.dtype(a.dtype)) for a in operands]
        self.results = [(a.shape, np.dtype(a.dtype)) for a in results]

    def run(self, operands, results) -> None:
        arguments = [
            _view(address, *form) for address, form in zip(operands, self.operands, strict=False)
        ]
        for argument in arguments:
            argument.flags.writeable = False
        values = self.function(*arguments)
        for address, (shape, dtype), value in zip(results, self.results, values, strict=False):
            value = np.asarray(value)
            if value.shape != shape or value.dtype != dtype:
                raise TypeError(
                    f"a callback returned {value.dtype}{list(value.shape)} where {dtype}"
                    f"{list(shape)} was promised"
                )
            _view(address, shape, dtype)[...] = value


def _view(address, shape, dtype):
    count = int(np.prod(shape))
    if count == 0:
        return np.empty(shape, dtype)
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, np.uint8).view(dtype).reshape(shape)


@ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
    ctypes.c_int64,
)
def _run(number, operands, results, error, error_size):
    try:
        entry = _callables.get(number)
        if entry is None:
            raise RuntimeError("the callback of this program is gone")
        entry.run(operands, results)
        return 0
    except BaseException:  # whatever it is, it may not leave through C
        text = traceback.format_exc().encode()[-error_size + 1 :] + b"\0"
        ctypes.memmove(error, text, len(text))
        return 1


def address() -> int:
    """The C function that the plugin calls."""
    return ctypes.cast(_run, ctypes.c_void_p).value


def register(platform: str) -> None:
    """Registers the rules of the four primitives for `platform`."""
    for module, name, rule in (
        ("callback", "pure_callback_p", _pure_callback),
        ("callback", "io_callback_p", _io_callback),
        ("debugging", "debug_callback_p", _debug_callback),
        ("debugging", "debug_print_p", _debug_print),
    ):
        prim = private.primitive(module, name)
        if prim is not None:
            private.register_lowering(prim, rule, platform, cacheable=False)


def _emit(ctx, function, operands, *, effect=None, side_effect=True):
    """The custom call; `effect` is the ordered effect whose token goes through it, or None."""
    entry = _Callable(function, ctx.avals_in, ctx.avals_out)
    number = next(_numbers)
    _callables[number] = entry
    ctx.module_context.add_keepalive(entry)
    types = [private.ir_type(ctx, aval) for aval in ctx.avals_out]
    tokens = []
    if effect is not None:
        tokens = [ctx.tokens_in.get(effect)]
        types = [tokens[0].type, *types]
    results = private.custom_call(TARGET, [*tokens, *operands], types, f"id={number}", side_effect)
    if effect is not None:
        private.set_token(ctx, effect, results.pop(0))
    return results


def _pure_callback(ctx, *operands, **params):
    run = private.function("callback", "pure_callback_impl")
    return _emit(ctx, lambda *a: tuple(run(*a, **params)), operands, side_effect=False)


def _io_callback(ctx, *operands, ordered, **params):
    run = private.function("callback", "io_callback_impl")
    effect = private.primitive("callback", "_OrderedIOEffect") if ordered else None
    return _emit(ctx, lambda *a: tuple(run(*a, ordered=ordered, **params)), operands, effect=effect)


def _debug_callback(ctx, *operands, effect, **params):
    run = private.primitive("debugging", "debug_callback_p").impl
    ordered = private.primitive("effects", "ordered_effects").contains(effect)
    return _emit(
        ctx, lambda *a: run(*a, effect=effect, **params), operands, effect=effect if ordered else None
    )


def _debug_print(ctx, *operands, ordered, **params):
    run = private.primitive("debugging", "debug_print_p").impl
    effect = private.primitive("debugging", "ordered_debug_effect") if ordered else None
    return _emit(ctx, lambda *a: run(*a, ordered=ordered, **params), operands, effect=effect)
