"""Machine code for the CPU: LLVM, from the package llvmlite where it is installed.

The plugin prints a loop or a fusion as LLVM's text; `_compile` optimises it for this processor and tells the
function's address, at once or from the thread of this module, which compiles one text after the other. LLVM is
imported for the first of them, which takes some 70 ms. The object code is kept in JAX's persistent compilation cache, if that is switched on:
in the folder `mps_code` of `jax_compilation_cache_dir`.
"""

import _thread
import collections
import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import itertools
import os
import pathlib
import threading
import time

import jax

from jax_plugins.mps import interpreter

_lock = interpreter.lock  # of LLVM
_numbers = itertools.count(1)
_engines = {}  # number -> the engine that owns the code
_soon, _later = collections.deque(), collections.deque()  # what the thread has yet to compile
_wake = threading.Semaphore(0)  # counts those
_worker = None

_DONE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p, ctypes.c_int64
)
_COMPILE = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_int64,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
)
_RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_int64)


class _Table(ctypes.Structure):
    """CodeGenerator in src/kernels/llvm/compiler.h."""

    _fields_ = (("compile", _COMPILE), ("release", _RELEASE))


class _Processor:
    """LLVM for this processor; made when the first text is compiled."""

    def __init__(self):
        from llvmlite import binding

        self.llvm = binding
        # Older versions want to be told.
        with contextlib.suppress(RuntimeError):
            binding.initialize()
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        self.cpu = binding.get_host_cpu_name()
        self.features = binding.get_host_cpu_features().flatten()
        version = ".".join(map(str, binding.llvm_version_info))
        self.printer = self.machine()  # engines own theirs
        self.version = f"{version} {binding.get_default_triple()} {self.cpu} {self.features}"

    def machine(self):
        target = self.llvm.Target.from_default_triple()
        return target.create_target_machine(cpu=self.cpu, features=self.features, opt=2)

    def parse(self, text, machine, context=None):
        module = self.llvm.parse_assembly(text, context)
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        return module

    def object_code(self, text):
        context = self.llvm.create_context()
        machine = self.printer
        with self.parse(text, machine, context) as module:
            options = self.llvm.create_pipeline_tuning_options(speed_level=2)
            options.loop_vectorization = True
            # Takes most of the time, more than in proportion to the text.
            options.slp_vectorization = len(text) < 32_000
            options.loop_interleaving = True
            options.loop_unrolling = True
            passes = self.llvm.create_pass_builder(machine, options)
            manager = passes.getModulePassManager()
            try:
                manager.run(module, passes)
            finally:
                self.free(manager)
            return machine.emit_object(module)

    def free(self, manager):
        # In llvmlite a base class without `_dispose` of its own hides the one that frees.
        owner = self.llvm.newpassmanagers.NewPassManager
        if manager._dispose.__func__ is self.llvm.ffi.ObjectRef._dispose and hasattr(owner, "_dispose"):
            owner._dispose(manager)
            manager.detach()
        manager.close()

    def load(self, code):
        # The engine takes the machine and the module over.
        machine = self.machine()
        engine = self.llvm.create_mcjit_compiler(self.parse("", machine), machine)
        engine.add_object_file(self.llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return engine


@functools.cache
def _processor():
    return _Processor()


def _cached(text, make):
    """Object code from the folder of JAX's cache, or made and put there."""
    folder = jax.config.jax_compilation_cache_dir
    if not folder or not jax.config.jax_enable_compilation_cache or "://" in folder:
        return make()
    name = hashlib.sha256(f"{_processor().version}\n{text}".encode()).hexdigest()
    path = pathlib.Path(folder) / "mps_code" / f"{name}.o"
    # The file ends with its own hash: one that was cut short is made anew.
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        if hashlib.sha256(data[:-32]).digest() == data[-32:]:
            return data[:-32]
    code = make()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        part.write_bytes(code + hashlib.sha256(code).digest())
        part.replace(path)
    return code


def _generate(text, name, symbols):
    """The number of the engine and the address of the function."""
    with _lock:
        if not interpreter.is_open():
            raise RuntimeError("the Python interpreter is ending")
        processor = _processor()
        for symbol, address in symbols:
            processor.llvm.add_symbol(symbol.decode(), address)
        engine = processor.load(_cached(text, lambda: processor.object_code(text)))
        number = next(_numbers)
        _engines[number] = engine
        return number, engine.get_function_address(name.decode())


def _finish(text, name, symbols, done, sink):
    number, address, message = 0, None, b""
    try:
        number, address = _generate(text.decode(), name, symbols)
    except BaseException as error:  # whatever it is, the plugin has another way
        if isinstance(error, KeyboardInterrupt):
            # No exception leaves this call; it is raised again where one can.
            threading.Timer(0.01, _thread.interrupt_main).start()
        message = f"{type(error).__name__}: {error}".encode()
    ctypes.cast(done, _DONE)(sink, address, number, message, len(message))


def _compile(text, size, name, symbols, addresses, count, when, done, sink):
    job = (
        ctypes.string_at(text, size), name,
        list(zip(symbols[:count], addresses[:count], strict=True)), done, sink,
    )  # fmt: skip
    if when == 0:
        return _finish(*job)
    (_soon if when == 1 else _later).append(job)
    _wake.release()
    _start()


def _release(number):
    with _lock:
        engine = _engines.pop(number, None)
        if engine is not None:
            engine.close()


def _work():
    while True:
        _wake.acquire()
        soon = len(_soon) > 0
        job = (_soon or _later).popleft()
        start = time.monotonic()
        # Who leaves waits for what is under way, not for more.
        with _lock:
            if interpreter.is_open():
                _finish(*job)
        if not soon:
            time.sleep(time.monotonic() - start)  # half of the time is the program's


def _start():
    global _worker
    if _worker is None:
        _worker = threading.Thread(target=_work, name="jax-mps machine code", daemon=True)
        _worker.start()


def _after_fork():
    # The thread is gone; what it was to do waits for the next one.
    global _worker, _wake
    _worker, _wake = None, threading.Semaphore(len(_soon) + len(_later))
    _lock.release()


# Not amidst an import or LLVM's work.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork)

# The table of functions for the plugin, which may run the code until the very end of the process; None without llvmlite.
address = None
if importlib.util.find_spec("llvmlite") is not None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_engines))
    address = interpreter.keep(_Table(_COMPILE(_compile), _RELEASE(_release)))
