"""Floors that take seconds to compute: on first use, then from the cache."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cffbook.tasks.cache import cache_folder, replacing


class Floors(Mapping):
    """Accuracies by name, computed when one is asked for and kept in the cache below `floors`.

    Args:
        key: returns a name for what is computed from which data, a file's name.
        compute: returns the accuracies.
    """

    def __init__(self, key: Callable[[], str], compute: Callable[[], dict[str, float]]):
        self.key, self.compute = key, compute
        self.found: dict[str, float] | None = None

    @property
    def path(self) -> Path:
        """Where the cache keeps them."""
        return cache_folder() / "floors" / f"{self.key()}.json"

    def _values(self) -> dict[str, float]:
        if self.found is None and self.path.exists():
            try:
                self.found = json.loads(self.path.read_text(encoding="ascii"))
            except ValueError as error:
                raise ValueError(f"expected floors as JSON in {self.path}, got something else: delete it") from error
        if self.found is None:
            self.found = self.compute()
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps(self.found), encoding="ascii")
        return self.found

    def __getitem__(self, name: str) -> float:
        return self._values()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())
