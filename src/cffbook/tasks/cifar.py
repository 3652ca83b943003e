"""CIFAR-10 in gray, prepared once from the canonical archive.

The archive (Krizhevsky 2009, python version) is a tar of six pickles, each with `data` (rows, 3072) uint8, red, green and blue
planes of 32 x 32, and `labels`. Gray is luma as PIL's mode "L" computes it:

    L = (19595 R + 38470 G + 7471 B + 32768) >> 16

The prepared file is `cifar10/gray.npz` in the cache (x_train, y_train, x_test, y_test, source).
"""

import io
import os
import pickle
import tarfile
import zlib
from pathlib import Path

import numpy as np

from cffbook.tasks.cache import Archive, cache_folder, checksum, download, load_arrays, save_arrays, verify

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
PREPARED = "cifar10_gray.npz"
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_FOLDER = "cifar-10-batches-py"
CANONICAL = Archive("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", 170_498_071, "c58f30108f718f92721af3b95e74349a")


class _ArraysOnly(pickle.Unpickler):
    """Unpickle numpy arrays and plain containers; anything else is refused, so that an archive cannot run code."""

    def find_class(self, module: str, name: str) -> object:
        reconstruct = np.empty(0).__reduce__()[0]
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): lambda text, encoding: text.encode("latin-1"),
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"expected numpy arrays only, got {module}.{name}")
        return allowed[module, name]


def gray(planes: np.ndarray) -> np.ndarray:
    """Return luma `(rows, 32, 32)` uint8 of `(rows, 3072)` uint8 red, green and blue planes."""
    red, green, blue = planes.reshape(-1, 3, 32, 32).astype(np.uint32).transpose(1, 0, 2, 3)
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Read the archive to gray images and labels, keys as in ARRAYS.

    Raises:
        ValueError: not a tar archive, cut short, a member missing, or a member with other contents; says which.
    """
    images, labels = {}, {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                if name in (*_TRAIN, "test_batch") and member.isfile():
                    images[name], labels[name] = _read_batch(archive.extractfile(member).read(), f"{name} in {path.name}")
    except FileNotFoundError:
        raise
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(
            f"expected a whole tar archive at {path}, got a damaged one or another format: fetch it again"
        ) from error
    missing = [name for name in (*_TRAIN, "test_batch") if name not in images]
    if missing:
        raise ValueError(f"expected {_FOLDER}/{missing[0]} in {path}, it is missing: is this the python version of CIFAR-10?")
    return {
        "x_train": np.concatenate([images[name] for name in _TRAIN]),
        "y_train": np.concatenate([labels[name] for name in _TRAIN]),
        "x_test": images["test_batch"],
        "y_test": labels["test_batch"],
    }


def _read_batch(content: bytes, place: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        data, labels = batch[b"data"], np.asarray(batch[b"labels"])
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"expected a pickle with 'data' and 'labels' as {place}, got something else ({error})") from error
    if getattr(data, "dtype", None) != np.uint8 or data.shape != (len(labels), 3072):
        raise ValueError(f"expected uint8 data ({len(labels)}, 3072) as {place}, got shape {np.shape(data)}")
    return gray(data), labels.astype(np.uint8)


def prepared(folder: Path | None = None) -> Path:
    """Return where the prepared file lies."""
    return (folder or cache_folder() / "cifar10") / "gray.npz"


def prepare(source: str | os.PathLike | None = None, archive: Archive | None = None, folder: Path | None = None) -> Path:
    """Fill the cache once; return the prepared file.

    Args:
        source: the archive, an .npz with x_train (n, 32, 32), y_train, x_test and y_test of uint8, or a folder with
            either (cifar-10-python.tar.gz, cifar10_gray.npz, also one folder down in cifar10/). None: keep what is
            prepared already, else look into the folder $CFFBOOK_DATA, else download. Giving a source prepares from
            it, unless that very file was the last source.
        archive: where the archive is fetched and its checksum; the canonical one if None.
        folder: where the prepared file goes; `cifar10` in the cache if None.

    Raises:
        FileNotFoundError: `source` is not there.
        ConnectionError, ValueError: see `download` and `read_archive`; nothing half-prepared is left.
    """
    archive, path = archive or CANONICAL, prepared(folder)
    if source is None:
        if path.exists():
            return path
        source = os.environ.get("CFFBOOK_DATA") or download(archive.url, path.parent / archive.name, archive.size, archive.md5)
    file = _find(Path(source), archive)
    label = f"{file.name} sha256 {checksum(file, 'sha256')}"
    if path.exists() and str(load_arrays(path, ("source",))["source"]) == label:
        return path
    if file.suffix == ".npz":
        arrays = load_arrays(file, ARRAYS)
    else:
        verify(file, archive.size, archive.md5)
        arrays = read_archive(file)
    _check(arrays, file)
    save_arrays(path, arrays | {"source": np.array(label)})
    return path


def _find(source: Path, archive: Archive) -> Path:
    if source.is_file():
        return source
    candidates = [source / place / name for name in (archive.name, PREPARED) for place in ("", "cifar10")]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"expected the archive or a folder with {archive.name} or {PREPARED}, got {source}")
    return found


def _check(arrays: dict[str, np.ndarray], file: Path) -> None:
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.shape != (len(y), 32, 32) or not len(y) or y.min() < 0 or y.max() > 9:
            raise ValueError(
                f"expected uint8 images (n, 32, 32) and as many labels 0 to 9 for {part} in {file}, "
                f"got {x.dtype} {x.shape} and {y.dtype} {y.shape}"
            )
