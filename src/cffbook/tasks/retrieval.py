"""Whether one paper cites the other, from the first bytes of both: Long Range Arena's Retrieval task, two towers.

Two protocols, whose numbers never share a column: `lra` feeds bytes (token = byte + 1, vocabulary 257), `s4` characters and an
end. Two data sets, which are different tasks: "AAN" is LRA's own, "AAN-rebuilt" was made anew from papers and citations
and is called so in every record. Source: Tay et al. 2021; the state-space models' `s4` data loaders.
"""

import os
from collections.abc import Iterator

import numpy as np
import torch

from cffbook.tasks.aan import ARRAYS, KINDS, PARTS, prepare
from cffbook.tasks.cache import load_arrays
from cffbook.tasks.floors import Floors
from cffbook.tasks.ngrams import cosine_accuracy
from cffbook.tasks.task import Batch, RaggedTokens, Split, Task, check_count
from cffbook.tasks.texts import ByteCode, CharacterCode, Texts, encoded

PROTOCOLS = ("lra", "s4")
_LENGTH, _LONGEST = 4000, 10_000


class Pairs(Split):
    """Pairs of texts: inputs `(batch, 2, time)`, lengths `(batch, 2)`.

    Args:
        texts: all texts.
        pairs: `(examples, 2)` numbers of texts.
        targets: `(examples,)` classes.
    """

    def __init__(self, texts: RaggedTokens, pairs: np.ndarray, targets: np.ndarray):
        self.texts = texts
        self.pairs = pairs.astype(np.int64)
        self.targets = targets.astype(np.int64)

    def __len__(self) -> int:
        return len(self.targets)

    def _batch(self, indices: np.ndarray) -> Batch:
        flat = self.texts.batch(self.pairs[indices].ravel())
        inputs, lengths = flat.inputs.unflatten(0, (-1, 2)), flat.lengths.unflatten(0, (-1, 2))
        return Batch(inputs, lengths, torch.from_numpy(self.targets[indices]))

    def _contents(self) -> Iterator[np.ndarray | str]:
        yield self.texts.hash
        yield from (self.pairs, self.targets)


def build(
    data: str = "AAN",
    protocol: str = "lra",
    length: int = _LENGTH,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    source: str | os.PathLike | None = None,
) -> Task:
    """Build the retrieval task: pairs of papers, 1 where one cites the other; splits as the files have them.

    Args:
        data: "AAN", LRA's own 147,086 / 18,090 / 17,437 pairs, or "AAN-rebuilt"; the task's name says which.
        protocol: "lra" (bytes) or "s4" (characters).
        length: most tokens of a paper, the rest is cut.
        train, valid, test: use only that many pairs, the first of the split; None uses all.
        source: see `aan.prepare`; nothing is downloaded.

    Raises:
        ValueError: an option out of range, or a damaged source.
        FileNotFoundError: the data is not there.
    """
    for name, chosen, known in (("data", data, KINDS), ("protocol", protocol, PROTOCOLS)):
        if chosen not in known:
            raise ValueError(f"expected {name} to be one of {', '.join(known)}; got {chosen!r}")
    check_count("length", length, 2)
    if length > _LONGEST:
        raise ValueError(f"expected length to be at most {_LONGEST}, which is what is kept of a paper, got {length}")
    sizes = {"train": train, "valid": valid, "test": test}
    for name, size in sizes.items():
        if size is not None:
            check_count(name, size)
    stored = load_arrays(prepare(data, source), (*ARRAYS, "source"))
    texts = Texts(stored["content"], stored["offsets"])
    fit = np.unique(stored["train_pairs"])
    code = ByteCode(length) if protocol == "lra" else CharacterCode(length, texts, fit.tolist(), least=1)
    read = encoded(texts, range(len(texts)), np.zeros(len(texts), np.int64), code)
    splits = {}
    for name in PARTS:
        pairs, size = stored[f"{name}_pairs"], sizes[name]
        if size is not None and size > len(pairs):
            raise ValueError(f"expected {name} to be at most {len(pairs)}, got {size}")
        splits[name] = Pairs(read, pairs[:size], stored[f"{name}_labels"][:size])
    variant = {"data": data, "protocol": protocol, "length": length, "sizes": [len(split) for split in splits.values()],
               "source": str(stored["source"])}  # fmt: skip
    return Task(
        name="retrieval" if data == "AAN" else data, kind="classification", vocabulary=code.vocabulary, features=None,
        classes=2, length=length, **splits, variant=variant, floors=_floors(splits),
    )  # fmt: skip


def _floors(splits: dict[str, Pairs]) -> Floors:
    train, test = splits["train"], splits["test"]

    def compute() -> dict[str, float]:
        common = np.bincount(train.targets, minlength=2).argmax()
        cosine = cosine_accuracy(train.texts, (train.pairs, train.targets), (test.pairs, test.targets))
        return {"majority": float(np.mean(test.targets == common)), "4_grams_cosine": cosine}

    return Floors(lambda: f"retrieval-{train.hash[:16]}-{test.hash[:16]}", compute)
