"""Movie reviews read byte by byte: Long Range Arena's Text task, with a validation split that the original lacks.

Two protocols, whose numbers never share a column: `lra` feeds bytes (token = byte + 1, vocabulary 257), `s4` characters that
occur at least 15 times among the training reviews, and an end. The original validates on the test set; here a tenth of
the training reviews is set apart for that. Source: Tay et al. 2021; Maas et al. 2011; the state-space models' `s4` data loaders.
"""

import os

import numpy as np

from cffbook.tasks.cache import load_arrays
from cffbook.tasks.floors import Floors
from cffbook.tasks.imdb import ARRAYS, PARTS, prepare
from cffbook.tasks.ngrams import linear_accuracy
from cffbook.tasks.task import RaggedTokens, Task, check_count
from cffbook.tasks.texts import ByteCode, CharacterCode, Texts, drawn_order, encoded, interleaved

LENGTHS = {"lra": 4000, "s4": 4096}
RARE = 15
_VALID = 10  # one review in so many validates


def build(
    protocol: str = "lra",
    length: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    source: str | os.PathLike | None = None,
) -> Task:
    """Build the text task: 22,500 / 2,500 / 25,000 reviews, negative (0) or positive (1).

    The first call downloads 84 MB, once, unless a source is given or $CFFBOOK_DATA names a folder with one. Which reviews
    validate is drawn from seed and contents, as many of each class; every beginning of a split is balanced.

    Args:
        protocol: "lra" (bytes) or "s4" (characters).
        length: most tokens of a review, the rest is cut; None is the protocol's, 4,000 or 4,096.
        train, valid, test: use only that many reviews, the first of the split; None uses all.
        seed: fixes which training reviews validate, and the order of all.
        source: see `imdb.prepare`.

    Raises:
        ValueError: an option out of range, or a damaged source.
        ConnectionError: the download failed.
    """
    if protocol not in LENGTHS:
        raise ValueError(f"expected a protocol, one of {', '.join(LENGTHS)}; got {protocol!r}")
    length = LENGTHS[protocol] if length is None else length
    check_count("length", length, 2)
    check_count("seed", seed, 0)
    for name, size in {"train": train, "valid": valid, "test": test}.items():
        if size is not None:
            check_count(name, size)
    stored = load_arrays(prepare(source), (*ARRAYS, "source"))
    texts = {part: Texts(stored[f"{part}_content"], stored[f"{part}_offsets"]) for part in PARTS}
    labels = {part: stored[f"{part}_labels"].astype(np.int64) for part in PARTS}
    if protocol == "lra":
        code = ByteCode(length)
    else:
        code = CharacterCode(length, texts["train"], range(len(texts["train"])), RARE)
    splits = {}
    for name, size, indices in _divided(texts, labels, (train, valid, test), seed):
        if size is not None and size > len(indices):
            raise ValueError(f"expected {name} to be at most {len(indices)}, got {size}")
        part = "test" if name == "test" else "train"
        splits[name] = encoded(texts[part], indices[:size], labels[part], code)
    variant = {"protocol": protocol, "length": length, "sizes": [len(split) for split in splits.values()], "seed": seed,
               "source": str(stored["source"])}  # fmt: skip
    return Task(
        name="text", kind="classification", vocabulary=code.vocabulary, features=None, classes=2, length=length,
        **splits, variant=variant, floors=_floors(splits),
    )  # fmt: skip


def _divided(texts: dict[str, Texts], labels: dict[str, np.ndarray], sizes: tuple, seed: int):
    """Yield name, wanted size and indices of each split."""
    groups = list(drawn_order(texts["train"], labels["train"], seed).values())
    cuts = [max(len(group) // _VALID, 1) for group in groups]
    yield "train", sizes[0], interleaved([group[cut:] for group, cut in zip(groups, cuts, strict=True)])
    yield "valid", sizes[1], interleaved([group[:cut] for group, cut in zip(groups, cuts, strict=True)])
    yield "test", sizes[2], interleaved(list(drawn_order(texts["test"], labels["test"], seed).values()))


def _floors(splits: dict[str, RaggedTokens]) -> Floors:
    train, test = splits["train"], splits["test"]

    def compute() -> dict[str, float]:
        common = np.bincount(train.targets, minlength=2).argmax()
        return {"majority": float(np.mean(test.targets == common)), "4_grams_linear": linear_accuracy(train, test)}

    return Floors(lambda: f"text-{train.hash[:16]}-{test.hash[:16]}", compute)
