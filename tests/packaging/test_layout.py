"""The rules about the source tree that can be checked without building it."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SRC = ROOT / "src"
FOLDERS = ["base", "ir", "bytecode", "scalar", "fusion", "passes", "kernels", "ops", "exec", "pjrt"]
CORE = FOLDERS[:6]
SOURCES = sorted(p for p in SRC.rglob("*") if p.suffix in (".cc", ".h", ".def"))
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.M)


def includes(path):
    return INCLUDE.findall(path.read_text())


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_include_only_those_above_them(folder):
    below = FOLDERS[FOLDERS.index(folder) + 1 :]
    wrong = [
        f"{path.relative_to(ROOT)} includes {name}"
        for path in SOURCES
        if path.is_relative_to(SRC / folder)
        for name in includes(path)
        if name.split("/")[0] in below
    ]
    assert not wrong


@pytest.mark.parametrize("folder", CORE)
def test_core_folders_know_nothing_of_mlx(folder):
    paths = [path for path in SOURCES if path.is_relative_to(SRC / folder)]
    assert paths
    assert not [path for path in paths if any(n.startswith("mlx/") for n in includes(path))]


def test_files_are_short():
    long = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in SOURCES}
    assert not {name: lines for name, lines in long.items() if lines > 600}


TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'|"""
    r"""^[ \t]*\#(?:\\\n|[^\n])*|[{};]""",
    re.S | re.M | re.X,
)
REST = re.compile(r"(?:\s|//[^\n]*|^[ \t]*#(?:\\\n|[^\n])*)*", re.M)


def functions(text):
    """(first line, number of lines) of each function, texts in it not counted."""
    open_, start, found, texts = [], 0, [], 0
    for token in TOKEN.finditer(text):
        what, at = token.group(), token.start()
        texts += what.count("\n") if what.startswith("R") else 0
        inside = any(kind != "scope" for kind, *_ in open_)
        if what == "{":
            begin = REST.match(text, start).end()
            head = re.sub(r"//[^\n]*", "", text[begin:at]).strip()
            scope = re.match(r"(class|struct)\b|(.*\s)?(namespace|class|struct|enum|union|extern)\b[^()]*$", head, re.S)
            function = "(" in head and not head.endswith("=")
            kind = "inner" if inside else "scope" if scope else "function" if function else "inner"
            open_.append((kind, begin, texts))
            start = token.end() if kind == "scope" else start
        elif what == "}":
            kind, begin, before = open_.pop()
            if kind == "function":
                found.append((text.count("\n", 0, begin) + 1, text.count("\n", begin, at) + 1 - texts + before))
        if what in "};" and all(kind == "scope" for kind, *_ in open_):
            start = token.end()
    return found


def test_functions_are_short():
    lengths = {
        f"{path.relative_to(ROOT)}:{line}": lines
        for path in SOURCES
        if path.suffix != ".def"
        for line, lines in functions(path.read_text())
    }
    assert len(lengths) > 2000
    assert not {place: lines for place, lines in lengths.items() if lines > 60}


def test_an_elementwise_op_is_a_row_and_a_function():
    """CONTRIBUTING.md shows all of this one: names of artifacts and what Metal lacks stand elsewhere."""
    word = re.compile(r"\bcbrt(_of|_f)?\b")
    code = {p: re.sub(r"//[^\n]*", "", p.read_text()) for p in SOURCES}
    named = {str(p.relative_to(SRC)) for p, text in code.items() if word.search(text)}
    own = {"ir/scalar_ops.def", "scalar/scalar_math.h"}
    assert named == own | {"bytecode/vhlo.def", "kernels/gpu_functions.cc"}
    word = re.compile(r"\btorch_index_select(_v1)?\b")
    named = {str(p.relative_to(SRC)) for p, text in code.items() if word.search(text)}
    assert named == {"bytecode/vhlo.def", "ir/ops.def", "ir/verify_shape.cc", "passes/decompose.cc"}
    shown = (ROOT / "CONTRIBUTING.md").read_text()
    assert re.search(r"^SCALAR_OP\(cbrt.*$", (SRC / "ir/scalar_ops.def").read_text(), re.M).group() in shown


def test_headers_say_what_they_are():
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.suffix == ".h" and not path.read_text().startswith(("//", "/*"))
    ]
    assert not silent


def test_private_names_of_jax_are_in_one_file():
    users = {
        path.name
        for path in (ROOT / "python").rglob("*.py")
        if re.search(r"jax\._src|from jax import _src", path.read_text())
    }
    assert users <= {"private.py"}


def test_importing_the_plugin_leaves_jax_alone():
    program = """
import jax, jax.numpy, json
from jax._src import xla_bridge
from jax._src.interpreters import mlir
before = dict(jax.config.values), set(xla_bridge._backend_factories), list(mlir._platforms_with_donation)
import jax_plugins.mps, jax_plugins.mps.lowerings
after = dict(jax.config.values), set(xla_bridge._backend_factories), list(mlir._platforms_with_donation)
assert before == after
jax_plugins.mps.initialize()
jax_plugins.mps.initialize()
assert dict(jax.config.values) == before[0]
assert mlir._platforms_with_donation.count("mps") <= 1
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_readme_lists_every_environment_variable():
    readme = (ROOT / "README.md").read_text()
    names = re.findall(r"^ENV\((\w+)", (SRC / "base" / "env.def").read_text(), re.M)
    assert names
    assert [name for name in names if f"`{name}`" not in readme] == []
    assert len(readme.splitlines()) <= 120
