"""The example's data loader: both forms of CIFAR-10, and one clear sentence for damaged files."""

import pathlib
import pickle
import subprocess
import sys
import tarfile

import numpy as np
import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "resnet"
sys.path.insert(0, str(EXAMPLE))
import data  # noqa: E402

COUNT = 4


@pytest.fixture
def records():
    """Labels [5, COUNT] and pixels [5, COUNT, 3072] of five small files."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, (5, COUNT), dtype=np.uint8)
    return labels, random.integers(0, 256, (5, COUNT, 3072), dtype=np.uint8)


def write_python(folder, records):
    for i, (labels, pixels) in enumerate(zip(*records)):
        batch = {b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"small"}
        (folder / f"data_batch_{i + 1}").write_bytes(pickle.dumps(batch, protocol=2))


def write_binary(folder, records):
    for i, (labels, pixels) in enumerate(zip(*records)):
        rows = np.concatenate([labels[:, None], pixels], axis=1)
        (folder / f"data_batch_{i + 1}.bin").write_bytes(rows.tobytes())


FORMS = {"cifar-10-batches-py": write_python, "cifar-10-batches-bin": write_binary}


@pytest.fixture(params=FORMS, ids=["python", "binary"])
def folder(request, tmp_path, records):
    folder = tmp_path / request.param
    folder.mkdir()
    FORMS[request.param](folder, records)
    return folder


def archive(folder):
    path = folder.parent / "cifar-10-small.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, folder.name)
    return path


def check(loaded, records):
    images, labels = loaded
    assert images.shape == (5 * COUNT, 32, 32, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(labels, records[0].ravel())
    # Pixel (row 2, column 5) of the blue plane.
    np.testing.assert_array_equal(images[:, 2, 5, 2], records[1].reshape(-1, 3, 32, 32)[:, 2, 2, 5])


def test_folder(folder, records):
    check(data.cifar10(folder), records)
    check(data.cifar10(folder.parent), records)


def test_archive(folder, records):
    path = archive(folder)
    check(data.cifar10(path), records)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    check(data.cifar10(path.parent), records)


def error(source):
    with pytest.raises(data.DataError) as info:
        data.cifar10(source)
    text = str(info.value)
    assert "\n" not in text
    return text


def test_no_such_folder(tmp_path):
    assert f"{tmp_path / 'nowhere'}: there is no such file or folder" == error(tmp_path / "nowhere")


def test_empty_folder(tmp_path):
    assert str(tmp_path) in error(tmp_path)


def test_missing_file(folder):
    file = sorted(folder.iterdir())[2]
    file.unlink()
    assert error(folder) == f"{file}: the file is missing"


@pytest.mark.parametrize("length", [0, 1, 100, 3000])
def test_truncated_file(folder, length):
    file = sorted(folder.iterdir())[3]
    file.write_bytes(file.read_bytes()[:length])
    assert error(folder).startswith(f"{file}: ")


@pytest.mark.parametrize("length", [0, 10, 200, 5000])
def test_truncated_archive(folder, length):
    path = archive(folder)
    path.write_bytes(path.read_bytes()[:length])
    assert error(path).startswith(f"{path}: ")


def test_flipped_byte_of_archive(folder):
    path = archive(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert str(path) in error(path)


def test_label_outside(folder, records):
    records[0][1, 2] = 10
    FORMS[folder.name](folder, records)
    assert "data_batch_2" in error(folder) and "label outside 0 to 9" in error(folder)


@pytest.mark.parametrize(
    "content, word",
    [
        ({b"labels": [1]}, "lacks the entries"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "1 labels for 2 images"),
        ({b"data": np.zeros((2, 3000), np.uint8), b"labels": [1, 2]}, "not uint8[n, 3072]"),
        ([1, 2], "lacks the entries"),
    ],
)
def test_wrong_pickle(tmp_path, records, content, word):
    write_python(tmp_path, records)
    file = tmp_path / "data_batch_4"
    file.write_bytes(pickle.dumps(content))
    assert error(tmp_path).startswith(f"{file}: ") and word in error(tmp_path)


def test_pickle_with_code_is_not_run(tmp_path, records):
    write_python(tmp_path, records)
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (pathlib.Path.touch, (ran,))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Evil()))
    assert "data_batch_1" in error(tmp_path)
    assert not ran.exists()


def test_digits_without_data():
    images, labels, what = data.load(None)
    assert images.shape[1:] == (32, 32, 3) and images.dtype == np.float32
    assert len(images) == len(labels) == 1797 and set(labels) == set(range(10))
    assert abs(images.mean()) < 1e-3 and "digits" in what


def test_batches_cover_an_epoch():
    chosen = data.batches(10, 5, seed=1)
    first = np.concatenate([next(chosen), next(chosen)])
    assert sorted(first) == list(range(10))
    assert not np.array_equal(first, np.concatenate([next(chosen), next(chosen)]))


def test_main_names_the_damaged_file(folder):
    file = sorted(folder.iterdir())[0]
    file.write_bytes(b"damaged")
    command = [sys.executable, str(EXAMPLE / "main.py"), "--steps=1", f"--data={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, env={"JAX_PLATFORMS": "cpu"})
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()
    assert len(last) == 1 and last[0].startswith(f"error: {file}: ")
