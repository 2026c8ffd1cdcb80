"""Installs jax-mps as people do, and runs a program with each installation.

`scripts/test install` runs this, after the wheel is built: installations from the source then find
its build folder and compile next to nothing. Dependencies come from PyPI, through uv's cache.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import setup_lib  # noqa: E402

UV = shutil.which("uv", path=f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
PYTHONS = [minor for minor in (11, 12, 13) if setup_lib.find_python(minor)]
LINUX = sys.platform == "linux"
MLX = [f"mlx-{setup_lib.mlx_wheel()}=={setup_lib.MLX_VERSION}", *(["scipy-openblas32"] if LINUX else [])]
DEPENDENCIES = ["jax", "numpy", *MLX]
# The tools that built the wheel, or everything would be compiled again.
TOOLS = setup_lib.tool_path(setup_lib.build_environment())
# What is imported again and again, pip and JAX, is compiled once, and not into the folders of the sources.
BYTECODE = tempfile.TemporaryDirectory()
if setup_lib.launcher():
    TOOLS["CMAKE_CXX_COMPILER_LAUNCHER"] = "ccache"

# JAX must find the plugin in both ways, and the plugins of others beside it.
PROGRAM = """
    import importlib.metadata, pathlib, pkgutil, sys
    import numpy as np, jax, jax.numpy as jnp

    assert [e.value for e in importlib.metadata.entry_points(group="jax_plugins")] == ["jax_plugins.mps"]
    (device,) = jax.devices()
    assert device.platform == "mps", device
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(jax.jit(lambda x: jnp.sin(x * 0) @ x.T + 1)(x), np.ones((2, 2)))

    import jax_plugins, jax_plugins.other, jax_plugins.mps
    assert {"mps", "other"} <= {m.name for m in pkgutil.iter_modules(jax_plugins.__path__)}
    assert jax_plugins.other.calls == 1
    print(jax_plugins.mps.library_path())
"""


@pytest.fixture(autouse=True)
def prerequisites():
    if UV is None:
        pytest.skip("uv is not installed")


@pytest.fixture(scope="session")
def wheel():
    given = os.environ.get("JAX_MPS_WHEEL")  # a build with other options would replace this one
    return pathlib.Path(given) if given else setup_lib.build_wheel()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Everything is installed in a folder whose name has a space."""
    return tmp_path_factory.mktemp("with a space")


def call(*command, cwd=None, **env):
    inherited = {k: v for k, v in TOOLS.items() if not k.startswith(("JAX", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd,
                          env={**inherited, "PYTHONPYCACHEPREFIX": BYTECODE.name, **env})  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def environment(folder, minor):
    """The interpreter of a new virtual environment with all that jax-mps needs."""
    python = setup_lib.find_python(minor)
    call(UV, "venv", "-q", "--seed", "--python", python, folder)
    interpreter = folder / "bin" / "python"
    call(UV, "pip", "install", "-q", "--python", interpreter, *DEPENDENCIES)
    return interpreter


def pip(interpreter, *arguments, **env):
    call(interpreter, "-m", "pip", "install", "-q", "--no-deps", *arguments, **env)


def check(interpreter, tmp_path, path=(), **env) -> pathlib.Path:
    """Runs the program; returns where the plugin library is."""
    other = tmp_path / "other" / "jax_plugins" / "other"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("calls = 0\n\ndef initialize():\n    global calls\n    calls += 1\n")
    path = os.pathsep.join(map(str, [*path, tmp_path / "other"]))
    program = textwrap.dedent(PROGRAM)
    out = call(interpreter, "-c", program, cwd=tmp_path, PYTHONPATH=path, JAX_PLATFORMS="mps", **env)
    return pathlib.Path(out.strip())


@pytest.fixture(scope="session")
def bare(folder):
    """An environment without jax-mps."""
    return environment(folder / "bare", PYTHONS[0])


@pytest.mark.parametrize("minor", PYTHONS)
def test_wheel_then_editable(folder, tmp_path, wheel, minor):
    interpreter = environment(folder / f"venv 3.{minor}", minor)
    pip(interpreter, wheel)
    installed = check(interpreter, tmp_path / "wheel")
    pip(interpreter, "-e", ROOT)
    built = ROOT / "build" / "wheel" / "site" / "jax_plugins" / "mps" / installed.name
    before = built.stat().st_mtime_ns
    assert check(interpreter, tmp_path / "editable") == installed
    where = "import jax_plugins.mps; print(jax_plugins.mps.__file__)"
    assert call(interpreter, "-c", where).strip() == str(ROOT / "python/jax_plugins/mps/__init__.py")
    if minor != PYTHONS[-1]:
        return
    # The next installation picks up changes of the C++ sources.
    os.utime(ROOT / "src" / "plugin.cc")
    pip(interpreter, "-e", ROOT)
    assert built.stat().st_mtime_ns > before
    check(interpreter, tmp_path / "again")


def test_target_folder(bare, folder, tmp_path, wheel):
    target = folder / "target"
    pip(bare, "--target", target, wheel)
    library = check(bare, tmp_path / "alone", path=[target])  # MLX is in the environment
    assert library.is_relative_to(target)
    call(UV, "pip", "install", "-q", "--python", bare, "--target", target, *MLX)
    check(bare, tmp_path / "with MLX", path=[target])


def test_user_installation(bare, folder, tmp_path, wheel):
    base = {"PYTHONUSERBASE": str(folder / "user"), "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    # The interpreter itself: a virtual environment has no folder of the user's.
    python = call(bare, "-c", "import sys; print(sys._base_executable)").strip()
    pip(python, "--user", wheel, **base)
    site = call(python, "-c", "import site; print(site.getusersitepackages())", **base).strip()
    call(UV, "pip", "install", "-q", "--python", bare, "--target", site, *DEPENDENCIES)
    assert check(python, tmp_path, **base).is_relative_to(folder / "user")


def test_uv_run(folder):
    environment = {"UV_PROJECT_ENVIRONMENT": str(folder / "uv"), "UV_PYTHON": setup_lib.find_python(PYTHONS[0])}
    extras = ["--extra", "cpu", "--extra", "examples"] if LINUX else ["--extra", "examples"]
    arguments = ["examples/resnet/main.py", "--steps=1", "--batch-size=4"]
    out = call(UV, "run", "-q", *extras, *arguments, cwd=ROOT, **environment)
    assert "MPS" in out and "Final training loss" in out
