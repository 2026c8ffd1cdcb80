"""What benchmarks/ measures is among the programs whose calls on Metal are compared with those on CUDA."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_every_workload_has_its_program():
    tree = ast.parse((ROOT / "benchmarks" / "workloads.py").read_text())
    workloads = {
        f.name
        for f in tree.body
        if isinstance(f, ast.FunctionDef) and {ast.unparse(d) for d in f.decorator_list} & {"workload", "gpu_workload"}
    }
    programs = {p.stem for p in (ROOT / "tests/cpp/metal/programs/benchmarks").glob("*.bc")}
    assert workloads == programs, "run tests/cpp/metal/programs/make.py"
