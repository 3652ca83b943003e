"""MNIST, prepared once from its four canonical files.

A file is gzip-compressed IDX: a magic number (its last byte is the number of axes, 8 before it says uint8), the axes as
big-endian integers of four bytes, the values. The author's site no longer serves them; the mirror of the PyTorch project has the
same bytes. The prepared file is `mnist/digits.npz` in the cache (x_train, y_train, x_test, y_test, source). Source: LeCun et
al. 1998.
"""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from cffbook.tasks.archives import damaged
from cffbook.tasks.cache import Archive, cache_folder, checksum, download, load_arrays, save_arrays, verify

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
PREPARED = "mnist.npz"
SIDE = 28


def canonical() -> dict[str, Archive]:
    """Where the four files are and how to know them, by the name of the array in each."""
    mirror = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    return {
        "x_train": Archive(mirror + "train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        "y_train": Archive(mirror + "train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
        "x_test": Archive(mirror + "t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
        "y_test": Archive(mirror + "t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
    }


def read_idx(path: Path) -> np.ndarray:
    """Read a gzip-compressed IDX file of bytes.

    Raises:
        ValueError: not compressed so, cut short, or other contents.
    """
    try:
        with gzip.open(path, "rb") as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(path) from error
    axes = content[3] if len(content) > 4 else 0
    shape = tuple(np.frombuffer(content, ">u4", axes, 4).tolist()) if len(content) >= 4 + 4 * axes else ()
    if content[:3] != b"\0\0\x08" or not shape or len(content) != 4 + 4 * axes + math.prod(shape):
        raise ValueError(f"expected an IDX file of bytes in {path.name}, got something else: fetch it again")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def prepare(
    source: str | os.PathLike | None = None, archives: dict[str, Archive] | None = None, folder: Path | None = None
) -> Path:  # fmt: skip
    """Fill the cache once; return the prepared file.

    Args:
        source: a folder with the four files, an .npz with x_train (n, 28, 28), y_train, x_test and y_test of uint8, or a folder
            with such a mnist.npz (also one folder down in mnist/). None: keep what is prepared already, else look into the
            folder $CFFBOOK_DATA, else download. Giving a source prepares from it, unless those very files were the last source.
        archives: where the files are fetched and their checksums; the canonical ones if None.
        folder: where the prepared file goes; `mnist` in the cache if None.

    Raises:
        FileNotFoundError: `source` is not there.
        ConnectionError, ValueError: see `download` and `read_idx`; nothing half-prepared is left.
    """
    archives, path = archives or canonical(), (folder or cache_folder() / "mnist") / "digits.npz"
    if source is None and path.exists():
        return path
    source = source or os.environ.get("CFFBOOK_DATA")
    if source is None:
        files = {name: download(archive.url, path.parent / archive.name, archive.size, archive.md5) for name, archive in archives.items()}
    else:
        files = _find(Path(source), archives)
    label = ", ".join(f"{file.name} sha256 {checksum(file, 'sha256')}" for file in dict.fromkeys(files.values()))
    if path.exists() and str(load_arrays(path, ("source",))["source"]) == label:
        return path
    arrays = {}
    for name, file in files.items():
        if file.suffix == ".npz":
            arrays |= load_arrays(file, (name,))
        else:
            verify(file, archives[name].size, archives[name].md5)
            arrays[name] = read_idx(file)
    _check(arrays, source or path.parent)
    save_arrays(path, arrays | {"source": np.array(label)})
    return path


def _find(source: Path, archives: dict[str, Archive]) -> dict[str, Path]:
    """The file of each array in a source."""
    if source.is_file():
        return dict.fromkeys(ARRAYS, source)
    for place in (source, source / "mnist"):
        files = {name: place / archive.name for name, archive in archives.items()}
        if all(file.is_file() for file in files.values()):
            return files
        if (place / PREPARED).is_file():
            return dict.fromkeys(ARRAYS, place / PREPARED)
    names = ", ".join(archive.name for archive in archives.values())
    raise FileNotFoundError(f"expected a folder with {names}, or with {PREPARED}, got {source}")


def _check(arrays: dict[str, np.ndarray], place: object) -> None:
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.shape != (len(y), SIDE, SIDE) or y.ndim != 1 or not len(y) or y.min() < 0 or y.max() > 9:
            raise ValueError(
                f"expected uint8 images (n, {SIDE}, {SIDE}) and as many labels 0 to 9 for {part} from {place}, "
                f"got {x.dtype} {x.shape} and {y.dtype} {y.shape}"
            )
