"""Members of an archive or of the folder it unpacks to, one after the other, with one sentence for whatever is damaged."""

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO


def members(source: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, BinaryIO]]:
    """Yield (name, open file) of every wanted file, in the order of the archive, or sorted by name in a folder.

    Args:
        source: a tar archive, compressed or not, or a folder.
        wanted: tells by a name with forward slashes whether to open the file.

    Raises:
        ValueError: not a tar archive, or one cut short; says which.
    """
    if source.is_dir():
        for place, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = Path(place, name)
                relative = path.relative_to(source).as_posix()
                if wanted(relative):
                    with open(path, "rb") as file:
                        yield relative, file
        return
    try:
        with tarfile.open(source, "r:*") as archive:  # "r|*" would take the end of a file cut short for the end of the archive
            while member := archive.next():
                archive.members.clear()  # millions of them would fill the memory
                if member.isfile() and wanted(member.name):
                    yield member.name, _Whole(archive.extractfile(member), source)
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise damaged(source) from error


def damaged(source: Path) -> ValueError:
    """The error for an archive that cannot be read to its end."""
    return ValueError(f"expected a whole archive at {source}, got a damaged one or another format: fetch it again")


class _Whole(io.RawIOBase):
    """A member's file that says which archive is damaged when it ends early."""

    def __init__(self, file: BinaryIO, source: Path):
        self.file, self.source = file, source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            content = self.file.read(len(buffer))
        except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
            raise damaged(self.source) from error
        buffer[: len(content)] = content
        return len(content)


def lines(file: BinaryIO, place: str) -> Iterator[tuple[str, bytes]]:
    """Yield ("place, line n", content without its line end) of a file."""
    for number, line in enumerate(io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file, start=1):
        yield f"{place}, line {number}", line.rstrip(b"\r\n")


def unzipped(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of a gzip-compressed file as `lines` does.

    Raises:
        ValueError: not compressed so, or cut short.
    """
    try:
        with gzip.open(path, "rb") as file:
            yield from lines(file, str(path))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(path) from error
