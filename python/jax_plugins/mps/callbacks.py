"""Calls from running programs into Python: pure_callback, io_callback, debug.callback, debug.print.

JAX's own rules refuse platforms they do not know. Ours emit a custom call that carries a number; the
plugin hands it, with the addresses of operands and results, to `_run`, which finds the callable.
"""

import atexit
import ctypes
import itertools
import secrets
import traceback
import weakref

import numpy as np

from jax_plugins.mps import private

TARGET = "mps.python_callback"

# A program that comes from another process, by way of a cache on disk, finds no callable here rather
# than a wrong one.
_numbers = itertools.count(secrets.randbits(62))
_callables = weakref.WeakValueDictionary()  # kept alive by JAX's executables, and by
_held = {}  # the plugin's programs: number -> (callable, how many)


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


@ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int)
def _hold(number, keep):
    entry, count = _held.get(number, (_callables.get(number), 0))
    count += 1 if keep else -1
    if count > 0:
        _held[number] = entry, count
    else:
        _held.pop(number, None)


class _Table(ctypes.Structure):
    """PythonCallbacks of src/ops/python_callback.h."""

    _fields_ = (("run", type(_run)), ("hold", type(_hold)), ("open", ctypes.c_int))


_table = _Table(_run, _hold, 1)
# The plugin may look at it until the very end of the process.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_table))


@atexit.register
def _close():
    _table.open = 0


def address() -> int:
    """The table of C functions that the plugin calls."""
    return ctypes.addressof(_table)


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
