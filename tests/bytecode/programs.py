"""The programs that the reader is tested with: the texts in programs/ and functions lowered by JAX.

Nothing here needs a device: functions are lowered for the CPU platform and never run.
"""

import dataclasses
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import mlir as jax_mlir
from jax.sharding import NamedSharding, PartitionSpec
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

try:
    from jaxlib._jax import mlir as client_mlir
except ImportError:  # before 0.6.1
    from jaxlib.xla_extension import mlir as client_mlir

HERE = pathlib.Path(__file__).parent
NEWEST = stablehlo.get_current_version()
# One for every bytecode version and every change of the op set that clients can ask for.
TARGETS = [
    "0.9.0", "0.10.0", "0.11.0", "0.12.0", "0.13.0", "0.14.0", "0.15.0", "0.16.0", "0.17.0", "0.18.0",
    "0.19.0", "0.20.0", "1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0", "1.7.0", "1.8.0",
    "1.9.0", "1.10.0", "1.11.0", "1.12.0", "1.13.0", "1.14.0", "1.15.0", "1.16.0", "1.17.0", "1.18.0",
    "1.19.0", "1.20.0", "1.21.0", "1.22.0",
]  # fmt: skip


def version(text):
    return tuple(int(part) for part in text.split("."))


TARGETS = [t for t in TARGETS if version(t) <= version(NEWEST)]


@dataclasses.dataclass
class Program:
    name: str
    text: str  # with locations
    oldest: str = "0.9.0"  # the oldest version that can express it
    mixed: bool = False  # holds ops of other dialects than VHLO
    # Serialized as a client does it: high-level ops become composites or are expanded first, and
    # ops without uses are dropped.
    by_client: bool = False

    def serialize(self, target):
        with jax_mlir.make_ir_context():
            module = ir.Module.parse(self.text)
            if not self.by_client:
                return stablehlo.serialize_portable_artifact(module, target, self.mixed)
            text = module.operation.get_asm(enable_debug_info=True).encode()
        return client_mlir.serialize_portable_artifact(text, target, *([True] if self.mixed else []))

    def not_comparable(self):
        """Why this jaxlib cannot be compared with, or None."""
        if jax.__version_info__ >= (0, 7):
            return None
        if self.name == "constants":
            return "jaxlib 0.6 aborts when asked for constants of 2 to 6 bits"
        return "jaxlib 0.6 cannot serialize other dialects" if self.mixed and self.by_client else None

    def targets(self):
        return [t for t in TARGETS if version(t) >= version(self.oldest)]


def _from_text(path):
    text = path.read_text()
    target = re.search(r"^// target: (\S+)", text, re.M)
    oldest = target.group(1) if target else "0.9.0"
    return Program(path.stem, text, oldest, bool(re.search(r"^// mixed", text, re.M)))


def _lowered(name, function, *args, oldest="0.9.0", mixed=False, **options):
    lowered = jax.jit(function, **options).trace(*args).lower(lowering_platforms=("cpu",))
    module = lowered.compiler_ir("stablehlo")
    text = module.operation.get_asm(enable_debug_info=True)
    # Only the name of the file, so that artifacts do not depend on where they were made.
    text = re.sub(r'loc\("[^"]*/([^"/]*)":', r'loc("\1":', text)
    return Program(name, text, oldest, mixed, by_client=True)


def _shape(*dims, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(dims, dtype)


def _train_step(params, x, y):
    def loss(params):
        hidden = jax.nn.relu(x @ params["w1"] + params["b1"])
        return jnp.mean((hidden @ params["w2"] - y) ** 2)

    value, grads = jax.value_and_grad(loss)(params)
    return value, jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)


def _scan(xs, w):
    def step(carry, x):
        return jnp.tanh(carry @ w + x), jnp.sum(carry)

    return jax.lax.scan(step, jnp.zeros(4), xs)


def _random(key):
    return jax.random.normal(key, (3, 4)), jax.random.randint(key, (5,), 0, 9), jax.random.permutation(key, 6)


def _convolutions(x, k):
    def pooled(x):
        y = jax.lax.conv_general_dilated(x, k, (1, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.sum(jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"))

    return jax.grad(pooled)(x)


def _composites(x):
    return jax.lax.top_k(x, 2), jax.lax.erf(x), jnp.arcsinh(x), jnp.tan(x)


def _indexing(x, i):
    return x[i], x.at[i].add(1.0), jnp.take_along_axis(x, i[:, None], axis=1), jnp.sort(x, axis=-1), jnp.cumsum(x)


def _donation(state, x):
    """Work for several threads, into the memory of `state`, and for MLX."""
    return state + jnp.tanh(x) * 0.5, jnp.sum(state * x, axis=0), jnp.fft.rfft(x[:4])


def from_jax():
    """Programs as this JAX lowers them."""
    params = {"w1": _shape(8, 16), "b1": _shape(16), "w2": _shape(16, 4)}
    yield _lowered("jax_train_step", _train_step, params, _shape(32, 8), _shape(32, 4))
    yield _lowered("jax_scan", _scan, _shape(10, 4), _shape(4, 4))
    yield _lowered("jax_random", _random, _shape(2, dtype=jnp.uint32))
    yield _lowered("jax_convolutions", _convolutions, _shape(2, 8, 8, 3), _shape(3, 3, 3, 5))
    yield _lowered("jax_composites", _composites, _shape(4, 6), oldest="0.19.0")
    yield _lowered("jax_indexing", _indexing, _shape(6, 5), _shape(6, dtype=jnp.int32))
    yield _lowered("jax_donation", _donation, _shape(256, 1024), _shape(256, 1024), donate_argnums=0)
    mesh = jax.sharding.Mesh(np.array(jax.devices("cpu")[:1]), ("x",))
    placed = NamedSharding(mesh, PartitionSpec("x", None))
    constrained = jax.ShapeDtypeStruct((8, 4), jnp.float32, sharding=placed)
    yield _lowered(
        "jax_sharded",
        lambda x: jax.lax.with_sharding_constraint(x * 2, placed),
        constrained,
        oldest="1.11.0",
        mixed=True,
    )


def from_texts():
    """Programs in programs/, as far as this jaxlib knows their ops."""
    for path in sorted((HERE / "programs").glob("*.mlir")):
        program = _from_text(path)
        if version(program.oldest) <= version(NEWEST):
            yield program


def all_programs():
    yield from from_texts()
    yield from from_jax()
