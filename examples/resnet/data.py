"""Images for the example: CIFAR-10 from its standard archives, or digits that scikit-learn ships."""

import gzip
import io
import pathlib
import pickle
import tarfile
import zlib

import numpy as np

_ROW = 3 * 32 * 32
_PYTHON_FILES = [f"data_batch_{i}" for i in range(1, 6)]
_BINARY_FILES = [f"data_batch_{i}.bin" for i in range(1, 6)]


class DataError(Exception):
    """The data can't be used; the text names the file and says what is wrong with it."""


def load(source: str | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Images [n, 32, 32, 3] in float32 with mean 0, labels [n] in int32, and what they are."""
    if source is None:
        images, labels = _digits()
        what = "scikit-learn's handwritten digits, resized to 32x32x3 (no --data given)"
    else:
        images, labels = cifar10(pathlib.Path(source))
        what = f"CIFAR-10 from {source}"
    images = images.astype(np.float32) / 255.0
    mean = images.mean((0, 1, 2), dtype=np.float64).astype(np.float32)
    std = images.std((0, 1, 2), dtype=np.float64).astype(np.float32)
    return (images - mean) / std, labels.astype(np.int32), what


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = (digits.images * (255.0 / 16.0)).astype(np.uint8)
    large = grey.repeat(4, axis=1).repeat(4, axis=2)
    return np.stack([large] * 3, axis=-1), digits.target


def cifar10(source: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """The training images [n, 32, 32, 3] in uint8 and their labels, of a folder or an archive."""
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder")
    files = _from_folder(source) if source.is_dir() else _from_archive(source)
    images, labels = zip(*(_decode(name, data) for name, data in files))
    return np.concatenate(images), np.concatenate(labels)


def _from_folder(folder: pathlib.Path):
    for names in (_PYTHON_FILES, _BINARY_FILES):
        for place in (folder, folder / "cifar-10-batches-py", folder / "cifar-10-batches-bin"):
            found = [name for name in names if (place / name).is_file()]
            missing = [name for name in names if name not in found]
            if found and missing:
                raise DataError(f"{place / missing[0]}: the file is missing")
            if found:
                return [(place / name, _read(place / name)) for name in names]
    archives = sorted(folder.glob("cifar-10-*.tar.gz"))
    if archives:
        return _from_archive(archives[0])
    raise DataError(f"{folder}: holds neither CIFAR-10's data_batch files nor its .tar.gz archive")


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error


def _from_archive(archive: pathlib.Path):
    wanted = {*_PYTHON_FILES, *_BINARY_FILES}
    files = {}
    try:
        content = archive.read_bytes()
        if not archive.name.endswith(".tar"):
            content = gzip.decompress(content)  # the whole of it at once: this checks its sum
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                name = pathlib.PurePosixPath(member.name).name
                if member.isfile() and name in wanted:
                    files[name] = (archive / member.name, tar.extractfile(member).read())
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: is not a whole .tar.gz archive: {error}") from error
    for names in (_PYTHON_FILES, _BINARY_FILES):
        if any(name in files for name in names):
            for name in names:
                if name not in files:
                    raise DataError(f"{archive}: holds no {name}")
            return [files[name] for name in names]
    raise DataError(f"{archive}: holds none of CIFAR-10's data_batch files")


def _decode(path: pathlib.Path, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    planes, labels = _binary(path, data) if path.suffix == ".bin" else _pickled(path, data)
    if labels.size and not 0 <= labels.min() <= labels.max() <= 9:
        raise DataError(f"{path}: holds a label outside 0 to 9")
    return planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def _binary(path: pathlib.Path, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    if not data or len(data) % (1 + _ROW):
        raise DataError(
            f"{path}: has {len(data)} bytes, which is no whole number of {1 + _ROW}-byte records"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + _ROW)
    return records[:, 1:], records[:, 0].astype(np.int64)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays and plain containers; a pickle could otherwise run any code."""

    _ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module, name):
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        if name == "_reconstruct":
            from numpy.lib import NumpyVersion

            module = "numpy._core.multiarray" if NumpyVersion(np.__version__) >= "2.0.0" else module
        return super().find_class(module, name)


def _pickled(path: pathlib.Path, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    try:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path}: is not a whole CIFAR-10 pickle: {error}") from error
    try:
        planes, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise DataError(f"{path}: lacks the entries 'data' and 'labels'") from error
    if planes.dtype != np.uint8 or planes.ndim != 2 or planes.shape[1] != _ROW or not len(planes):
        raise DataError(f"{path}: 'data' is {planes.dtype}{list(planes.shape)}, not uint8[n, {_ROW}]")
    if labels.dtype.kind not in "iu" or labels.shape != (len(planes),):
        raise DataError(f"{path}: has {labels.size} labels for {len(planes)} images")
    return planes, labels


def batches(count: int, size: int, seed: int):
    """Index arrays of `size` images each, for ever, a fresh order in every epoch."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]
