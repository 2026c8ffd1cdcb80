"""Programs, donation and failures through pypjrt."""

import ctypes
import random
import threading

import pytest

from pjrt_programs import F32, S32, artifact, function

pypjrt = pytest.importorskip("pypjrt")

from pypjrt import errors  # noqa: E402
from pypjrt.compile_options import CompileOptions  # noqa: E402

VECTOR = "tensor<4xf32>"
ADD = function(
    f"%a: {VECTOR}, %b: {VECTOR}", VECTOR,
    f"    %0 = stablehlo.add %a, %b : {VECTOR}\n    return %0 : {VECTOR}")
DONATING_ADD = ADD.replace(f"%a: {VECTOR}", f"%a: {VECTOR} {{tf.aliasing_output = 0 : i32}}")


@pytest.fixture(scope="module")
def add(client):
    return client.compile(artifact(ADD))


def test_conformance_suite(plugin, monkeypatch):
    from pypjrt import conform

    # The suite compiles text; this plugin takes artifacts only.
    monkeypatch.setattr(conform, "ADD_MLIR", artifact(conform.ADD_MLIR))
    report = conform.run(plugin)
    failed = {c.id: c.detail for c in report.checks if c.result == "fail"}
    assert not failed
    passed = {c.id for c in report.checks if c.result == "pass"}
    assert len(passed) >= 50, sorted(passed)
    assert {"compile.serialize", "compile.deserialize_and_load", "compile.optimized_program",
            "execute.single_device", "execute.device_complete_events", "topology.serialize",
            "transfer.async_host_to_device", "layouts.executable_parameters"} <= passed


def test_runs(add, put, get):
    [total] = add(put([1, 2, 3, 4]), put([10, 20, 30, 40]))
    assert get(total) == [11, 22, 33, 44]
    assert total.dimensions == (4,) and total.element_type == F32


def test_the_same_argument_twice(add, put, get):
    x = put([1, 2, 3, 4])
    [a] = add(x, x)
    [b] = add(x, x)
    assert get(a) == get(b) == [2, 4, 6, 8]
    assert get(x) == [1, 2, 3, 4]


def test_results_that_are_parameters_or_repeat(client, put, get):
    text = function(
        f"%a: {VECTOR}", f"({VECTOR}, {VECTOR}, {VECTOR})",
        f"    %0 = stablehlo.negate %a : {VECTOR}\n"
        f"    return %a, %0, %0 : {VECTOR}, {VECTOR}, {VECTOR}")
    x = put([1, 2, 3, 4])
    a, b, c = client.compile(artifact(text))(x)
    x.delete()
    b.delete()
    assert get(a) == [1, 2, 3, 4]
    assert get(c) == [-1, -2, -3, -4]


def test_no_results_and_no_elements(client):
    empty = client.compile(artifact(function("", "()", "    return")))
    assert empty() == []
    text = function("", "tensor<0x3xf32>",
                    "    %0 = stablehlo.constant dense<> : tensor<0x3xf32>\n"
                    "    return %0 : tensor<0x3xf32>")
    [nothing] = client.compile(artifact(text))()
    assert nothing.dimensions == (0, 3) and nothing.nbytes == 0


# ---- donation ----


def test_donated_buffers_are_deleted(client, put, get):
    program = client.compile(artifact(DONATING_ADD))
    x, y = put([1, 2, 3, 4]), put([1, 1, 1, 1])
    [total] = program(x, y)
    assert x.is_deleted and not y.is_deleted
    assert get(total) == [2, 3, 4, 5]


def call(program, *arguments, non_donatable=()):
    """Execute without pypjrt's own bookkeeping of donated handles."""
    for argument in arguments:
        argument._state = type(argument._state).LIVE
    return program(*arguments, non_donatable=non_donatable)


def test_a_donated_buffer_cannot_be_used_again(client, add, put):
    program = client.compile(artifact(DONATING_ADD))
    x, y = put([1, 2, 3, 4]), put([1, 1, 1, 1])
    program(x, y)
    with pytest.raises(errors.InvalidArgument, match="donated"):
        call(program, x, y)
    with pytest.raises(errors.InvalidArgument, match="donated"):
        call(add, x, y)


def test_donating_the_same_buffer_twice_is_refused(client, put, get):
    program = client.compile(artifact(DONATING_ADD))
    x = put([1, 2, 3, 4])
    with pytest.raises(errors.InvalidArgument, match="donate"):
        program(x, x)
    assert get(x) == [1, 2, 3, 4]  # nothing was taken


def test_donation_can_be_vetoed(client, put, get):
    program = client.compile(artifact(DONATING_ADD))
    x, y = put([1, 2, 3, 4]), put([1, 1, 1, 1])
    [total] = program(x, y, non_donatable=[0])
    assert not x.is_deleted
    assert get(x) == [1, 2, 3, 4] and get(total) == [2, 3, 4, 5]


def test_external_references_veto_the_reuse_of_storage(plugin, client, put, get):
    program = client.compile(artifact(DONATING_ADD))
    x, y = put([1, 2, 3, 4]), put([1, 1, 1, 1])
    plugin.call("PJRT_Buffer_IncreaseExternalReferenceCount",
                plugin.args("PJRT_Buffer_IncreaseExternalReferenceCount_Args", buffer=x.address))
    a = plugin.args("PJRT_Buffer_OpaqueDeviceMemoryDataPointer_Args", buffer=x.address)
    plugin.call("PJRT_Buffer_OpaqueDeviceMemoryDataPointer", a)
    view = (ctypes.c_float * 4).from_address(a.device_memory_ptr)
    [total] = program(x, y)
    assert get(total) == [2, 3, 4, 5]
    assert list(view) == [1, 2, 3, 4]
    plugin.call("PJRT_Buffer_DecreaseExternalReferenceCount",
                plugin.args("PJRT_Buffer_DecreaseExternalReferenceCount_Args", buffer=x.address))


def test_borrowed_host_memory_is_never_written(plugin, client, get):
    """A zero-copy argument that is donated must not be overwritten in place."""
    n = 1 << 16
    big = f"tensor<{n}xf32>"
    program = client.compile(artifact(DONATING_ADD.replace(VECTOR, big)))
    memory = (ctypes.c_char * (n * 4 + 64))()
    start = -ctypes.addressof(memory) % 64
    host = (ctypes.c_float * n).from_buffer(memory, start)
    for i in range(0, n, 1000):
        host[i] = i
    before = bytes(host)
    with client.device() as device:
        buffers = []
        dims = ctypes.c_int64(n)
        for _ in range(2):
            a = plugin.args(
                "PJRT_Client_BufferFromHostBuffer_Args", client=client.address,
                data=ctypes.addressof(host), type=F32,
                dims=ctypes.addressof(dims), num_dims=1,
                host_buffer_semantics=plugin.abi.PJRT_HostBufferSemantics_kImmutableZeroCopy,
                device=device.address)
            plugin.call("PJRT_Client_BufferFromHostBuffer", a)
            buffers.append(pypjrt.Buffer(plugin, a.buffer))
    [total] = program(*buffers)
    assert get(total)[1000] == 2000
    assert bytes(host) == before


# ---- arguments that do not fit ----


def test_mismatched_arguments_are_named(client, add, put):
    x = put([1, 2, 3, 4])
    with pytest.raises(errors.InvalidArgument, match="takes 2 arguments.* 1 "):
        add(x)
    with pytest.raises(errors.InvalidArgument, match=r"argument 1 .*f32\[3\].*f32\[4\]"):
        add(x, put([1, 2, 3]))
    with pytest.raises(errors.InvalidArgument, match=r"argument 0 .*s32\[4\].*f32\[4\]"):
        add(put([1, 2, 3, 4], dtype=S32), x)
    y = put([1, 2, 3, 4])
    y.delete()
    with pytest.raises(errors.InvalidArgument, match="argument 1.*deleted"):
        call(add, x, y)
    [total] = add(x, x)
    assert total.dimensions == (4,)


def test_errors_of_arguments_reach_the_results(plugin, client, add, put, get):
    with client.device() as device:
        bad = client.error_buffer(device.default_memory(), 14, "the link is down",
                                  dtype=F32, dims=[4])
        x = put([1, 2, 3, 4])
        with pytest.raises(errors.PjrtError, match="the link is down"):
            [first] = add(bad, x)
            [second] = add(first, x)
            second.to_host()
    [total] = add(x, x)
    assert get(total) == [2, 4, 6, 8]


# ---- programs that do not fit ----


def test_text_is_refused_with_advice(client):
    with pytest.raises(errors.InvalidArgument, match="portable StableHLO artifact"):
        client.compile(ADD)


def test_damaged_artifacts_are_errors(client, add, put, get):
    good = artifact(ADD)
    for cut in range(4, len(good), 7):
        with pytest.raises(errors.InvalidArgument):
            client.compile(good[:cut])
    rng = random.Random(1)
    refused = 0
    for _ in range(300):
        bad = bytearray(good)
        bad[rng.randrange(4, len(bad))] ^= 1 << rng.randrange(8)
        try:
            client.compile(bytes(bad))
        except (errors.InvalidArgument, errors.Unimplemented):
            refused += 1
    assert refused > 100
    x = put([1, 2, 3, 4])
    assert get(add(x, x)[0]) == [2, 4, 6, 8]


def test_artifacts_of_the_future_are_refused(client):
    future = artifact(ADD).replace(b"StableHLO_v1.9.0", b"StableHLO_v9.9.9")
    client.compile(future)  # nothing in it is new
    future = future.replace(b"add_v1", b"add_v9")
    with pytest.raises(errors.InvalidArgument, match=r"add_v9.*9\.9\.9"):
        client.compile(future)


def test_unsupported_ops_are_all_named(client):
    text = function(
        f"%a: {VECTOR}", VECTOR,
        f'    %0 = stablehlo.custom_call @no_such_target(%a) : ({VECTOR}) -> {VECTOR}\n'
        f'    %1 = stablehlo.custom_call @nor_this(%0) : ({VECTOR}) -> {VECTOR}\n'
        f"    return %1 : {VECTOR}")
    with pytest.raises(errors.PjrtError, match="(?s)no_such_target.*nor_this"):
        client.compile(artifact(text))


def test_programs_for_several_devices_are_refused(client):
    with pytest.raises(errors.Unimplemented, match="for 4 devices"):
        client.compile(artifact(ADD), options=CompileOptions(num_partitions=4))


def test_other_formats_are_refused(plugin, client):
    code, fmt = b"\x08\x01", b"hlo"
    program = plugin.args(
        "PJRT_Program", code=ctypes.cast(ctypes.create_string_buffer(code), ctypes.c_void_p),
        code_size=len(code), format=ctypes.cast(ctypes.create_string_buffer(fmt), ctypes.c_void_p),
        format_size=len(fmt))
    a = plugin.args("PJRT_Client_Compile_Args", client=client.address,
                    program=ctypes.addressof(program))
    with pytest.raises(errors.Unimplemented, match="hlo"):
        plugin.call("PJRT_Client_Compile", a)


# ---- executables ----


def test_serialised_executables_run(client, add, put, get):
    blob = add.serialize()
    again = client.deserialize_executable(blob)
    x = put([1, 2, 3, 4])
    assert get(again(x, x)[0]) == [2, 4, 6, 8]
    assert again.fingerprint() == add.fingerprint()
    with pytest.raises(errors.InvalidArgument, match="checksum|serialized executable"):
        client.deserialize_executable(blob.replace(b"ML\xefR", b"ML\xefS"))
    with pytest.raises(errors.PjrtError):
        client.deserialize_executable(blob[: len(blob) // 2])


def test_executables_describe_themselves(client, add):
    assert add.name == "program"
    assert add.output_types() == [F32]
    assert add.output_memory_kinds() == ["device"]
    assert add.parameter_memory_kinds() == ["device", "device"]
    assert add.device_assignment() == [(0, 0)]
    stats = add.compiled_memory_stats()
    assert stats["argument_size_in_bytes"] == 32 and stats["output_size_in_bytes"] == 16
    costs = add.cost_analysis()
    assert costs["flops"] == 4 and costs["bytes accessed"] >= 48
    assert len(add.compile_options()) > 0


def test_deleted_executables_do_not_run(client, put):
    program = client.compile(artifact(ADD))
    program.release_device_memory()
    assert program.is_deleted
    x = put([1, 2, 3, 4])
    with pytest.raises(errors.InvalidArgument, match="executable has been deleted"):
        program(x, x)


def test_many_threads_compile_and_run(client, put, get):
    failures = []

    def work(number):
        try:
            for step in range(8):
                text = ADD.replace("add", "multiply" if (number + step) % 2 else "subtract")
                x, y = put([8, 6, 4, 2]), put([2, 2, 2, 2])
                [out] = client.compile(artifact(text))(x, y)
                want = [16, 12, 8, 4] if (number + step) % 2 else [6, 4, 2, 0]
                assert get(out) == want
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_out_of_memory_is_an_error(client, add, put, get):
    huge = "tensor<16384x16384x16384xf32>"
    text = function("%a: tensor<f32>", huge,
                    f"    %0 = stablehlo.broadcast_in_dim %a, dims = [] : (tensor<f32>) -> {huge}\n"
                    f"    return %0 : {huge}")
    with pytest.raises(errors.ResourceExhausted, match="memory"):
        program = client.compile(artifact(text))
        [out] = program(put([1], dims=[]))
        out.to_host()
    x = put([1, 2, 3, 4])
    assert get(add(x, x)[0]) == [2, 4, 6, 8]
