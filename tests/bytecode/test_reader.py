"""The reader against jaxlib's own: the same artifact must give the same ops, values, types and attributes."""

import json
import math
import os
import pathlib
import re

import programs
import pytest
import reference

HERE = pathlib.Path(__file__).parent
ARTIFACTS = sorted((HERE / "artifacts").glob("*.bc"))
PROGRAMS = {program.name: program for program in programs.all_programs()}


def ours(dump, artifact):
    """The functions as the dump prints them, without casts between the types of two dialects."""
    functions = []
    for line in dump(artifact, "--ops").splitlines():
        line = json.loads(line)
        if "func" in line:
            functions.append([line])
        else:
            functions[-1].append(line)
    return [_without_casts(function) for function in functions]


def _without_casts(lines):
    alias, numbers = {}, {}

    def number(value):
        value = alias.get(value, value)
        return numbers.setdefault(value, len(numbers))

    kept = []
    for line in lines:
        if line.get("op") == "builtin.unrealized_conversion_cast":
            for source, result in zip(line["operands"], line["results"], strict=True):
                alias[result] = alias.get(source, source)
            continue
        if "op" in line:
            line["operands"] = [number(value) for value in line["operands"]]
            line["results"] = [number(value) for value in line["results"]]
            line["regions"] = [[[number(v), t] for v, t in region] for region in line["regions"]]
        else:
            line["args"] = [[number(v), t] for v, t in line["args"]]
        kept.append(line)
    return kept


def _elements(dense):
    """The elements in hex, with splats spread out as jaxlib gives them."""
    dims = dense["type"].removeprefix("tensor<").split("x")[:-1]
    count = math.prod(int(dim) for dim in dims)
    return dense["hex"] * count if dense["splat"] else dense["hex"]


def _compare_attributes(op, expected, found):
    for name, value in expected.items():
        if value is None and name not in found:
            continue  # a part of a dot algorithm that is not given
        assert name in found, f"{op}: no attribute {name}"
        mine = found[name]
        if isinstance(value, dict) and set(value) == {"type", "elements"} and "hex" in mine:
            assert mine["type"] == value["type"]
            assert _elements(mine) == value["elements"], f"{op}: {name}"
        elif isinstance(value, dict) and set(value) == {"type"}:
            assert mine["type"] == value["type"]
        elif isinstance(value, dict):
            _compare_attributes(op, value, mine)
        elif isinstance(value, float):
            assert mine == pytest.approx(value, rel=0, abs=0, nan_ok=True), f"{op}: {name}"
        else:
            assert mine == value, f"{op}: {name}"


def compare(dump, artifact):
    expected, found = reference.read(artifact), ours(dump, artifact)
    assert [f[0]["func"] for f in found] == [f[0]["func"] for f in expected]
    for theirs, mine in zip(expected, found, strict=True):
        assert mine[0]["args"] == theirs[0]["args"]
        inputs, results = theirs[0]["type"]
        assert mine[0]["type"] == f"({', '.join(inputs)}) -> ({', '.join(results)})"
        assert [line["op"] for line in mine[1:]] == [line["op"] for line in theirs[1:]]
        for b, a in zip(theirs[1:], mine[1:], strict=True):
            for key in ("depth", "operands", "results", "types", "regions"):
                assert a[key] == b[key], f"{a['op']}: {key}"
            assert set(b["discardable"]) <= set(a["discardable"])
            _compare_attributes(a["op"], b["attrs"], a["discardable"] | a["attrs"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_jaxlib(name, dump):
    program = PROGRAMS[name]
    if why := program.not_comparable():
        pytest.skip(why)
    for target in program.targets():
        compare(dump, program.serialize(target))


@pytest.mark.parametrize("path", ARTIFACTS, ids=lambda path: path.stem)
def test_kept_artifacts_equal_jaxlib(path, dump):
    # Artifacts newer than this jaxlib are beyond its reader.
    if programs.version(path.stem.split(".", 1)[1]) > programs.version(programs.NEWEST):
        pytest.skip("newer than this jaxlib")
    program = PROGRAMS.get(path.stem.split(".", 1)[0])
    if program and (why := program.not_comparable()):
        pytest.skip(why)
    compare(dump, path.read_bytes())


@pytest.mark.parametrize("path", ARTIFACTS, ids=lambda path: path.stem)
def test_golden(path, dump):
    assert dump(path.read_bytes()) == (HERE / "golden" / f"{path.stem}.txt").read_bytes()


@pytest.mark.parametrize("path", ARTIFACTS, ids=lambda path: path.stem)
def test_verifies(path, dump):
    dump(path.read_bytes(), "--verify")


@pytest.mark.parametrize("name", PROGRAMS)
def test_all_versions_upgrade_to_one_form(name, dump):
    """Whatever version a client writes, the ops that the compiler sees are the same."""
    if why := PROGRAMS[name].not_comparable():
        pytest.skip(why)
    program = PROGRAMS[name]
    forms = {}
    for target in program.targets():
        lines = [line for function in ours(dump, program.serialize(target)) for line in function]
        forms.setdefault(json.dumps(lines, sort_keys=True), []).append(target)
    allowed = 1
    # The writer itself expands batching gathers for versions before 1.1 and tan before 1.4.
    for since, mark in (("1.1.0", '"operand_batching_dims": [0'), ("1.4.0", '"stablehlo.tan"')):
        if any(mark in form for form in forms) and programs.version(program.oldest) < programs.version(since):
            allowed += 1
    assert len(forms) <= allowed, list(forms.values())


def test_every_op_is_covered():
    """Each op of the table occurs in an artifact kept here, but for those that no client of today can write."""
    table = (HERE.parents[1] / "src" / "bytecode" / "vhlo.def").read_text()
    rows = re.findall(r'^VHLO\("([^"]+)", (\d+),', table, re.M)
    names = {f"{name}_v{version + 1}" for name, versions in rows for version in range(int(versions))}
    content = b"".join(path.read_bytes() for path in ARTIFACTS)
    assert {name for name in names if name.encode() + b"\0" not in content} == RARE


RARE = {"async_done_v1", "async_start_v1", "collective_reduce_v1", "uniform_dequantize_v1",
        "uniform_quantize_v1"}  # fmt: skip


@pytest.mark.skipif("JAXMPS_SAMPLES" not in os.environ, reason="$JAXMPS_SAMPLES names no folder of artifacts")
def test_samples(dump):
    for path in sorted(pathlib.Path(os.environ["JAXMPS_SAMPLES"]).glob("*.bc")):
        dump(path.read_bytes(), "--verify")
        if programs.version(path.stem.split(".", 1)[1]) <= programs.version(programs.NEWEST):
            compare(dump, path.read_bytes())
