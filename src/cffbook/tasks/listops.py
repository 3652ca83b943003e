"""ListOps, the Long Range Arena variant: generated from a seed, or read from LRA's own files.

Two protocols, whose numbers never share a column: `lra` ends with the expression, `s4` adds an end to it. An id for unknown
words, which both originals count, is left out of the first and kept in the second, as no such word occurs.
Floors (what needs no composition) are computed from the data itself: the majority class, the best class for each root
operator, and the tree evaluated to depth 1, 2 and 3 with the digit 5 for everything deeper.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from cffbook.tasks.archives import members
from cffbook.tasks.cache import cache_folder, checksum, load_arrays, save_arrays
from cffbook.tasks.listops_draw import VERSION, Grammar, chunks
from cffbook.tasks.listops_text import FIRST_OPERATOR, VOCABULARY, evaluate, read_lines, read_tsv
from cffbook.tasks.release import inside
from cffbook.tasks.task import RaggedTokens, Task, check_count

FILES = {"train": "basic_train.tsv", "valid": "basic_val.tsv", "test": "basic_test.tsv"}
PROTOCOLS = ("lra", "s4")
PARTS = ("tokens", "offsets", "targets")
END = VOCABULARY  # after padding and fifteen words; the id after it is that of unknown words
ENDED_VOCABULARY, ENDED_LENGTH = VOCABULARY + 2, 2048
_MEMBER = re.compile(r"(?:lra_release/lra_release/)?listops-1000/basic_(?:train|val|test)\.tsv")
_BARREN = 200  # chunks without a new tree before giving up


class Expressions(RaggedTokens):
    """Drawn expressions to train on, which can be had shorter.

    Args:
        tokens, offsets, targets: as of `RaggedTokens`.
        length: all have fewer tokens.
        draw: draws as many below another number of tokens.
    """

    least = 10  # below it there are too few different ones
    hashed_as = "RaggedTokens"

    def __init__(self, tokens: np.ndarray, offsets: np.ndarray, targets: np.ndarray, length: int, draw: Callable[[int], RaggedTokens]):
        super().__init__(tokens, offsets, targets)
        self.length, self._draw = length, draw
        self._shorter: dict[int, RaggedTokens] = {}

    def at(self, length: int) -> RaggedTokens:
        """As many expressions of fewer tokens than `length` and more than half of it, what a curriculum begins with; at the own length itself.

        Raises:
            ValueError: a length below 10 or above the own one.
        """
        if not self.least <= length <= self.length:
            raise ValueError(f"expected a length of {self.least} to {self.length} tokens, got {length}")
        if length == self.length:
            return self
        if length not in self._shorter:  # all are kept, as updates draw their lengths
            self._shorter[length] = self._draw(length)
        return self._shorter[length]


def build(
    minimum: int = 500,
    maximum: int = 2000,
    max_args: int = 10,
    max_depth: int = 10,
    train: int = 96_000,
    valid: int = 2_000,
    test: int = 2_000,
    seed: int = 0,
    workers: int = 1,
    source: str | os.PathLike | None = None,
    protocol: str = "lra",
) -> Task:
    """Build the ListOps task; the defaults are Long Range Arena's.

    Test and validation trees are the first that a seed draws, so they stay the same whatever the size of `train`.
    A generated task is kept in the cache, under a name that says all its options.

    Args:
        minimum, maximum: a tree is kept iff minimum < tokens < maximum.
        max_args: most arguments of an operator.
        max_depth: deepest level of a tree, the root being at 1.
        train, valid, test: trees in each split; no tree occurs twice in the three.
        seed: fixes everything.
        workers: threads that draw ahead; does not change the result.
        source: a folder with LRA's basic_train.tsv, basic_val.tsv and basic_test.tsv, the release's archive or its unpacked folder,
            read in place of generating. Of each file at most the first `train`, `valid` or `test` rows are taken, which must
            all be shorter than `maximum`; the other options then do nothing.
        protocol: "lra" (vocabulary 16) or "s4" (an end after each expression, vocabulary 18, at most 2,048 tokens).

    Raises:
        ValueError: an option out of range, too few different trees between the bounds, or a damaged file or archive.
        FileNotFoundError: `source` lacks a file.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"expected a protocol, one of {', '.join(PROTOCOLS)}; got {protocol!r}")
    sizes = {"train": train, "valid": valid, "test": test}
    for name, value in {**sizes, "workers": workers}.items():
        check_count(name, value)
    if source is not None:
        return _in_protocol(_from_files(Path(source), maximum, sizes), protocol)
    grammar = Grammar(minimum, maximum, max_args, max_depth)
    check_count("seed", seed, 0)
    variant = {"generator": VERSION, **vars(grammar), "sizes": list(sizes.values()), "seed": seed}
    path = cache_folder() / "listops" / (
        f"v{VERSION}_length{minimum}-{maximum}_args{max_args}_depth{max_depth}_sizes{train}-{valid}-{test}_seed{seed}.npz"
    )  # fmt: skip
    if path.exists():
        splits, found = _load(path, "floors")
    else:
        splits = generate(grammar, sizes, seed, workers)
        found = floors(splits["test"], splits["train"])
        _save(path, splits, "floors", found)
    again = partial(shorter, grammar, train, seed, workers)
    splits["train"] = Expressions(**vars(splits["train"]), length=maximum, draw=again)
    return _in_protocol(_task(splits, found, variant, maximum), protocol)


def _in_protocol(task: Task, protocol: str) -> Task:
    """The task as it is, or with an end after every expression."""
    if protocol == "lra":
        return task
    if task.length > ENDED_LENGTH:
        raise ValueError(f"expected maximum to be at most {ENDED_LENGTH}, which the protocol s4 reads, got {task.length}")
    splits = {name: _ended(getattr(task, name)) for name in FILES}
    variant = task.variant | {"protocol": protocol}
    return replace(task, vocabulary=ENDED_VOCABULARY, **splits, variant=variant)


def _ended(split: RaggedTokens) -> RaggedTokens:
    """The split with an end after every expression."""
    parts = np.insert(split.tokens, split.offsets[1:], END), split.offsets + np.arange(len(split) + 1), split.targets
    if isinstance(split, Expressions):
        return Expressions(*parts, split.length, lambda length: _ended(split.at(length)))
    return RaggedTokens(*parts)


def _task(splits: dict[str, RaggedTokens], found: dict[str, float], variant: dict[str, object], length: int) -> Task:
    return Task(
        name="listops", kind="classification", vocabulary=VOCABULARY, features=None, classes=10, length=length,
        **splits, variant=variant, floors=found,
    )  # fmt: skip


def generate(grammar: Grammar, sizes: dict[str, int], seed: int, workers: int = 1) -> dict[str, RaggedTokens]:
    """Draw different trees until every split is full: test first, then valid, then train.

    Raises:
        ValueError: the bounds leave too few different trees.
    """
    every, found, last = different(grammar, sum(sizes.values()), seed, workers), {}, 0
    for name in ("test", "valid", "train"):
        first, last = last, last + sizes[name]
        offsets = every.offsets[first : last + 1]
        found[name] = RaggedTokens(every.tokens[offsets[0] : offsets[-1]], offsets - offsets[0], every.targets[first:last])
    return {name: found[name] for name in sizes}


def shorter(grammar: Grammar, count: int, seed: int, workers: int, length: int) -> RaggedTokens:
    """Draw `count` different trees with fewer than `length` tokens and more than half of it, by a stream of their own; kept in the cache."""
    grammar = replace(grammar, minimum=length // 2, maximum=length)
    path = cache_folder() / "listops" / (
        f"v{VERSION}_length{grammar.minimum}-{length}_args{grammar.max_args}_depth{grammar.max_depth}_shorter{count}_seed{seed}.npz"
    )  # fmt: skip
    if not path.exists():
        # The stream of the task itself begins with the trees of its test split.
        save_arrays(path, vars(different(grammar, count, (seed, length), workers)), packed=True)
    return RaggedTokens(**load_arrays(path, PARTS))


def different(grammar: Grammar, count: int, seed: int | tuple[int, ...], workers: int = 1) -> RaggedTokens:
    """Draw until there are `count` different trees.

    Raises:
        ValueError: the bounds leave too few different trees.
    """
    trees: dict[bytes, int] = {}
    barren = 0
    for chunk in chunks(grammar, seed, workers):
        before = len(trees)
        ends = chunk.offsets.tolist()
        for start, end, value in zip(ends[:-1], ends[1:], chunk.values.tolist(), strict=True):
            trees.setdefault(chunk.tokens[start:end].tobytes(), value)
        barren = barren + 1 if len(trees) == before else 0
        if len(trees) >= count:
            break
        if barren == _BARREN:
            raise ValueError(f"expected {count} different trees for {grammar}, found {len(trees)}: widen it or ask for fewer")
    pieces, values = list(trees)[:count], np.fromiter(trees.values(), dtype=np.int64)[:count]
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])
    return RaggedTokens(np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets, values)


def floors(split: RaggedTokens, fit: RaggedTokens | None = None) -> dict[str, float]:
    """Return the accuracy of predictors that do not, or hardly, compose.

    Args:
        split: where they are scored.
        fit: where the majority class and the best class of each root operator are counted; `split` itself if None.

    Returns:
        "majority", "root_operator", and "depth_1", "depth_2", "depth_3": the tree evaluated that deep, 5 below.
    """
    fit = split if fit is None else fit
    counts = np.zeros((VOCABULARY, 10), dtype=np.int64)
    np.add.at(counts, (fit.tokens[fit.offsets[:-1]], fit.targets), 1)
    roots = split.tokens[split.offsets[:-1]]
    found = {
        "majority": np.mean(split.targets == counts.sum(0).argmax()),
        "root_operator": np.mean(split.targets == counts.argmax(1)[roots]),
    }
    for depth in (1, 2, 3):
        values = [evaluate(split.example(index), depth) for index in range(len(split))]
        found[f"depth_{depth}"] = np.mean(split.targets == values)
    return {name: float(score) for name, score in found.items()}


def operators(split: RaggedTokens) -> np.ndarray:
    """Return the number of operators in each tree, `(examples,)`."""
    opening = (split.tokens >= FIRST_OPERATOR) & (split.tokens < VOCABULARY - 1)
    return np.add.reduceat(opening.astype(np.int64), split.offsets[:-1])


def _save(path: Path, splits: dict[str, RaggedTokens], about: str, values: dict) -> None:
    arrays = {about: np.array(json.dumps(values))}
    for name, split in splits.items():
        arrays |= {f"{name}_tokens": split.tokens, f"{name}_offsets": split.offsets, f"{name}_targets": split.targets}
    save_arrays(path, arrays)


def _load(path: Path, about: str) -> tuple[dict[str, RaggedTokens], dict]:
    arrays = load_arrays(path, (about, *(f"{name}_{part}" for name in FILES for part in PARTS)))
    splits = {name: RaggedTokens(*(arrays[f"{name}_{part}"] for part in PARTS)) for name in FILES}
    return splits, json.loads(str(arrays[about]))


def _from_files(source: Path, maximum: int, sizes: dict[str, int]) -> Task:
    check_count("maximum", maximum, 2)
    if not source.exists():
        raise FileNotFoundError(f"expected a file or folder as source of ListOps, got {source}, which is not there")
    found = inside(source, f"listops-1000/{FILES['train']}")
    if found and found.name != FILES["train"]:
        read, sums = _from_archive(found)
    else:
        folder = found.parent if found else source
        missing = [name for name in FILES.values() if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(f"expected {', '.join(FILES.values())} in {folder}, {', '.join(missing)} missing")
        read = {name: read_tsv(folder / file) for name, file in FILES.items()}
        sums = {file: checksum(folder / file, "sha256") for file in FILES.values()}
    splits = {name: split.first(sizes[name]) for name, split in read.items()}
    longest = max(int(np.diff(split.offsets).max()) for split in splits.values())
    if longest >= maximum:
        raise ValueError(f"expected fewer than {maximum} tokens in every expression of {source}, got {longest}: raise 'maximum'")
    variant = {"source": sums, "maximum": maximum, "sizes": [len(split) for split in splits.values()]}
    return _task(splits, floors(splits["test"], splits["train"]), variant, maximum)


def _from_archive(archive: Path) -> tuple[dict[str, RaggedTokens], dict[str, str]]:
    """Read the release's archive, once: what is found in it is kept in the cache as long as its checksum stays."""
    path, sums = cache_folder() / "listops" / "release.npz", {archive.name: checksum(archive, "sha256")}
    if path.exists() and (kept := _load(path, "source"))[1] == sums:
        return kept
    splits: dict[str, RaggedTokens] = {}
    for name, file in members(archive, lambda name: _MEMBER.fullmatch(name) is not None):
        role = next(role for role, wanted in FILES.items() if name.endswith(wanted))
        with file:
            splits[role] = read_lines(file, f"{archive.name}, {name}")
        if len(splits) == len(FILES):
            break  # gigabytes of images may follow
    missing = [file for role, file in FILES.items() if role not in splits]
    if missing:
        raise FileNotFoundError(f"expected {', '.join(FILES.values())} in {archive}, {', '.join(missing)} missing")
    splits = {role: splits[role] for role in FILES}
    _save(path, splits, "source", sums)
    return splits, sums
