"""The PJRT surface as JAX uses it: transfers, donation, failures, several devices, the end."""

import os
import re
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

DTYPES = ["bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float16", "bfloat16",
          "float32", "complex64", "int4", "uint4", "float8_e4m3fn", "float8_e5m2"]


def values(dtype, shape):
    data = np.arange(int(np.prod(shape))).reshape(shape) % 7
    return data.astype(jnp.dtype(dtype))


def run(code, **env):
    """Runs code in a fresh process; its output."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True,
                          text=True, timeout=300, env={**os.environ, **env})
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("dtype", DTYPES)
def test_transfers_keep_every_bit(mps, dtype):
    base = values(dtype, (4, 6))
    views = [base, base.T, base[::-1, ::-2], base[1:3, 2:], base[:, :0], base[2, 3], base[:, None],
             np.broadcast_to(base[0], (3, 6))]
    for view in views:
        back = np.asarray(jax.device_put(view, mps))
        assert back.dtype == view.dtype and back.shape == view.shape
        assert back.tobytes() == np.ascontiguousarray(view).tobytes()


def test_large_arrays_may_be_borrowed(mps):
    for dtype in ("float32", "int32"):
        data = values(dtype, (512, 513))
        assert (np.asarray(jax.device_put(data, mps)) == data).all()
        assert (np.asarray(jax.device_put(data.T, mps)) == data.T).all()


def test_reading_back_does_not_copy(mps):
    if mps.device_kind != "cpu":
        pytest.skip("the memory of this device is not the memory of the host")
    x = jax.device_put(np.arange(1000, dtype=np.float32), mps)
    view = np.asarray(x)
    assert view.ctypes.data == x.unsafe_buffer_pointer()
    x.delete()
    assert view[999] == 999


def test_donation(mps):
    double = jax.jit(lambda a: a + a, donate_argnums=0)
    x = jax.device_put(np.arange(4, dtype=np.float32), mps)
    y = double(double(x))
    assert x.is_deleted()
    assert np.asarray(y).tolist() == [0, 4, 8, 12]
    with pytest.raises((RuntimeError, ValueError), match="delet|donat"):
        double(x)
    both = jax.jit(lambda a, b: (a + a, b * b), donate_argnums=(0, 1))
    with pytest.raises(Exception, match="INVALID_ARGUMENT.*donate"):
        both(y, y)
    assert np.asarray(y).tolist() == [0, 4, 8, 12]


def test_arguments_survive(mps):
    x = jax.device_put(np.arange(8, dtype=np.float32), mps)
    f = jax.jit(lambda a: (jnp.exp(a) * 2 + a, a))
    first = np.asarray(f(x)[0])
    assert (np.asarray(f(x)[0]) == first).all()
    assert np.asarray(x).tolist() == list(range(8))


def test_numpy_arguments_are_not_written(mps):
    data = np.arange(1 << 16, dtype=np.float32)
    before = data.copy()
    f = jax.jit(lambda a: a * 2 + 1, donate_argnums=0)
    with jax.default_device(mps):
        out = f(jax.device_put(data, mps))
    assert (np.asarray(out) == before * 2 + 1).all()
    assert (data == before).all()


def test_memory_kinds(mps):
    assert [m.kind for m in mps.addressable_memories()] == ["device", "pinned_host",
                                                            "unpinned_host"]
    assert mps.default_memory().kind == "device"
    place = jax.sharding.SingleDeviceSharding(mps, memory_kind="pinned_host")
    x = jax.device_put(np.arange(4, dtype=np.float32), mps)
    there = jax.device_put(x, place)
    assert there.sharding.memory_kind == "pinned_host"
    assert np.asarray(there).tolist() == [0, 1, 2, 3]


@pytest.mark.skipif(jax.__version_info__ < (0, 7), reason="JAX 0.6 asks devices for no attributes")
def test_devices_describe_themselves(mps):
    assert mps.memory_bytes > 0
    if mps.device_kind == "cpu":
        assert mps.unified_memory == 1
    if mps.device_kind.startswith("NVIDIA"):  # as on JAX's own GPUs
        assert re.fullmatch(r"\d+\.\d", mps.compute_capability)
    else:
        assert not hasattr(mps, "compute_capability")


def test_to_and_from_the_cpu_backend(mps, cpu):
    x = jax.device_put(np.arange(6, dtype=np.float32).reshape(2, 3), cpu)
    y = jax.device_put(x, mps)
    assert y.devices() == {mps}
    assert (np.asarray(jax.device_put(y, cpu)) == np.asarray(x)).all()


def test_unsupported_programs_name_the_op_and_the_line(mps):
    x = jax.device_put(np.ones(3, np.float32), mps)
    bad = jax.jit(lambda a: jax.ffi.ffi_call("no_such_target", a)(a))
    for _ in range(2):
        with pytest.raises(Exception, match=r"no_such_target(.|\n)*test_jax\.py:\d+"):
            bad(x)
    assert np.asarray(jax.jit(lambda a: a + a)(x)).tolist() == [2, 2, 2]


BOOL, INT, TEXT, FLOAT, ENUM = (
    "xla_embed_ir_in_executable", "xla_dump_max_hlo_modules", "xla_dump_hlo_module_re",
    "xla_gpu_auto_spmd_partitioning_memory_budget_ratio", "xla_step_marker_location")


@pytest.mark.parametrize("options", [
    {"faster": True}, {"xla_faster": True}, {"xla_": 1}, {"xla_dump_to xla_dump_to": ""}, {"num_replicas": 2},
    *({BOOL: v} for v in (True, 1, "False", 2, 1.0, "true", "")),
    *({INT: v} for v in (200, "-1", "12a", 2.5, True, 2**40)),
    *({TEXT: v} for v in ("", ".*", 3, 2.5)),
    *({FLOAT: v} for v in (0.5, "0.5", 1, "half")),
    *({ENUM: v} for v in (1, "STEP_MARK_NONE")),
    {"xla_gpu_nccl_termination_timeout_seconds": 2**40}, {"xla_backend_extra_options": "a"},
], ids=str)
def test_compile_options_are_told_apart_as_by_jax(options, mps, cpu):
    def compile_for(device):
        lowered = jax.jit(lambda a: a + a).lower(jax.device_put(np.ones(3, np.float32), device))
        try:
            return lowered.compile(compiler_options=options)(np.ones(3, np.float32)).tolist()
        except jax.errors.JaxRuntimeError as error:
            return str(error).splitlines()[0]

    assert compile_for(mps) == compile_for(cpu)


def test_compile_options_that_nothing_here_does_are_refused(mps):
    lowered = jax.jit(lambda a: a + a).lower(jax.device_put(np.ones(3, np.float32), mps))
    with pytest.raises(Exception, match="xla_gpu_ftz: kernels for GPUs are compiled without it by this backend"):
        lowered.compile(compiler_options={"xla_gpu_ftz": True})


def test_tokens_are_no_arrays(mps):
    with jax.default_device(mps):
        token = jax.lax.create_token()
        x, passed = jax.jit(lambda x, token: (x + 1, token))(1.0, token)
        for buffer in (token._buf, passed._buf):
            with pytest.raises(RuntimeError, match="Cannot convert a token-shape buffer to a numpy array"):
                buffer._value
        passed.block_until_ready()
        assert x == 2


def test_out_of_memory_is_an_error(mps):
    with pytest.raises(Exception, match="RESOURCE_EXHAUSTED"):
        with jax.default_device(mps):
            jnp.zeros((1 << 15, 1 << 15, 1 << 12), jnp.float32).block_until_ready()
    assert np.asarray(jax.device_put(np.ones(2), mps)).tolist() == [1, 1]


def test_compiled_programs_describe_themselves(mps):
    x = jax.device_put(np.ones((4, 4), np.float32), mps)
    compiled = jax.jit(lambda a: a + a).lower(x).compile()
    analysis = compiled.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    assert analysis["flops"] == 16
    assert compiled.memory_analysis().argument_size_in_bytes == 64
    assert "add" in compiled.as_text()


@pytest.mark.skipif(not hasattr(jax.lax, "dce_sink"), reason="this JAX has no dce_sink")
@pytest.mark.parametrize("fusion", [True, False])
def test_what_is_sunk_is_kept(mps, fusion):
    def f(x):
        jax.lax.dce_sink(jnp.sin(x) + 1 if fusion else jnp.sort(x), prevent_mlir_dce=True)
        return x * 2

    compiled = jax.jit(f).lower(jax.device_put(np.ones(3, np.float32), mps)).compile()
    assert "dce_sink" in compiled.as_text() and ("sine" if fusion else "sort") in compiled.as_text()
    np.testing.assert_array_equal(compiled(jax.device_put(np.ones(3, np.float32), mps)), [2, 2, 2])


def test_serialised_executables(mps):
    from jax.experimental import serialize_executable

    x = jax.device_put(np.ones(4, np.float32), mps)
    compiled = jax.jit(lambda a: a + a).lower(x).compile()
    again = serialize_executable.deserialize_and_load(*serialize_executable.serialize(compiled),
                                                      backend="mps")
    assert np.asarray(again(x)).tolist() == [2, 2, 2, 2]


def test_traces_can_be_taken(mps):
    assert "xplane" in run("""
        import os, tempfile, jax, numpy as np
        folder = tempfile.mkdtemp()
        jax.profiler.start_trace(folder)
        jax.jit(lambda a: a + a)(np.ones(3, np.float32)).block_until_ready()
        jax.profiler.stop_trace()
        print([name for _, _, names in os.walk(folder) for name in names])
    """)


def test_work_is_asynchronous(mps):
    x = jax.device_put(np.full((1024, 1024), 1 / 1024, np.float32), mps)

    count = 20 if mps.device_kind == "cpu" else 2000
    work = jax.jit(lambda a: jax.lax.fori_loop(0, count, lambda _, a: a @ a, a))
    add = jax.jit(lambda a: a + 1)
    add(work(x)).block_until_ready()
    out = work(x)
    assert not out.is_ready()
    more = add(out)  # queued behind it
    assert not more.is_ready()
    assert np.isfinite(np.asarray(more)).all()
    assert out.is_ready()


def test_many_threads(mps):
    failures = []

    def work(number):
        try:
            f = jax.jit(lambda a: a * number + 1)
            for step in range(20):
                x = jax.device_put(np.full(16 + number, step, np.float32), mps)
                assert (np.asarray(f(x)) == step * number + 1).all()
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_nothing_piles_up(mps):
    f = jax.jit(lambda a, b: a * b + a)
    x = jax.device_put(np.ones(1 << 16, np.float32), mps)
    y = f(x, x)
    y.block_until_ready()
    before = mps.memory_stats()["bytes_in_use"]
    for _ in range(300):
        y = f(x, y)
    y.block_until_ready()
    # What work has read is let go beside the news of its end, on another thread.
    deadline = time.monotonic() + 10
    while mps.memory_stats()["bytes_in_use"] > before + (1 << 20) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert mps.memory_stats()["bytes_in_use"] <= before + (1 << 20)


def test_virtual_devices():
    assert run("""
        import jax, numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec
        devices = jax.devices("mps")
        assert [d.id for d in devices] == [0, 1, 2, 3], devices
        f = jax.jit(lambda a: a + a)
        x = jax.device_put(np.arange(8, dtype=np.float32), devices[0])
        y = jax.device_put(x, devices[2])
        assert f(y).devices() == {devices[2]}
        x.delete()
        assert np.asarray(f(y)).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
        mesh = Mesh(np.array(devices), ("i",))
        z = jax.device_put(np.asarray(y), NamedSharding(mesh, PartitionSpec("i")))
        assert len(z.addressable_shards) == 4
        assert np.asarray(z).tolist() == list(range(8))
        try:
            f(z)
        except Exception as error:
            assert "UNIMPLEMENTED" in str(error) and "4 devices" in str(error), error
        else:
            assert (np.asarray(f(z)) == 2 * np.arange(8)).all()
        print("good")
    """, JAX_MPS_NUM_DEVICES="4").strip() == "good"


def test_the_process_ends_with_work_queued():
    assert run("""
        import jax, numpy as np
        x = jax.device_put(np.full((512, 512), 1 / 512, np.float32))
        f = jax.jit(lambda a: a @ a)
        for _ in range(30):
            x = f(x)
        print("good")
    """).strip() == "good"


def test_nothing_is_waited_for_at_the_end_but_work():
    """Not the release of memory that an array shares with NumPy."""
    assert run("""
        import time
        import jax, jax.numpy as jnp, numpy as np
        from jax_plugins.mps import interpreter
        shared = np.ones((512, 512), np.float32)
        kept = [jax.device_put(shared, jax.devices("mps")[0], may_alias=True), jnp.from_dlpack(shared), jax.jit(lambda x: x)(shared)]
        jax.block_until_ready(kept)
        deadline = time.monotonic() + 20
        while interpreter._table.owed and time.monotonic() < deadline:
            time.sleep(0.01)
        print(interpreter._table.owed)
    """).strip() == "0"


@pytest.mark.parametrize("name, value, rule", [
    ("DEVICE", "abacus", "one of `gpu`, `cpu`"),
    ("NUM_DEVICES", "0", "a whole number between 1 and 1024"),
    ("CPU_THREADS", "-1", "a whole number between 0 and 1024"),
    ("CPU_THREADS", "2000", "a whole number between 0 and 1024"),
    ("CPU_THREADS", "two", "a whole number between 0 and 1024"),
    ("CPU_THREADS", "3.5", "a whole number between 0 and 1024"),
    ("STRICT", "yes", "a whole number between 0 and 1"),
    ("LOG", "loud", "one of `off`, `error`, `warning`, `info`, `debug`"),
])
def test_bad_settings_are_reported(name, value, rule):
    done = subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"], capture_output=True, text=True,
        timeout=300, env={**os.environ, "JAX_PLATFORMS": "mps", f"JAX_MPS_{name}": value})
    assert done.returncode != 0
    assert f"JAX_MPS_{name} is '{value}'; it must be {rule}" in done.stderr
