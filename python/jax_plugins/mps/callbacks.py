"""Calls from running programs into Python: pure_callback, io_callback, debug.callback, debug.print.

JAX's own rules refuse platforms they do not know. Ours emit a custom call that carries a number; the
plugin hands it, with the addresses of operands and results, to `_run`, which finds the callable.

As on JAX's CPU backend a callable takes jax.Arrays on the CPU device and whatever it returns is
converted. In a process without that device (JAX_PLATFORMS=mps) they are on the first device of ours.
"""

import ctypes
import functools
import itertools
import logging
import secrets
import traceback
import weakref

import jax
import numpy as np

from jax_plugins.mps import buffers, interpreter, private

_DEBUG = "jax.debug.callback"
TARGET = "mps.python_callback"

# A program that comes from another process, by way of a cache on disk, finds no callable here rather
# than a wrong one.
_numbers = itertools.count(secrets.randbits(62))
_callables = weakref.WeakValueDictionary()  # kept alive by JAX's executables, and by
_held = {}  # the plugin's programs: number -> (callable, how many)


class _Callable:
    """A callable with the shapes and types of what it takes and gives."""

    def __init__(self, name, function, operands, results):
        self.name = name
        self.function = function
        self.operands = [_form(aval) for aval in operands]
        self.results = [_form(aval) for aval in results]
        self.bytes = [size for _, _, size in self.operands + self.results]

    def run(self, operands, results) -> None:
        values = self.call([_copy(*at) for at in zip(operands, self.operands, strict=False)])
        if len(values) != len(self.results):
            raise RuntimeError(
                f"Mismatched number of outputs from callback. Expected: {len(self.results)}, Actual: {len(values)}"
            )
        checked = [_convert(i, *pair) for i, pair in enumerate(zip(values, self.results, strict=True))]
        for address, value in zip(results, checked, strict=False):
            ctypes.memmove(address, value.ctypes.data, value.nbytes)


    def call(self, arguments):
        return _call(self.function, arguments)


class _OnNumPy(_Callable):
    """A callable that takes NumPy's arrays."""

    def call(self, arguments):
        return self.function(*arguments)


class _InPlace(_Callable):
    """The callable of a buffer_callback, which writes the program's own memory."""

    def __init__(self, name, function, operands, results, aliases):
        super().__init__(name, function, operands, results)
        self.aliases = aliases  # pairs of an operand and the result that it shares memory with

    def run(self, operands, results) -> None:
        places = [operands[i] for i in range(len(self.operands))]
        for operand, result in self.aliases:
            if self.operands[operand][2]:
                ctypes.memmove(results[result], places[operand], self.operands[operand][2])
            places[operand] = results[result]
        taken = [buffers.Buffer(*at, writeable=False) for at in zip(places, self.operands, strict=True)]
        given = [buffers.Buffer(results[i], form, writeable=True) for i, form in enumerate(self.results)]
        try:
            self.function(buffers.ExecutionContext(), *taken, *given)
        finally:
            for buffer in taken + given:
                buffer.close()


def _form(aval):
    shape, dtype = private.physical_form(aval)
    return shape, dtype, int(np.prod(shape)) * dtype.itemsize


def _copy(address, form):
    """An array of its own: the memory serves other values as soon as the call is over."""
    shape, dtype, size = form
    copy = np.empty(shape, dtype)
    if size:
        ctypes.memmove(copy.ctypes.data, address, size)
    return copy


def _convert(i, value, form):
    """The value as the dense array that was promised, by the conversions and checks of JAX."""
    shape, dtype, _ = form
    value = np.asarray(value)
    if value.dtype != dtype:
        value = value.astype(jax.dtypes.canonicalize_dtype(value.dtype))
    if value.shape != shape:
        raise RuntimeError(
            f"Incorrect output shape for return value #{i}: Expected: {shape}, Actual: {value.shape}"
        )
    if value.dtype != dtype:
        raise RuntimeError(
            f"Incorrect output dtype for return value #{i}: Expected: {dtype}, Actual: {value.dtype}"
        )
    return np.ascontiguousarray(value)


def _device():
    """Where callables find their arguments and compute."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


def _call(function, arguments):
    device = _device()
    with jax.default_device(device):
        return function(*jax.device_put(arguments, device))


def _describe(error, seen=()) -> str:
    """The traceback as text. Python marks columns with the help of its parser, which in some versions
    does not bear two threads; so they are left out here, where the main thread may do the like."""
    text = ""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and cause not in seen:
        how = "was the direct cause of" if error.__cause__ else "was being handled at the time of"
        text = f"{_describe(cause, (*seen, error))}\nThe exception above {how} this one:\n\n"
    frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__))
    lines = [*frames.format(), *traceback.format_exception_only(type(error), error)]
    return f"{text}Traceback (most recent call last):\n{''.join(lines)}"


def _text(error) -> bytes:
    try:
        return _describe(error).encode(errors="backslashreplace")
    except BaseException as again:  # an exception's own methods may fail
        return f"{type(error).__name__}, and writing its traceback failed: {type(again).__name__}".encode()


def _log(name, text):
    """To the logger of JAX's own rules, in their words: libraries filter by them."""
    try:
        logger = private.callback_logger(name)
        record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, "%s failed", (name,), None)
        record.exc_text = text.decode()
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except BaseException:  # a handler of the user's, whose failure is not the callback's
        return


_Fail = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64)


@ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_int64),
    ctypes.c_int64,
    ctypes.c_void_p,
    _Fail,
)
def _run(number, operands, results, sizes, count, sink, fail):
    entry = _callables.get(number)
    try:
        if entry is None:
            raise RuntimeError("the callback of this program is gone")
        if sizes[:count] != entry.bytes:
            raise RuntimeError("the program does not fit the callback that it names")
        entry.run(operands, results)
        return 0
    except BaseException as error:  # whatever it is, it may not leave through C
        text = _text(error)
        fail(sink, text, len(text))
        if entry is not None:
            _log(entry.name, text)
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

    _fields_ = (("run", type(_run)), ("hold", type(_hold)))


# The C functions that the plugin calls.
address = interpreter.keep(_Table(_run, _hold))


def register(platform: str, name: str) -> None:
    """Registers the rules of the primitives for `platform`, presented as `name`."""
    for module, primitive, rule in (
        ("callback", "pure_callback_p", _pure_callback),
        ("callback", "io_callback_p", _io_callback),
        ("buffer_callback", "buffer_callback_p", _buffer_callback),
        ("debugging", "debug_callback_p", _debug_callback),
        ("debugging", "debug_print_p", _debug_print),
        ("checkify", "check_p", _check),
    ):
        prim = private.primitive(module, primitive)
        if prim is not None:
            private.register_lowering(prim, rule, platform, cacheable=False)
    private.emit_python_callbacks(platform, name, _emit_for_others)


def serve_without_cpu() -> None:
    """Outside of programs JAX calls debug callbacks itself, and asks for its CPU device. In a process
    that is not to have one they are called with arrays on ours."""
    platforms = jax.config.jax_platforms
    if not platforms or "cpu" in platforms.split(","):
        return
    for name, function in (
        ("debug_callback_p", lambda callback, **_: callback),
        ("debug_print_p", lambda **params: _print_function(params)),
    ):
        prim = private.primitive("debugging", name)
        if prim is not None:
            prim.def_impl(functools.partial(_call_eagerly, function))


def _call_eagerly(function, *arguments, **params):
    return _call(_no_values(function(**params)), list(arguments))


def _emit(ctx, name, function, operands, *, effect=None, side_effect=True, sharding=None):
    """The custom call; `effect` is the ordered effect whose token goes through it, or None."""
    entry = _Callable(name, function, ctx.avals_in, ctx.avals_out)
    return _emit_entry(ctx, entry, operands, effect=effect, side_effect=side_effect, sharding=sharding)


def _emit_entry(ctx, entry, operands, *, effect=None, side_effect=True, sharding=None):
    token = None if effect is None else ctx.tokens_in.get(effect)
    results, token = _emit_call(ctx, entry, operands, ctx.avals_out, token, side_effect, sharding)
    if effect is not None:
        private.set_token(ctx, effect, token)
    return results


def _emit_call(ctx, entry, operands, avals_out, token, side_effect, sharding):
    """The results, and the token behind the call where one was given."""
    number = next(_numbers)
    _callables[number] = entry
    ctx.module_context.add_keepalive(entry)
    # Nobody calls it: JAX does not write programs with host callbacks to its persistent cache.
    ctx.module_context.add_host_callback(entry.run)
    tokens = [] if token is None else [token]
    types = [*(t.type for t in tokens), *(private.ir_type(ctx, aval) for aval in avals_out)]
    call = private.custom_call(TARGET, [*tokens, *operands], types, f"id={number}", side_effect)
    if sharding is not None:
        private.set_callback_sharding(ctx, call, sharding, len(tokens))
    results = list(call.results)
    return results, results.pop(0) if tokens else None


def _emit_for_others(ctx, callback, token, operands, operand_avals, result_avals, *, has_side_effect, sharding=None, **_):
    """`emit_python_callback` of JAX, which lowering rules of other packages call, on our platform."""
    entry = _OnNumPy("a callback", callback, operand_avals, result_avals)
    results, token = _emit_call(ctx, entry, operands, result_avals, token, has_side_effect, sharding)
    return results, token, entry


def _pure_callback(ctx, *operands, callback, sharding, **_):
    where = private.callback_sharding(ctx, sharding)
    return _emit(ctx, "jax.pure_callback", callback, operands, side_effect=False, sharding=where)


def _io_callback(ctx, *operands, callback, sharding, ordered, **_):
    effect = private.primitive("callback", "_OrderedIOEffect") if ordered else None
    where = private.callback_sharding(ctx, sharding)
    return _emit(ctx, "jax.io_callback", callback, operands, effect=effect, sharding=where)


def _buffer_callback(ctx, *operands, callback, in_tree, out_tree, has_side_effect, input_output_aliases, **_):
    def call(context, *flat):
        positional, keywords = jax.tree.unflatten(in_tree, flat[: in_tree.num_leaves])
        out = jax.tree.unflatten(out_tree, flat[in_tree.num_leaves :])
        if callback(context, out, *positional, **keywords) is not None:
            raise ValueError("the callable of a buffer_callback must return None: it writes its results in place")

    entry = _InPlace("jax.buffer_callback", call, ctx.avals_in, ctx.avals_out, input_output_aliases)
    return _emit_entry(ctx, entry, operands, side_effect=has_side_effect)


def _debug_callback(ctx, *operands, callback, effect, **_):
    ordered = private.primitive("effects", "ordered_effects").contains(effect)
    return _emit(ctx, _DEBUG, _no_values(callback), operands, effect=effect if ordered else None)


def _debug_print(ctx, *operands, ordered, **params):
    effect = private.primitive("debugging", "ordered_debug_effect") if ordered else None
    return _emit(ctx, _DEBUG, _no_values(_print_function(params)), operands, effect=effect)


def _check(ctx, *operands, err_tree, debug):
    if debug or not jax.config.jax_experimental_unsafe_xla_runtime_errors:
        return private.function("checkify", "check_lowering_rule_unsupported")(debug=debug)
    report = functools.partial(private.function("checkify", "python_err"), err_tree)
    return _emit(ctx, "checkify.check", report, operands)


def _print_function(params):
    """What debug.print calls, as in JAX's own rule."""
    form = private.function("debugging", "_format_print_callback")
    form = functools.partial(
        form, params["fmt"], dict(params["np_printoptions"]), params["has_placeholders"], params["logging_record"]
    )
    return private.function("debugging", "_make_flat_callback")(params["in_tree"], form, params["static_args"])


def _no_values(function):
    def call(*arguments):
        function(*arguments)
        return ()

    return call
