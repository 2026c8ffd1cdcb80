"""How arrays come and go when a function is called op by op, as at a prompt.

An operand is the result of another program (SOURCES). The results are handed on (HANDOVERS) and read
(READERS) while what they came from is deleted. Each way keeps every bit.
"""

import itertools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

identity = jax.jit(lambda a: a)
reversed_in_place = jax.jit(lambda a: lax.rev(a, range(a.ndim)), donate_argnums=0)
transpose = jax.jit(lambda a: a.T)
middle = jax.jit(lambda a: a[1])
reshaped = jax.jit(lax.reshape, static_argnums=1)
donated = jax.jit(lambda a: a, donate_argnums=0)


def same_bits(got, want):
    got, want = np.asarray(got), np.asarray(want)
    return got.dtype == want.dtype and got.shape == want.shape and got.tobytes() == want.tobytes()


@jax.jit
def by_transform(a):
    """A transform of length 1 changes nothing, and is computed by another library than the rest."""
    if jnp.issubdtype(a.dtype, jnp.complexfloating):
        return lax.fft(a[..., None], "FFT", (1,))[..., 0]
    return lax.fft(lax.complex(a, jnp.zeros_like(a))[..., None], "IRFFT", (1,))[..., 0]


# From a NumPy array and a device, a device array with these bits.
def from_identity(a, device):
    return identity(jax.device_put(a, device))


def from_reshape(a, device):
    return reshaped(jax.device_put(a.reshape(-1), device), a.shape)


def from_slice(a, device):
    """Part of a larger array that is gone."""
    whole = jax.device_put(np.stack([a[::-1] if a.ndim else a, a, a]), device)
    part = middle(whole)
    whole.delete()
    return part


def from_transpose(a, device):
    return transpose(jax.device_put(a.T.copy(), device))


def from_donated(a, device):
    return reversed_in_place(jax.device_put(np.flip(a).copy(), device))


def from_graph(a, device):
    """The result of a transform where the type has one and zeros keep their signs."""
    placed = jax.device_put(a, device)
    if a.dtype not in (np.float32, np.float64, np.complex64, np.complex128):
        return identity(identity(placed))
    result = by_transform(placed)
    return result if same_bits(result, a) else identity(identity(placed))


SOURCES = (from_identity, from_reshape, from_slice, from_transpose, from_donated, from_graph)


# From a result, an array with the same bits.
def keep(result):
    return result


def hand_on(result):
    return identity(result)


def hand_on_and_delete(result):
    copy = identity(result)
    result.delete()
    return copy


def donate(result):
    return donated(result)


HANDOVERS = (keep, hand_on, hand_on_and_delete, donate)


def is_numpys(array):
    """Whether the type is NumPy's own: no others are known to protocols."""
    return array.dtype.isbuiltin == 1


# From a device array, its values.
def by_asarray(result):
    return np.asarray(result)


def on_cpu(result):
    (device,) = result.devices()
    return device.device_kind == "cpu"


def by_buffer(result):
    """Types that the buffer protocol does not know are copied, and so is memory that the CPU cannot read."""
    data = result.addressable_data(0)
    if not is_numpys(result):
        return np.array(data)
    try:
        return np.asarray(memoryview(data))
    except BufferError:
        assert not on_cpu(result)
        return np.array(data)


def by_dlpack(result):
    """A GPU's by way of the host's device."""
    there = result if on_cpu(result) else jax.device_put(result, jax.devices("cpu")[0])
    return np.from_dlpack(there) if is_numpys(result) else np.asarray(there)


def by_shard(result):
    return np.asarray(result.addressable_shards[0].data)


def by_host_copy(result):
    result.copy_to_host_async()
    return jax.device_get(result)


READERS = (by_asarray, by_buffer, by_dlpack, by_shard, by_host_copy)


def call(function, arguments, device, first_source, is_deleting):
    """The results of a call whose operands come from the sources in turn and may be deleted after it."""
    sources = itertools.cycle(SOURCES[first_source:] + SOURCES[:first_source])
    operands = [source(np.asarray(a), device) for source, a in zip(sources, arguments)]
    results = jax.tree.leaves(function(*operands))
    if is_deleting:
        for operand in operands:
            if not any(operand is result for result in results):
                operand.delete()
    return results


def read(results, first_handover, readers):
    """For each reader the values of all results, which are deleted while these are in use."""
    handovers = itertools.cycle(HANDOVERS[first_handover:] + HANDOVERS[:first_handover])
    handed = [handover(result) for handover, result in zip(handovers, results)]
    values = [[reader(array) for array in handed] for reader in readers]
    for array in handed:
        array.delete()
    return values


# Where the first operand comes from, whether operands are deleted, what becomes of the first result.
ROUTES = list(itertools.product(range(len(SOURCES)), (False, True), range(len(HANDOVERS))))


def some(choices, count, *key):
    """`count` of the choices, the same for the same key; over many keys every choice comes up."""
    first = zlib.crc32("/".join(map(str, key)).encode())
    return [choices[(first + i) % len(choices)] for i in range(count)]
