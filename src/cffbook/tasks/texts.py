"""Texts as tokens: bytes as Long Range Arena reads them, or characters as the state-space models do; and their order.

    lra   token = byte + 1, 0 pads, vocabulary 257
    s4    token of a character by its frequency (1 = rare or unknown), 2 = end, 0 pads; characters rarer than a limit are unknown

Source: Tay et al. 2021; the state-space models' `s4` data loaders.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cffbook.tasks.task import RaggedTokens

BYTES = 257
UNKNOWN, END = 1, 2
_SPECIAL = 3
_CODES = 0x110000


@dataclass(frozen=True)
class Texts:
    """Many texts in one array: text i is `content[offsets[i]:offsets[i + 1]]`, bytes in UTF-8."""

    content: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, pieces: Sequence[bytes]) -> "Texts":
        """Join pieces."""
        offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces], dtype=np.int64)]).astype(np.int64)
        return cls(np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> bytes:
        return self.content[self.offsets[index] : self.offsets[index + 1]].tobytes()


class Bytes(RaggedTokens):
    """Texts as bytes; in a batch 1 is added, so that 0 is padding alone."""

    shift = 1

    def _contents(self) -> Iterator[np.ndarray | str]:
        yield "byte + 1"
        yield from super()._contents()


class ByteCode:
    """Text to bytes, at most `length` of them."""

    vocabulary = BYTES
    split = Bytes

    def __init__(self, length: int):
        self.length = length

    def __call__(self, text: bytes) -> np.ndarray:
        """Return `(time,)` uint8."""
        return np.frombuffer(text[: self.length], dtype=np.uint8)


class CharacterCode:
    """Text to characters, at most `length` - 1 of them, and an end.

    Args:
        length: most tokens.
        texts: where characters are counted, each text as far as it is read.
        indices: which of them.
        least: a character occurs at least so often, or it is unknown.
    """

    split = RaggedTokens

    def __init__(self, length: int, texts: Texts, indices: Sequence[int], least: int):
        self.length = length
        counts = np.zeros(_CODES, dtype=np.int64)
        for index in indices:
            np.add.at(counts, self.read(texts[index]), 1)
        kept = np.flatnonzero(counts >= least)
        kept = kept[np.argsort(-counts[kept], kind="stable")]
        self.vocabulary = _SPECIAL + len(kept)
        self.ids = np.full(_CODES, UNKNOWN, dtype=np.uint16)
        self.ids[kept] = np.arange(_SPECIAL, self.vocabulary)

    def read(self, text: bytes) -> np.ndarray:
        """Return the code points that are read, `(time,)` uint32; bytes that are no UTF-8 become the replacement character."""
        characters = text.decode("utf-8", errors="replace")[: self.length - 1]
        return np.frombuffer(characters.encode("utf-32-le", errors="replace"), dtype="<u4")

    def __call__(self, text: bytes) -> np.ndarray:
        """Return `(time,)` uint16."""
        return np.append(self.ids[self.read(text)], np.uint16(END))


def encoded(texts: Texts, indices: Sequence[int], targets: np.ndarray, code: ByteCode | CharacterCode) -> RaggedTokens:
    """Return the texts at `indices` as a split; `targets` are those of all texts."""
    pieces = [code(texts[index]) for index in indices]
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces], dtype=np.int64)])
    return code.split(np.concatenate(pieces), offsets, targets[indices])


def drawn_order(texts: Texts, targets: np.ndarray, seed: int) -> dict[int, np.ndarray]:
    """Return for each class the indices of its texts in an order that seed and contents alone draw.

    The order in which the texts are stored does not matter, and copies of a text stand side by side.
    """
    key = str(seed).encode()
    digests = np.array([hashlib.blake2b(texts[index], digest_size=8, key=key).digest() for index in range(len(texts))], dtype="S8")
    ranks = digests.view(">u8")
    return {int(value): (found := np.flatnonzero(targets == value))[np.argsort(ranks[found], kind="stable")]
            for value in np.unique(targets)}  # fmt: skip


def interleaved(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Merge groups so that every beginning holds each group in proportion to its size."""
    places = np.concatenate([(np.arange(len(group)) + 0.5) / len(group) for group in groups])
    return np.concatenate(list(groups))[np.argsort(places, kind="stable")]
