"""The plugin as a client that is not JAX sees it: pypjrt loads the library and calls its table."""

import array
import importlib

import pytest

from pjrt_programs import F32, library_path


@pytest.fixture(scope="session")
def plugin():
    pypjrt = pytest.importorskip("pypjrt")
    # The library of MLX must be found; importing the Python part of the plugin does that.
    importlib.import_module("jax_plugins.mps").initialize()
    loaded = pypjrt.Plugin(str(library_path()))
    loaded.initialize()
    return loaded


@pytest.fixture(scope="session")
def client(plugin):
    from pypjrt import Client

    with Client(plugin, allow_multiple=True) as made:
        yield made


@pytest.fixture
def put(client):
    def upload(values, dims=None, dtype=F32):
        data = array.array("f" if dtype == F32 else "i", values)
        dims = [len(data)] if dims is None else dims
        with client.device() as device:
            return client.buffer_from_host(data, dtype, dims, device)

    return upload


@pytest.fixture
def get():
    def download(buffer, code="f"):
        out = array.array(code)
        out.frombytes(bytes(buffer.to_host()))
        return list(out)

    return download
