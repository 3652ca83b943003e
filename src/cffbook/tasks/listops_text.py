"""ListOps as text: vocabulary, tokeniser, evaluator, and Long Range Arena's TSV.

An operator with arguments a1 ... an is written `( ( ... ( [OP a1 ) a2 ) ... an ) ] )` in LRA's files, n + 1 pairs of
parentheses. The tokeniser drops the parentheses and reads `]` as X (google-research/long-range-arena, the correction of
2021: without the closing bracket the task has no answer). Source: Nangia & Bowman 2018; Tay et al. 2021.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cffbook.tasks.archives import lines
from cffbook.tasks.cache import replacing
from cffbook.tasks.task import RaggedTokens

OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
WORDS = (*"0123456789", *OPERATORS, "X")
VOCABULARY = len(WORDS) + 1  # 16: padding and 15 words; LRA counts 17, one id for unknown words, of which there are none
FIRST_OPERATOR = 11
CLOSE = 15
HEADER = "Source\tTarget"
_IDS = {word: index for index, word in enumerate(WORDS, start=1)}


def tokenise(source: str) -> np.ndarray:
    """Return the token ids of an expression, `(time,)` uint8, 1 to 15: digits, MIN, MAX, MED, SM, closing bracket.

    Raises:
        ValueError: an unknown word, or brackets that do not close.
    """
    words = source.replace("]", "X").replace("(", " ").replace(")", " ").split()
    unknown = next((word for word in words if word not in _IDS), None)
    if unknown is not None:
        raise ValueError(f"expected words among {' '.join(WORDS)} (']' is read as X), got {unknown!r}")
    ids = np.array([_IDS[word] for word in words], dtype=np.uint8)
    level = np.cumsum((ids >= FIRST_OPERATOR).astype(int) - 2 * (ids == CLOSE).astype(int))
    if not len(ids) or level[-1] != 0 or (level[:-1] <= 0).any():
        raise ValueError(f"expected one expression with every bracket closed, got {source[:40]!r}...")
    return ids


def serialise(tokens: Sequence[int] | np.ndarray) -> str:
    """Write token ids as LRA does, with its left-branching parentheses; the inverse of `tokenise`."""
    words: list[str] = []
    opened: list[list[int]] = []  # position of the operator's word, arguments so far
    for token in np.asarray(tokens).tolist():
        if token == CLOSE:
            position, arguments = opened.pop()
            words[position] = "( " * (arguments + 1) + words[position]
            words.append("] )")
        else:
            words.append(WORDS[token - 1])
            if token >= FIRST_OPERATOR:
                opened.append([len(words) - 1, 0])
                continue
        if opened:
            opened[-1][1] += 1
            words.append(")")
    return " ".join(words)


def _apply(operator: int, arguments: list[int]) -> int:
    name = WORDS[operator - 1]
    if name == "[MIN":
        return min(arguments)
    if name == "[MAX":
        return max(arguments)
    if name == "[SM":
        return sum(arguments) % 10
    ordered = sorted(arguments)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2


def evaluate(tokens: Sequence[int] | np.ndarray, depth: int | None = None) -> int:
    """Evaluate an expression from its tokens, one stack and no tree.

    Args:
        tokens: ids as `tokenise` returns them.
        depth: operators deeper than this (the root is at 1) count as the digit 5; None evaluates all.

    Returns:
        A digit. MED of an even number of arguments is the mean of the middle two, cut to an integer.
    """
    stack: list[tuple[int, list[int]]] = [(0, [])]
    hidden = 0
    for token in np.asarray(tokens).tolist():
        if token == CLOSE:
            if hidden:
                hidden -= 1
                value = 5
            else:
                value = _apply(*stack.pop())
        elif token >= FIRST_OPERATOR:
            if hidden or (depth is not None and len(stack) > depth):
                hidden += 1
            else:
                stack.append((token, []))
            continue
        else:
            value = token - 1
        if not hidden:
            stack[-1][1].append(value)
    return stack[0][1][0]


def write_tsv(path: str | os.PathLike, split: RaggedTokens) -> None:
    """Write a split as LRA's `basic_*.tsv`: a header, then expression and value."""
    with replacing(Path(path)) as temporary, open(temporary, "w", encoding="ascii", newline="\n") as file:
        file.write(HEADER + "\n")
        for index, target in enumerate(split.targets.tolist()):
            file.write(f"{serialise(split.example(index))}\t{target}\n")


def read_tsv(path: str | os.PathLike) -> RaggedTokens:
    """Read a split from LRA's `basic_*.tsv`; errors as of `read_lines`."""
    with open(path, "rb") as file:
        return read_lines(file, str(path))


def read_lines(file: BinaryIO, name: str) -> RaggedTokens:
    """Read a split from an open file.

    Args:
        file: opened for bytes.
        name: what errors call it.

    Raises:
        ValueError: a wrong header, column count, word or value, an unclosed bracket (a file cut short) or no rows;
            the message names file and line.
    """
    pieces, targets = [], []
    for place, source, target in _rows(file, name):
        try:
            ids = tokenise(source)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        pieces.append(ids)
        targets.append(int(target))
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])
    return RaggedTokens(np.concatenate(pieces), offsets, np.array(targets))


def _rows(file: BinaryIO, name: str) -> Iterator[tuple[str, str, str]]:
    number = 0
    for number, (place, content) in enumerate(lines(file, name), start=1):
        line = content.decode("utf-8", errors="replace")
        if number == 1:
            if line != HEADER:
                raise ValueError(f"{place}: expected the header 'Source<tab>Target', got {line[:40]!r}")
            continue
        columns = line.split("\t")
        if len(columns) != 2:
            raise ValueError(f"{place}: expected 2 columns, got {len(columns)}: the file is cut short or another format")
        if columns[1] not in WORDS[:10]:
            raise ValueError(f"{place}: expected a digit as target, got {columns[1][:40]!r}")
        yield place, columns[0], columns[1]
    if number < 2:
        raise ValueError(f"{name}, line {number + 1}: expected a header and rows, the file ends here")
