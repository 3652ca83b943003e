"""The cache folder: where it is, files that are never half-written, downloads that resume and are checked.

The folder is $CFFBOOK_CACHE; without it `cffbook` in the platform's cache folder: $XDG_CACHE_HOME or ~/.cache on Linux,
~/Library/Caches on macOS, %LOCALAPPDATA% on Windows. It may be deleted at any time.
"""

import contextlib
import hashlib
import http.client
import os
import sys
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """Where an archive is and how to know it: its address, its bytes, its checksum."""

    url: str
    size: int
    md5: str

    @property
    def name(self) -> str:
        """File name."""
        return self.url.rsplit("/", 1)[-1]


def cache_folder() -> Path:
    """Return the cache folder; it need not exist yet."""
    if os.environ.get("CFFBOOK_CACHE"):
        return Path(os.environ["CFFBOOK_CACHE"]).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "cffbook"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; it becomes `path` when the block ends well, and goes when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_arrays(path: Path, arrays: dict[str, np.ndarray], packed: bool = False) -> None:
    """Write named arrays to one .npz file, `packed` or not, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        (np.savez_compressed if packed else np.savez)(file, **arrays)


def load_arrays(path: Path, expected: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the `expected` arrays of a .npz file; each is checked against its stored checksum.

    Raises:
        ValueError: no such archive, a damaged one, or an array missing.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in expected if name in stored}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"expected a whole .npz archive at {path}, got a damaged one or another format: delete it") from error
    missing = [name for name in expected if name not in found]
    if missing:
        raise ValueError(f"expected the arrays {', '.join(expected)} in {path}, {', '.join(missing)} missing")
    return found


def checksum(path: Path, algorithm: str = "md5") -> str:
    """Return the hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def verify(path: Path, size: int, md5: str) -> None:
    """Check a file's size and md5 sum.

    Raises:
        ValueError: either differs.
    """
    if path.stat().st_size != size:
        raise ValueError(f"expected {size} bytes in {path.name}, got {path.stat().st_size}: fetch it again")
    found = checksum(path)
    if found != md5:
        raise ValueError(f"expected the md5 sum {md5} of {path.name}, got {found}: fetch it again")


def download(url: str, path: Path, size: int, md5: str) -> Path:
    """Fetch `url` to `path`, going on from `path`.part where an earlier attempt was cut off.

    Args:
        url: what to fetch.
        path: where to; a file that is there and has the right checksum is kept.
        size: bytes expected.
        md5: hex digest expected.

    Raises:
        ConnectionError: the server cannot be reached, or the connection broke (what came is kept for the next attempt).
        ValueError: the whole file came, with another size or checksum; nothing is kept.
    """
    if path.exists():
        verify(path, size, md5)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        _fetch(url, part, size)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ConnectionError(
            f"could not fetch {url} ({reason}): try again, or fetch it by hand and give it as source"
        ) from error
    if part.stat().st_size < size:
        raise ConnectionError(f"{url} broke off after {part.stat().st_size} of {size} bytes: call again to go on from there")
    try:
        verify(part, size, md5)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _fetch(url: str, part: Path, size: int) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have >= size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        resumed = have > 0 and response.status == 206
        with open(part, "ab" if resumed else "wb") as file, progress(part.stem, size, have if resumed else 0, unit="B") as advance:
            while block := response.read1(_BLOCK):
                file.write(block)
                advance(len(block))


@contextlib.contextmanager
def progress(name: str, total: int, have: int = 0, unit: str = "") -> Iterator:
    """Show a bar where tqdm is installed; gives a function that moves it on by a count."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda count: None
        return
    scale = {"unit_scale": True, "unit_divisor": 1024} if unit == "B" else {}
    with tqdm(desc=name, total=total, initial=have, unit=unit or "it", **scale) as bar:
        yield bar.update
