"""Stale outputs are impossible: what the pages were computed from is part of whether they are up to date.

A cached notebook is found again by its cells alone, so a change in the package or in the records would leave old numbers in the
book. Two stamps over src/, results/ and requirements.txt prevent it: one beside the cache of executed notebooks, which is
emptied when the stamp differs, and one per builder for finished pages, which are read and written again. The second is
written only after a build that came to its end, so an interrupted build is repeated.
"""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import cffbook
from cffbook.sphinx_ext.layout import root

INPUTS = ("src", "results", "requirements.txt")
IGNORED = ("__pycache__", ".egg-info", ".ipynb_checkpoints", ".pyc", ".tmp")
STAMP = "inputs.sha256"

logger = logging.getLogger(__name__)


def digest(top: Path, names: Iterable[str] = INPUTS) -> str:
    """SHA-256 over names and contents of all files under the given entries of `top`, in sorted order."""
    total = hashlib.sha256()
    for path in sorted(file for name in names for file in _files(top / name)):
        total.update(path.relative_to(top).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def drop_stale_cache(app: Sphinx) -> None:
    """Empty the cache of executed notebooks if it was filled from other inputs."""
    top = root(app)
    used = Path(cffbook.__file__).resolve()
    if (top / "src").is_dir() and not used.is_relative_to((top / "src").resolve()):
        logger.warning("the book would run cffbook from %s, expected %s: pip install -e .", used.parent, top / "src")
    app.cffbook_inputs = digest(top)
    cache = _cache(app)
    if _read(cache / STAMP) == app.cffbook_inputs:
        return
    if cache.is_dir():
        logger.info("src/ or results/ changed: every page is executed again")
        shutil.rmtree(cache)
    cache.mkdir(parents=True)
    _write(cache / STAMP, app.cffbook_inputs)


def outdated_pages(app: Sphinx, env: BuildEnvironment, added: set, changed: set, removed: set) -> list[str]:
    """All pages, unless this builder has finished them from the same inputs."""
    return [] if _read(_finished(app)) == app.cffbook_inputs else sorted(env.found_docs)


def record(app: Sphinx, exception: Exception | None) -> None:
    """Remember the inputs of a finished build; forget them if they changed while it ran."""
    if not hasattr(app, "cffbook_inputs") or exception is not None:
        return
    if digest(root(app)) == app.cffbook_inputs:
        _write(_finished(app), app.cffbook_inputs)
        return
    _finished(app).unlink(missing_ok=True)
    (_cache(app) / STAMP).unlink(missing_ok=True)
    logger.warning("src/ or results/ changed while the book was built: build it again")


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return (file for file in path.rglob("*") if file.is_file() and not any(part.endswith(IGNORED) for part in file.parts))


def _cache(app: Sphinx) -> Path:
    named = app.config.nb_execution_cache_path
    return Path(named) if named else Path(app.outdir).parent / ".jupyter_cache"


def _finished(app: Sphinx) -> Path:
    return Path(app.doctreedir) / f"{app.builder.name}.{STAMP}"


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
