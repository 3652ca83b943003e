"""Long Range Arena's own release: where its files lie, unpacked or in the archive lra_release.gz.

    lra_release/lra_release/listops-1000/basic_{train,val,test}.tsv
    lra_release/lra_release/tsv_data/new_aan_pairs.{train,eval,test}.tsv
    lra_release/lra_release/pathfinder{32,64,128,256}/...

Copies of listops-1000 and pathfinder128 lie one folder higher, in lra_release/; that of pathfinder128 cannot be learned (issue 38
of the repository), so that the inner folder is looked for first.
Source: google-research/long-range-arena. The archive has 7.7 GB and no published checksum; nothing here downloads it.
"""

import os
from pathlib import Path

ARCHIVE = "lra_release.gz"
URL = "https://storage.googleapis.com/long-range-arena/lra_release.gz"
_PLACES = ("lra_release/lra_release", "lra_release", "")


def inside(source: Path, wanted: str) -> Path | None:
    """Return the first existing `wanted`, a path below the release's root, or the archive that may hold it; else None."""
    if source.is_file():
        return source
    candidates = [source / place / wanted for place in _PLACES] + [source / Path(wanted).name]
    candidates += [source / name for name in (ARCHIVE, "lra_release.tar.gz")]
    return next((path for path in candidates if path.exists()), None)


def given(source: str | os.PathLike | None, what: str) -> Path:
    """Return `source`, or without one the folder $CFFBOOK_DATA.

    Raises:
        FileNotFoundError: neither is there; `what` is the subject of the sentence.
    """
    source = source or os.environ.get("CFFBOOK_DATA")
    if not source:
        raise FileNotFoundError(f"{what} cannot be downloaded piece by piece: fetch {URL} and give it or its unpacked folder as source")
    if not Path(source).exists():
        raise FileNotFoundError(f"expected a file or folder as source of {what}, got {source}, which is not there")
    return Path(source)
