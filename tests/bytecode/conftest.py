"""Finds mlirbc-dump: $MLIRBC_DUMP if it is there, or a build of its own."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def dump_tool(tmp_path_factory):
    given = os.environ.get("MLIRBC_DUMP")
    if given and pathlib.Path(given).exists():
        return given
    folder = tmp_path_factory.mktemp("mlirbc")
    configure = ["cmake", "-S", ROOT, "-B", folder, "-DJAXMPS_CORE_ONLY=ON", "-DCMAKE_BUILD_TYPE=Release"]
    subprocess.run(configure, check=True, capture_output=True)
    build = ["cmake", "--build", folder, "--target", "mlirbc-dump", "-j2"]
    subprocess.run(build, check=True, capture_output=True)
    return str(next(folder.rglob("mlirbc-dump")))


@pytest.fixture(scope="session")
def dump(dump_tool):
    """Runs the tool on the bytes of an artifact and returns its output."""

    def run(artifact, *options):
        done = subprocess.run([dump_tool, *options, "-"], input=artifact, capture_output=True)
        if done.returncode != 0:
            raise ValueError(done.stderr.decode())
        return done.stdout

    return run
