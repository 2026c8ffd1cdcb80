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
def test_other_interface(mlx, built_for):
    text = _install.mlx_problem(mlx, built_for, "linux")
    assert f"built for MLX {built_for}" in text and "finds MLX 0.32.4" in text
    assert "jax-mps[EXTRA]" in text and text.count(". ") == 0


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
