"""Where there is no GPU, whoever asks for one reads what to do."""

import os
import shutil
import subprocess
import sys

import jax
import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or jax.devices()[0].device_kind != "cpu", reason="there is a GPU"
)

# MLX as it is on a Mac whose GPU this process may not use.
MAC = r"""
#include <stdexcept>
bool is_available() asm("_ZN3mlx4core5metal12is_availableEv");
bool is_available() { return true; }
void device_info() asm("_ZN3mlx4core11device_infoB5cxx11ERKNS0_6DeviceE");
void device_info() { throw std::runtime_error("[metal::load_device] No Metal device available."); }
"""


def ask(before="pass", **environment):
    """A program that asks for devices."""
    return subprocess.run(
        [sys.executable, "-c", f"{before}; import jax; jax.devices()"],
        capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "mps", **environment},
    )  # fmt: skip


def error(**environment):
    """The last line of what such a program prints."""
    done = ask(**environment)
    assert done.returncode == 1, done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_broken_installation_is_told():
    broken = "from jax_plugins.mps import _install; _install.problem = lambda: 'MLX is gone.'"
    assert "MLX is gone." in ask(broken, JAX_PLATFORMS="").stderr
    asked = ask(broken)
    assert asked.returncode == 1 and asked.stderr.strip().splitlines()[-1].count("MLX is gone.") == 1
    assert "MLX is gone." not in ask(broken, JAX_PLATFORMS="cpu").stderr


def test_gpu_is_asked_for():
    text = error(JAX_MPS_DEVICE="gpu")
    assert "JAX_MPS_DEVICE is `gpu`, but the installed MLX sees no GPU" in text and "install jax-mps[cuda13]" in text


def test_mac_without_usable_gpu(tmp_path):
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    (tmp_path / "mac.cc").write_text(MAC)
    library = tmp_path / "mac.so"
    subprocess.run([compiler, "-shared", "-fPIC", tmp_path / "mac.cc", "-o", library], check=True)
    text = error(LD_PRELOAD=str(library))
    assert "No Metal device available" in text
    assert "run outside of sandboxes, virtual machines" in text and "JAX_PLATFORMS=cpu" in text
