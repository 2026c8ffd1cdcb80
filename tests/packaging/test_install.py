"""A missing, a wrong or a broken MLX gives one sentence that says what to install."""

import pytest

from jax_plugins.mps import _install


@pytest.fixture
def mlx(tmp_path):
    """A folder that looks like an installed MLX 0.32.4."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libmlx.so").write_bytes(b"")
    header = tmp_path / "include" / "mlx" / "version.h"
    header.parent.mkdir(parents=True)
    header.write_text(
        "#define MLX_VERSION_MAJOR 0\n#define MLX_VERSION_MINOR 32\n#define MLX_VERSION_PATCH 4\n"
    )
    return tmp_path


def test_matching_mlx(mlx):
    assert _install.mlx_version(mlx) == "0.32.4"
    assert _install.mlx_problem(mlx, "0.32.4", "linux") is None
    assert _install.mlx_problem(mlx, "0.32.1", "linux") is None


@pytest.mark.parametrize("built_for", ["0.31.4", "0.33.0", "1.32.4"])
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_other_interface(mlx, built_for, platform):
    (mlx / "lib" / "libmlx.dylib").write_bytes(b"")
    text = _install.mlx_problem(mlx, built_for, platform)
    assert f"built for MLX {built_for}" in text and "finds MLX 0.32.4" in text
    assert {"linux": "jax-mps[EXTRA]", "darwin": f"pip install mlx-metal=={built_for}"}[platform] in text
    assert text.count(". ") == 0


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_other_patch_that_lacks_a_symbol(platform):
    text = _install.load_problem_of("0.32.4", "0.32.1", OSError("undefined symbol: x"), platform)
    assert "built for MLX 0.32.4" in text and "with MLX 0.32.1" in text and "undefined symbol" in text
    assert {"linux": "jax-mps[EXTRA]", "darwin": "mlx-metal==0.32.4"}[platform] in text


def test_older_macos():
    assert _install.mac_problem("arm64", "14.0") is None
    assert _install.mac_problem("arm64", "27.1") is None
    text = _install.mac_problem("arm64", "13.6.9")
    assert "macOS 14 or newer" in text and "this is macOS 13.6.9" in text and text.count(". ") == 0
    assert "Apple silicon" in _install.mac_problem("x86_64", "15.2")


def test_unknown_version(mlx):
    (mlx / "include" / "mlx" / "version.h").unlink()
    assert "of unknown version" in _install.mlx_problem(mlx, "0.32.4", "linux")


def test_no_mlx(tmp_path, monkeypatch):
    monkeypatch.setattr(_install, "installed_wheels", dict)
    text = _install.mlx_problem(tmp_path / "mlx", "0.32.4", "linux")
    assert "needs MLX 0.32.4" in text
    assert all(extra in text for extra in ("cpu", "cuda13", "cuda12"))
    text = _install.mlx_problem(tmp_path / "mlx", "0.32.4", "darwin")
    assert "pip install mlx-metal==0.32.4" in text


def test_library_removed_with_another_wheel(tmp_path, monkeypatch):
    monkeypatch.setattr(_install, "installed_wheels", lambda: {"mlx-cuda-13": "0.32.4"})
    text = _install.mlx_problem(tmp_path / "mlx", "0.32.4", "linux")
    assert "--force-reinstall mlx-cuda-13==0.32.4" in text
