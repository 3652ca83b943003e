"""One type for every task: three splits, each of which gives padded batches by index."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

KINDS = ("classification", "regression", "tokens")
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Some examples, padded to the longest of them.

    Args:
        inputs: tokens `(batch, time)` int64, 0 after the end; or samples `(batch, time, feature)` float32.
        lengths: `(batch,)` int64, samples before the padding; `(batch, 2)` of pairs, whose inputs are `(batch, 2, time)`.
        targets: `(batch,)` int64 classes; `(batch,)` float32 numbers; or `(batch, time)` int64 with -100 = not scored.
        elapsed: `(batch, time)` float32, time since the last sample; None where samples are one apart.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    elapsed: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on `device`."""
        elapsed = None if self.elapsed is None else self.elapsed.to(device)
        return Batch(self.inputs.to(device), self.lengths.to(device), self.targets.to(device), elapsed)


class Split(ABC):
    """Examples 0 ... len - 1, always the same for the same index."""

    hashed_as: str | None = None  # the class whose hash equal contents have, where it is not this one

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _batch(self, indices: np.ndarray) -> Batch:
        """Collate checked indices `(batch,)` int64."""

    @abstractmethod
    def _contents(self) -> Iterator[np.ndarray | str]:
        """Yield what the hash covers."""

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """Collate the examples at `indices`, in that order.

        Raises:
            IndexError: an index out of range, or none at all.
        """
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iu":
            raise IndexError(f"expected one or more integer indices (batch,), got shape {chosen.shape} of {chosen.dtype}")
        if chosen.min() < 0 or chosen.max() >= len(self):
            raise IndexError(f"expected indices from 0 to {len(self) - 1}, got {chosen.min()} to {chosen.max()}")
        return self._batch(chosen.astype(np.int64))

    @cached_property
    def hash(self) -> str:
        """sha256 of the contents, the same on every machine."""
        digest = hashlib.sha256(f"{self.hashed_as or type(self).__name__} {len(self)}".encode())
        for item in self._contents():
            if isinstance(item, str):
                digest.update(item.encode())
                continue
            array = np.ascontiguousarray(item).astype(item.dtype.newbyteorder("<"), copy=False)
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()


class RaggedTokens(Split):
    """Token sequences of unequal length: one flat array and where each begins.

    Args:
        tokens: `(all tokens,)` uint8 or uint16, no padding inside.
        offsets: `(examples + 1,)` int64, example i is `tokens[offsets[i]:offsets[i + 1]]`.
        targets: `(examples,)` classes.
    """

    shift = 0  # added to each token in a batch, where the stored ones count from 0

    def __init__(self, tokens: np.ndarray, offsets: np.ndarray, targets: np.ndarray):
        if len(offsets) != len(targets) + 1 or offsets[-1] != len(tokens):
            raise ValueError(
                f"expected offsets of {len(targets)} examples that end at {len(tokens)}, "
                f"got {len(offsets) - 1} examples that end at {offsets[-1]}"
            )
        self.tokens = tokens
        self.offsets = offsets.astype(np.int64)
        self.targets = targets.astype(np.int64)

    def __len__(self) -> int:
        return len(self.targets)

    def example(self, index: int) -> np.ndarray:
        """Return the tokens of one example, `(time,)` uint8, without padding."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def first(self, count: int) -> "RaggedTokens":
        """Return the first `count` examples, all where there are fewer."""
        count = min(count, len(self))
        return type(self)(self.tokens[: self.offsets[count]], self.offsets[: count + 1], self.targets[:count])

    def _batch(self, indices: np.ndarray) -> Batch:
        starts, ends = self.offsets[indices], self.offsets[indices + 1]
        lengths = ends - starts
        inputs = np.zeros((len(indices), lengths.max()), dtype=np.int64)
        for row, start, end in zip(inputs, starts.tolist(), ends.tolist(), strict=True):
            np.add(self.tokens[start:end], self.shift, out=row[: end - start], dtype=np.int64)
        return Batch(torch.from_numpy(inputs), torch.from_numpy(lengths), torch.from_numpy(self.targets[indices]))

    def _contents(self) -> Iterator[np.ndarray]:
        yield from (self.tokens, self.offsets, self.targets)


@dataclass(frozen=True, eq=False)
class Task:
    """Three splits and what a model has to know about them.

    Args:
        name: as in `load`.
        kind: "classification" (one class an example), "regression" (one number an example), "tokens" (one class a
            sample, -100 = not scored).
        vocabulary: number of token ids; 0 is padding (the image task needs none: there 0 is black). None: real-valued.
        features: numbers per sample of real-valued inputs, else None.
        classes: number of classes; 1 for regression.
        length: no example of the three splits is longer than this many samples.
        train, valid, test: the splits.
        variant: everything that fixes the data, ready for JSON.
        floors: what a trivial predictor scores on `test`, by name; costly ones are computed when they are asked for.
        tests: further test splits by name, of other lengths or distributions; they too are touched once, with `test`.

    Raises:
        ValueError: an unknown kind, or not exactly one of vocabulary and features.
    """

    name: str
    kind: str
    vocabulary: int | None
    features: int | None
    classes: int
    length: int
    train: Split
    valid: Split
    test: Split
    variant: dict[str, object]
    floors: Mapping[str, float] = field(default_factory=dict)
    tests: Mapping[str, Split] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"expected a kind of task, one of {', '.join(KINDS)}; got {self.kind!r}")
        if (self.vocabulary is None) == (self.features is None):
            raise ValueError(f"expected a vocabulary or features, got {self.vocabulary} and {self.features}")

    @property
    def sizes(self) -> dict[str, int]:
        """Examples in each split."""
        return {"train": len(self.train), "valid": len(self.valid), "test": len(self.test)}

    @cached_property
    def data_hash(self) -> str:
        """sha256 over the hashes of all splits."""
        splits = (self.train, self.valid, self.test, *self.tests.values())
        return hashlib.sha256(" ".join(split.hash for split in splits).encode()).hexdigest()

    @property
    def score_name(self) -> str:
        """"mean squared error" for regression, else "accuracy"."""
        return "mean squared error" if self.kind == "regression" else "accuracy"

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher score is the better one."""
        return self.kind != "regression"


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise ValueError unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"expected {name} to be an integer of at least {least}, got {value!r}")
