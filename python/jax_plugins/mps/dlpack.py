"""DLPack for arrays on the CPU device and on NVIDIA's GPUs, as far as JAX has it for platforms of its own only.

A consumer shares the memory: it is neither overwritten nor freed before the consumer gives it back. Of an
array on a GPU it gets a copy, because nothing keeps an array there from being deleted or donated.
"""

import ctypes

import jax.numpy as jnp
import numpy as np

_CPU, _CUDA = 1, 2
_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_KINDS = {code: kind for kind, code in _CODES.items()}
_BFLOAT16 = 4


class _Tensor(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


_given = {}  # address of the tensor -> what must live until the consumer calls the deleter


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _delete(address, give_back=_given.pop):
    give_back(address, None)


_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p)
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_NAME = b"dltensor"  # a consumer renames what it has taken
_VERSIONED, _HEADER = b"dltensor_versioned", 32  # bytes before the tensor: version, context, deleter, flags


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _drop(capsule):
    if _is_valid(capsule, _NAME):
        _given.pop(_pointer(capsule, _NAME), None)


def kind(device) -> int | None:
    """DLPack's type of our device; none if it has none for it."""
    if device.device_kind == "cpu":
        return _CPU
    return _CUDA if "cuda" in device.client.platform_version else None


def export(array, *, stream=None, dl_device=None, copy=None, max_version=None):
    """The capsule for `array.__dlpack__`."""
    (where,) = array.devices()
    if dl_device is not None and tuple(map(int, dl_device)) != (kind(where), 0):
        raise BufferError(f"an array on {array.device} cannot be exported for the device {dl_device}")
    if kind(where) == _CPU:
        memory = np.array(array) if copy else np.asarray(array)
        data = memory.ctypes.data
    elif copy is False:
        raise BufferError("an array on a GPU is exported as a copy")
    else:
        memory = jnp.copy(array)
        data = memory.unsafe_buffer_pointer()
    code = _CODES.get(memory.dtype.kind) if memory.dtype.isbuiltin == 1 else None
    if memory.dtype.name == "bfloat16":
        code = _BFLOAT16
    if code is None:
        raise BufferError(f"DLPack has no {memory.dtype}")
    shape = (ctypes.c_int64 * max(memory.ndim, 1))(*memory.shape)
    tensor = _Tensor(
        data, kind(where), 0, memory.ndim, code, 8 * memory.dtype.itemsize, 1, shape, None, 0, None,
        ctypes.cast(_delete, ctypes.c_void_p),
    )
    address = ctypes.addressof(tensor)
    _given[address] = memory, shape, tensor
    return _new(address, _NAME, ctypes.cast(_drop, ctypes.c_void_p))


def copy_of(capsule):
    """The array of a capsule on the CPU, whatever its strides, as one of NumPy's own."""
    is_versioned = _is_valid(id(capsule), _VERSIONED)
    address = _pointer(id(capsule), _VERSIONED if is_versioned else _NAME)
    tensor = _Tensor.from_address(address + (_HEADER if is_versioned else 0))
    shape = tensor.shape[: tensor.ndim]
    kind = "bfloat16" if tensor.code == _BFLOAT16 else _KINDS.get(tensor.code, "")
    if tensor.lanes != 1 or not kind:
        raise BufferError(f"no array of JAX holds DLPack's type ({tensor.code}, {tensor.bits}, {tensor.lanes})")
    dtype = jnp.dtype(kind if len(kind) > 1 else f"{kind}{tensor.bits // 8}" if kind != "b" else "bool")
    if 0 in shape:
        return np.empty(shape, dtype)
    strides = [s * dtype.itemsize for s in tensor.strides[: tensor.ndim]] if tensor.strides else None
    low, high = 0, dtype.itemsize * (1 if strides else int(np.prod(shape)))
    for size, stride in zip(shape, strides or (), strict=False):
        low, high = low + min(0, (size - 1) * stride), high + max(0, (size - 1) * stride)
    memory = (ctypes.c_char * (high - low)).from_address(tensor.data + tensor.byte_offset + low)
    return np.array(np.ndarray(shape, dtype, memory, -low, strides))
