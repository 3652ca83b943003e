"""Pairs of papers of the ACL Anthology Network: Long Range Arena's own, or pairs rebuilt from papers and citations.

    AAN           LRA's new_aan_pairs.{train,eval,test}.tsv, no header, no quoting: label (0.0 or 1.0), id, id, text, text
    AAN-rebuilt   papers.jsonl.gz, an object with `id` and `text` a line; pairs.{train,eval,test}.tsv: label (0 or 1), id, id

The two are different data: no number of the second belongs into a table of the first. A text is kept once, its first 10,000
bytes. The prepared file is `aan/AAN.npz` or `aan/AAN-rebuilt.npz` in the cache: all texts, then for each split pairs of
their numbers and labels; and the source. Source: Radev et al. 2013; Tay et al. 2021.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cffbook.tasks.archives import lines, members, unzipped
from cffbook.tasks.cache import cache_folder, checksum, load_arrays, save_arrays
from cffbook.tasks.release import given, inside
from cffbook.tasks.texts import Texts

KINDS = ("AAN", "AAN-rebuilt")
PARTS = {"train": "train", "valid": "eval", "test": "test"}
ARRAYS = ("content", "offsets", *(f"{part}_{kind}" for part in PARTS for kind in ("pairs", "labels")))
PAPERS = "papers.jsonl.gz"
_LONGEST = 10_000
_RELEASE = {part: f"new_aan_pairs.{name}.tsv" for part, name in PARTS.items()}
_REBUILT = {part: f"pairs.{name}.tsv" for part, name in PARTS.items()}


class _Store:
    """Texts by first appearance; the same text is kept once."""

    def __init__(self):
        self.numbers: dict[bytes, int] = {}

    def __call__(self, text: bytes) -> int:
        return self.numbers.setdefault(text[:_LONGEST], len(self.numbers))

    def arrays(self) -> dict[str, np.ndarray]:
        texts = Texts.of(list(self.numbers))
        return {"content": texts.content, "offsets": texts.offsets}


def _rows(file: BinaryIO, name: str, columns: int) -> Iterator[tuple[str, int, list[bytes]]]:
    """Yield (place, label, other columns) of a table by the name.

    Raises:
        ValueError: another number of columns, a label other than 0 or 1, or no rows.
    """
    place = ""
    for place, line in lines(file, name):
        cells = line.split(b"\t")
        if len(cells) != columns:
            raise ValueError(f"{place}: expected {columns} columns, got {len(cells)}: the file is cut short or another format")
        try:
            label = float(cells[0])
        except ValueError:
            label = -1.0
        if label not in (0.0, 1.0):
            raise ValueError(f"{place}: expected a label 0 or 1, got {cells[0][:20]!r}")
        yield place, int(label), cells[1:]
    if not place:
        raise ValueError(f"expected rows of pairs in {name}, it is empty")


def read_release(source: Path) -> dict[str, np.ndarray]:
    """Read LRA's pairs from a folder or from the release's archive, keys as in ARRAYS.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a damaged archive or file; names file and line.
    """
    store, arrays = _Store(), {}
    by_name = {name: part for part, name in _RELEASE.items()}
    if source.is_dir():
        found = ((name, open(source / name, "rb")) for name in by_name if (source / name).is_file())
    else:
        found = members(source, lambda name: name.rsplit("/", 1)[-1] in by_name)
    for name, file in found:
        part = by_name[name.rsplit("/", 1)[-1]]
        pairs, labels = [], []
        with file:
            for _, label, (_, _, first, second) in _rows(file, f"{source.name}, {name}", 5):
                pairs.append((store(first), store(second)))
                labels.append(label)
        arrays |= _pairs(part, pairs, labels)
    missing = [name for name, part in by_name.items() if f"{part}_pairs" not in arrays]
    if missing:
        raise FileNotFoundError(f"expected {', '.join(by_name)} in {source}, {', '.join(missing)} missing")
    return arrays | store.arrays()


def read_rebuilt(folder: Path) -> dict[str, np.ndarray]:
    """Read papers and pairs of their ids, keys as in ARRAYS.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a damaged file, or a pair with an unknown id; names file and line.
    """
    store, numbers, arrays = _Store(), {}, {}
    for place, line in unzipped(folder / PAPERS):
        try:
            paper = json.loads(line)
            numbers[paper["id"].encode()] = store(paper["text"].encode())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{place}: expected a JSON object with 'id' and 'text', got {line[:40]!r}") from error
    for part, name in _REBUILT.items():
        pairs, labels = [], []
        with open(folder / name, "rb") as file:
            for place, label, ids in _rows(file, str(folder / name), 3):
                unknown = [one for one in ids if one not in numbers]
                if unknown:
                    raise ValueError(f"{place}: expected ids of {PAPERS}, got {unknown[0].decode(errors='replace')!r}")
                pairs.append([numbers[one] for one in ids])
                labels.append(label)
        arrays |= _pairs(part, pairs, labels)
    return arrays | store.arrays()


def _pairs(part: str, pairs: list, labels: list[int]) -> dict[str, np.ndarray]:
    return {f"{part}_pairs": np.array(pairs, dtype=np.int32), f"{part}_labels": np.array(labels, dtype=np.uint8)}


def prepared(kind: str, folder: Path | None = None) -> Path:
    """Return where the prepared file lies."""
    return (folder or cache_folder() / "aan") / f"{kind}.npz"


def prepare(kind: str, source: str | os.PathLike | None = None, folder: Path | None = None) -> Path:
    """Fill the cache once; return the prepared file.

    Args:
        kind: one of KINDS.
        source: of AAN the release's archive, its unpacked folder or a folder with the three files; of AAN-rebuilt a folder
            with papers and pairs (also one folder down in aan/). None: keep what is prepared already, else look into the
            folder $CFFBOOK_DATA. Giving a source prepares from it, unless those very files were the last source.
        folder: where the prepared file goes; `aan` in the cache if None.

    Raises:
        FileNotFoundError: the source, or a file in it, is not there.
        ValueError: see `read_release` and `read_rebuilt`; nothing half-prepared is left.
    """
    path = prepared(kind, folder)
    if source is None and path.exists():
        return path
    place, files = _find(kind, given(source, f"{kind} (retrieval)"))
    label = ", ".join(f"{file.name} sha256 {checksum(file, 'sha256')}" for file in files)
    if path.exists() and str(load_arrays(path, ("source",))["source"]) == label:
        return path
    arrays = read_release(place) if kind == "AAN" else read_rebuilt(place)
    save_arrays(path, arrays | {"source": np.array(label)})
    return path


def _find(kind: str, source: Path) -> tuple[Path, list[Path]]:
    """Return what to read and the files whose checksums name it."""
    if kind == "AAN":
        names = list(_RELEASE.values())
        found = inside(source, f"tsv_data/{names[0]}")
        if found and found.name not in names:
            return found, [found]
    else:
        names = [PAPERS, *_REBUILT.values()]
        found = next((path for path in (source / names[0], source / "aan" / names[0]) if path.is_file()), None)
    place = found.parent if found else source
    missing = [name for name in names if not (place / name).is_file()]
    if missing:
        raise FileNotFoundError(f"expected {', '.join(names)} in {place}, {', '.join(missing)} missing")
    return place, [place / name for name in names]
