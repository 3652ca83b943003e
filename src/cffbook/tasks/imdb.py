"""The Large Movie Review Dataset, prepared once from its canonical archive or from JSON lines.

The archive (Maas et al. 2011) holds a file for each review, aclImdb/{train,test}/{pos,neg}/ID_STARS.txt. JSON lines are
imdb_train.jsonl.gz and imdb_test.jsonl.gz, an object with `label` (0 or 1) and `text` a line. The prepared file is
`imdb/reviews.npz` in the cache: for train and test the bytes of all reviews, where each begins, labels; and the source.
"""

import json
import os
import re
from pathlib import Path

import numpy as np

from cffbook.tasks.archives import members, unzipped
from cffbook.tasks.cache import Archive, cache_folder, checksum, download, load_arrays, save_arrays, verify
from cffbook.tasks.texts import Texts

CANONICAL = Archive("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz", 84_125_825, "7c2ac02c03563afcf9b574c7e56c153a")
PARTS = ("train", "test")
ARRAYS = tuple(f"{part}_{kind}" for part in PARTS for kind in ("content", "offsets", "labels"))
_REVIEW = re.compile(r"(?:.*/)?(train|test)/(pos|neg)/(\d+)_(\d+)\.txt")
_LINES = {part: f"imdb_{part}.jsonl.gz" for part in PARTS}


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Read the archive, keys as in ARRAYS; negative reviews first, by number.

    Raises:
        ValueError: not a tar archive, cut short, or without reviews of one kind.
    """
    found: dict[tuple[str, str], dict[int, bytes]] = {(part, kind): {} for part in PARTS for kind in ("neg", "pos")}
    for name, file in members(path, lambda name: bool(_REVIEW.fullmatch(name))):
        part, kind, number, _ = _REVIEW.fullmatch(name).groups()
        found[part, kind][int(number)] = file.read()
    arrays = {}
    for part in PARTS:
        for kind in ("neg", "pos"):
            if not found[part, kind]:
                raise ValueError(f"expected aclImdb/{part}/{kind}/ID_STARS.txt in {path}, there is none: fetch the archive again")
        reviews = [found[part, kind][number] for kind in ("neg", "pos") for number in sorted(found[part, kind])]
        arrays |= _arrays(part, reviews, [0] * len(found[part, "neg"]) + [1] * len(found[part, "pos"]))
    return arrays


def read_lines(paths: dict[str, Path]) -> dict[str, np.ndarray]:
    """Read JSON lines, one file for train and one for test, keys as in ARRAYS.

    Raises:
        ValueError: cut short, or a line without a label 0 or 1 and a text; says which.
    """
    arrays = {}
    for part, path in paths.items():
        reviews, labels = [], []
        for place, line in unzipped(path):
            try:
                entry = json.loads(line)
                text, label = entry["text"], entry["label"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{place}: expected a JSON object with 'label' and 'text', got {line[:40]!r}") from error
            if label not in (0, 1) or not isinstance(text, str):
                raise ValueError(f"{place}: expected a label 0 or 1 and a text, got {label!r} and {type(text).__name__}")
            reviews.append(text.encode())
            labels.append(label)
        if not reviews:
            raise ValueError(f"expected reviews in {path}, it is empty")
        arrays |= _arrays(part, reviews, labels)
    return arrays


def _arrays(part: str, reviews: list[bytes], labels: list[int]) -> dict[str, np.ndarray]:
    texts = Texts.of(reviews)
    return {f"{part}_content": texts.content, f"{part}_offsets": texts.offsets, f"{part}_labels": np.array(labels, dtype=np.uint8)}


def prepared(folder: Path | None = None) -> Path:
    """Return where the prepared file lies."""
    return (folder or cache_folder() / "imdb") / "reviews.npz"


def prepare(source: str | os.PathLike | None = None, archive: Archive | None = None, folder: Path | None = None) -> Path:
    """Fill the cache once; return the prepared file.

    Args:
        source: the archive, or a folder with it or with both files of JSON lines (also one folder down in imdb/). None:
            keep what is prepared already, else look into the folder $CFFBOOK_DATA, else download. Giving a source
            prepares from it, unless that very file was the last source.
        archive: where the archive is fetched and its checksum; the canonical one if None.
        folder: where the prepared file goes; `imdb` in the cache if None.

    Raises:
        FileNotFoundError: `source` is not there.
        ConnectionError, ValueError: see `download`, `read_archive` and `read_lines`; nothing half-prepared is left.
    """
    archive, path = archive or CANONICAL, prepared(folder)
    if source is None:
        if path.exists():
            return path
        source = os.environ.get("CFFBOOK_DATA") or download(archive.url, path.parent / archive.name, archive.size, archive.md5)
    files = _find(Path(source), archive)
    label = ", ".join(f"{file.name} sha256 {checksum(file, 'sha256')}" for file in files)
    if path.exists() and str(load_arrays(path, ("source",))["source"]) == label:
        return path
    if len(files) == 2:
        arrays = read_lines(dict(zip(PARTS, files, strict=True)))
    else:
        verify(files[0], archive.size, archive.md5)
        arrays = read_archive(files[0])
    save_arrays(path, arrays | {"source": np.array(label)})
    return path


def _find(source: Path, archive: Archive) -> list[Path]:
    if source.is_file():
        return [source]
    for place in (source, source / "imdb"):
        if (place / archive.name).is_file():
            return [place / archive.name]
        lines = [place / name for name in _LINES.values()]
        if all(path.is_file() for path in lines):
            return lines
    raise FileNotFoundError(f"expected the archive or a folder with {archive.name} or {' and '.join(_LINES.values())}, got {source}")
