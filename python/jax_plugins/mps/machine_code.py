"""Machine code for loops on the CPU: LLVM, from the package llvmlite where it is installed.

The plugin prints a loop as LLVM's text; `_compile` optimises it for this processor and answers with the
function's address. The object code is kept in JAX's persistent compilation cache, if that is switched on:
in the folder `mps_code` of `jax_compilation_cache_dir`.
"""

import _thread
import atexit
import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import itertools
import os
import pathlib
import threading

import jax

_lock = threading.RLock()
_numbers = itertools.count(1)
_engines = {}  # number -> the engine that owns the code

_FAIL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64)
_COMPILE = ctypes.CFUNCTYPE(
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_int64,
    ctypes.POINTER(ctypes.c_int64),
    ctypes.c_void_p,
    ctypes.c_void_p,
)
_RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_int64)


class _Table(ctypes.Structure):
    """CodeGenerator in src/kernels/llvm/compiler.h."""

    _fields_ = [("compile", _COMPILE), ("release", _RELEASE), ("open", ctypes.c_int)]


class _Processor:
    """LLVM for this processor; made when the first loop is compiled."""

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


def _compile(text, size, name, symbols, addresses, count, handle, sink, fail):
    try:
        with _lock:
            processor = _processor()
            for symbol, address in zip(symbols[:count], addresses[:count], strict=True):
                processor.llvm.add_symbol(symbol.decode(), address)
            source = ctypes.string_at(text, size).decode()
            engine = processor.load(_cached(source, lambda: processor.object_code(source)))
            address = engine.get_function_address(name.decode())
            handle[0] = next(_numbers)
            _engines[handle[0]] = engine
            return address
    except BaseException as error:  # whatever it is, the plugin has another way
        if isinstance(error, KeyboardInterrupt):
            # No exception leaves this call; it is raised again where one can.
            threading.Timer(0.01, _thread.interrupt_main).start()
        message = f"{type(error).__name__}: {error}".encode()
        ctypes.cast(fail, _FAIL)(sink, message, len(message))
        return None


def _release(handle):
    with _lock:
        engine = _engines.pop(handle, None)
        if engine is not None:
            engine.close()


_table = _Table(_COMPILE(_compile), _RELEASE(_release), 1)
# The plugin may look at them, and run the code, until the very end of the process.
for _kept in (_table, _engines):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_kept))


@atexit.register
def _close():
    # Whoever is inside gets out first.
    with _lock:
        _table.open = 0


def address() -> int | None:
    """Of the table of functions for the plugin; None without llvmlite."""
    if importlib.util.find_spec("llvmlite") is None:
        return None
    return ctypes.addressof(_table)
