"""Long Range Arena's own Pathfinder images, prepared once from its release.

    pathfinder32/curv_contour_length_14/imgs/0/sample_0.png      gray, 8 bit
    pathfinder32/curv_contour_length_14/metadata/0.npy           plain text, whatever its name says

A line of metadata: folder, file, number, label, number, continuity, contour length, distractor length, paddle length,
thickness, margin, contrasts. The prepared file is `pathfinder/release_32_hard.npz` in the cache. Source: Tay et al. 2021.
"""

import io
import os
import re
from pathlib import Path

import numpy as np

from cffbook._optional import require
from cffbook.tasks.archives import members
from cffbook.tasks.cache import cache_folder, checksum, load_arrays, save_arrays
from cffbook.tasks.release import given, inside

FOLDERS = {"easy": "curv_baseline", "intermediate": "curv_contour_length_9", "hard": "curv_contour_length_14"}
EMPTY = "pathfinder32/curv_baseline/imgs/0/sample_172.png"  # the release holds a file without content by this name
ARRAYS = ("images", "labels", "names")
_FILE = re.compile(r"(?:lra_release/lra_release/)?(pathfinder\d+/\w+)/(imgs/\d+/[^/]+\.png|metadata/\d+\.npy)")
_COLUMNS = 4  # that are read; later ones repeat the parameters


def _metadata(content: bytes, place: str) -> dict[str, int]:
    """Return the label of each image, by its path below the variant's folder.

    Raises:
        ValueError: a line that is no metadata.
    """
    labels = {}
    for number, line in enumerate(content.decode("ascii", errors="replace").splitlines(), start=1):
        cells = line.split()
        if len(cells) < _COLUMNS or cells[3] not in ("0", "1"):
            raise ValueError(f"{place}, line {number}: expected folder, file, number, label 0 or 1, ..., got {line[:40]!r}")
        labels[f"{cells[0]}/{cells[1]}"] = int(cells[3])
    return labels


def _decode(content: bytes, side: int, place: str) -> np.ndarray:
    image = require("PIL.Image", extra="train", purpose="reading the arena's Pathfinder images")
    try:
        pixels = np.asarray(image.open(io.BytesIO(content)).convert("L"))
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged files
        raise ValueError(f"expected a whole PNG image as {place}, got a damaged one or another format") from error
    if pixels.shape != (side, side):
        raise ValueError(f"expected {side} x {side} pixels in {place}, got {pixels.shape[0]} x {pixels.shape[1]}")
    return pixels


def read(source: Path, side: int, difficulty: str) -> dict[str, np.ndarray]:
    """Read images, labels and names, ordered by name; keys as in ARRAYS.

    Args:
        source: the variant's folder, or the release's archive.
        side: pixels.
        difficulty: one of FOLDERS.

    Raises:
        ValueError: a damaged archive, image or line of metadata; names it.
        FileNotFoundError: no metadata, or an image that is listed there is missing.
    """
    variant = f"pathfinder{side}/{FOLDERS[difficulty]}"
    images: dict[str, np.ndarray] = {}
    labels: dict[str, int] = {}
    start = f"{variant}/" if source.is_dir() else ""

    def wanted(name: str) -> bool:
        found = _FILE.fullmatch(start + name)
        return bool(found) and found[1] == variant

    for name, file in members(source, wanted):
        inner = _FILE.fullmatch(start + name)[2]
        if f"{variant}/{inner}" == EMPTY:
            continue
        if inner.endswith(".npy"):
            labels |= _metadata(file.read(), f"{variant}/{inner}")
        else:
            images[inner] = _decode(file.read(), side, f"{variant}/{inner}")
    labels.pop(EMPTY.removeprefix(f"{variant}/"), None)
    if not labels:
        raise FileNotFoundError(f"expected {variant}/metadata/*.npy in {source}, there is none")
    missing = next((name for name in labels if name not in images), None)
    if missing:
        raise FileNotFoundError(f"expected {variant}/{missing} in {source}, which the metadata lists; it is missing")
    names = sorted(labels)
    return {"images": np.stack([images[name] for name in names]), "labels": np.array([labels[name] for name in names], np.uint8),
            "names": np.array(names)}  # fmt: skip


def prepare(source: str | os.PathLike, side: int, difficulty: str) -> Path:
    """Fill the cache once for each variant; return the prepared file.

    Raises:
        FileNotFoundError, ValueError: see `read`; nothing half-prepared is left.
    """
    path = cache_folder() / "pathfinder" / f"release_{side}_{difficulty}.npz"
    place = given(source, "Pathfinder of the arena")
    found = inside(place, f"pathfinder{side}/{FOLDERS[difficulty]}")
    if found is None:
        raise FileNotFoundError(f"expected pathfinder{side}/{FOLDERS[difficulty]} or lra_release.gz in {place}, there is neither")
    sums = sorted((found / "metadata").glob("*.npy")) if found.is_dir() else [found]
    label = ", ".join(f"{file.name} sha256 {checksum(file, 'sha256')}" for file in sums)
    if path.exists() and str(load_arrays(path, ("source",))["source"]) == label:
        return path
    save_arrays(path, read(found, side, difficulty) | {"source": np.array(label)}, packed=True)
    return path
