"""What the plugin has to know of this interpreter, and the gate through which its threads come in.

A thread that is inside of Python when it ends, or that wants its lock then, would take the process down.
"""

import atexit
import contextlib
import ctypes
import os
import signal
import threading
import time

import jax


@ctypes.CFUNCTYPE(ctypes.c_int)
def _raises_interrupt():
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


class _Table(ctypes.Structure):
    """Interpreter in src/base/interpreter.h."""

    _fields_ = (
        ("current_state", ctypes.c_void_p),
        ("state_of_thread", ctypes.c_void_p),
        ("release_lock", ctypes.c_void_p),
        ("take_lock", ctypes.c_void_p),
        ("add_pending_call", ctypes.c_void_p),
        ("raises_interrupt", type(_raises_interrupt)),
        ("main_thread", ctypes.c_uint64),
        ("inside", ctypes.c_int64),
        ("owed", ctypes.c_int64),
        ("open", ctypes.c_int32),
    )


def _function(*names):
    """The address of the first of the interpreter's functions that it has."""
    found = next(name for name in names if hasattr(ctypes.pythonapi, name))
    return ctypes.cast(getattr(ctypes.pythonapi, found), ctypes.c_void_p).value


_table = _Table(
    _function("PyThreadState_GetUnchecked", "_PyThreadState_UncheckedGet"),
    _function("PyGILState_GetThisThreadState"),
    _function("PyEval_SaveThread"),
    _function("PyEval_RestoreThread"),
    _function("Py_AddPendingCall"),
    _raises_interrupt,
    threading.main_thread().ident,
    0,
    0,
    1,
)


def keep(value) -> int:
    """The address of a ctypes object, at which the plugin may look until the very end of the process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
    return ctypes.addressof(value)


address = keep(_table)
lock = threading.RLock()  # of what is done to its end, however long it takes


def is_open() -> bool:
    """Whether threads may still come in; with the lock held it stays so."""
    return bool(_table.open)


@atexit.register
def _close():
    with contextlib.suppress(Exception):
        jax.effects_barrier()
    with lock:
        _table.open = 0
    deadline = time.monotonic() + 5
    time.sleep(0)
    while (_table.inside or _table.owed) and time.monotonic() < deadline:
        time.sleep(0.001)


def _in_child():
    _table.main_thread = threading.main_thread().ident


os.register_at_fork(after_in_child=_in_child)
