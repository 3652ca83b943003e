"""Which records may stand beside each other, and what their difference is worth: names of data, groups, errors, the Pareto front."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, variance
from typing import Any, NamedTuple

from cffbook.results import PROTOCOL, Record, setting

TASKS = ("listops", "text", "retrieval", "AAN-rebuilt", "image", "pathfinder", "pathx")
FAMILIES = {  # of table rows beside the memory's
    "attention": ("attention", "local", "sparse", "longformer", "bigbird", "linformer", "linear", "performer", "synthesizer_random",
                  "synthesizer_factorised", "nystrom", "reformer", "sinkhorn"),
    "recurrent": ("lstm", "gru", "rnn", "norm_preserving", "min_gru", "state_space", "ltc", "ncp"),
}  # fmt: skip


def data_name(task: Mapping[str, Any]) -> str:
    """Short name of a record's data: the task and what its variant says of lengths, difficulty and protocol.

    No two variants of text, retrieval, Pathfinder or Path-X that a table must keep apart by more than sizes share a name.
    """
    name, variant = task["name"], task["variant"]
    other = "" if variant.get("protocol", "lra") == "lra" else f" ({variant['protocol']})"
    if name == "listops":
        lengths = (f"{variant['minimum']} to {variant['maximum']}" if "minimum" in variant else f"up to {variant['maximum']}")
        return f"ListOps, {lengths} tokens{other}"
    if name == "image":
        return f"Image, {variant['side'] ** 2:,} pixels{other}"
    if name == "text":
        return f"Text, up to {variant['length']:,} {_letters(variant)}{other}"
    if name == "retrieval" or "data" in variant:
        return f"{variant['data']}, up to {variant['length']:,} {_letters(variant)} each{other}"
    if name in ("pathfinder", "pathx"):
        title = "Path-X" if name == "pathx" else f"Pathfinder-{variant['resolution']} {variant['difficulty']}"
        origin = "" if "generator" in variant else ", LRA's own images"
        return f"{title}, {variant['resolution'] ** 2:,} pixels{origin}{other}"
    return name


def _letters(variant: Mapping[str, Any]) -> str:
    return "bytes" if variant["protocol"] == "lra" else "characters"


def _length(task: Mapping[str, Any]) -> int:
    """Longest sequence, as far as the variant tells."""
    variant = task["variant"]
    side = variant.get("side", variant.get("resolution", 0))
    return variant.get("maximum", variant.get("length", side**2))


def comparable(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records that may stand in one table: same tier, same data, same budget; keys are names of data, and more where needed.

    Args:
        records: any records.

    Returns:
        By name, in the arena's order of tasks and short before long; the records in the order given.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        key = (data_name(record.task), setting(record, "tier"), setting(record, "variant"), *(setting(record, name) for name in PROTOCOL))
        groups.setdefault(key, []).append(record)
    known = [key[:2] for key in groups]
    data = [name for name, _ in known]
    named = {}
    for number, (key, group) in enumerate(groups.items()):
        tier = f"{key[0]}, tier {key[1]}"
        name = key[0] if data.count(key[0]) == 1 else tier if known.count(key[:2]) == 1 else f"{tier}, {key[3]:,} updates of {key[4]}"
        named[name if name not in named else f"{name} ({number})"] = group
    tasks = {name: group[0].task for name, group in named.items()}
    shortest_first = sorted(named, key=lambda name: (TASKS.index(tasks[name]["name"]) if tasks[name]["name"] in TASKS else len(TASKS),
                                                     tasks[name]["name"], _length(tasks[name]), name))  # fmt: skip
    return {name: named[name] for name in shortest_first}


def standard_error(record: Record) -> float:
    """Standard error of a test accuracy, sqrt(p (1 - p) / n): what another draw of n test examples alone would change."""
    return math.sqrt(record.test_score * (1 - record.test_score) / record.task["sizes"]["test"])


class Comparison(NamedTuple):
    """Rows compared: ratio of parameters, difference of accuracies in points and twice its standard error."""

    ratio: float
    points: float
    error: float

    @property
    def verdict(self) -> str:
        """In words: ``more accurate``, ``less accurate``, or ``not told apart`` within two standard errors."""
        if abs(self.points) <= self.error:
            return "not told apart"
        return "more accurate" if self.points > 0 else "less accurate"


def compare(ours: Sequence[Record], theirs: Sequence[Record]) -> Comparison:
    """Compare the records of two rows on the same data.

    The squared error of each side is that of its test split, which more seeds do not make smaller, plus that of its seeds where
    there are several. The two sides see the same examples and are taken as independent, which overstates the error.

    Raises:
        ValueError: no record on one side, or other data or budget.
    """
    if not ours or not theirs or len(comparable([*ours, *theirs])) > 1:
        raise ValueError("expected records of two rows on the same data and budget, got none on one side or differing ones: choose a group of `comparable`")
    means = [fmean(record.test_score for record in side) for side in (ours, theirs)]
    error = sum(fmean(standard_error(record) ** 2 for record in side) for side in (ours, theirs))
    error += sum(variance(record.test_score for record in side) / len(side) for side in (ours, theirs) if len(side) > 1)
    ratio = ours[0].parameters["total"] / theirs[0].parameters["total"]
    return Comparison(ratio, 100 * (means[0] - means[1]), 200 * math.sqrt(error))


def by_row(group: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of a group by the name of their table row."""
    rows: dict[str, list[Record]] = {}
    for record in group:
        rows.setdefault(record.settings["row"], []).append(record)
    return rows


def best_of(family: str, group: Sequence[Record]) -> list[Record]:
    """The records of a family's row with the best mean test accuracy in a group; an empty list where the family has none.

    The best of several is so by luck in part: a row that is compared with it is judged a little too hard.
    """
    rows = [found for row, found in by_row(group).items() if row in FAMILIES[family]]
    return max(rows, key=lambda found: fmean(record.test_score for record in found), default=[])


def front(group: Sequence[Record]) -> dict[str, tuple[int, float]]:
    """The Pareto front: parameters and mean test accuracy of the rows to which no other row is smaller and as accurate, small ones first."""
    points = {row: (found[0].parameters["total"], fmean(record.test_score for record in found)) for row, found in by_row(group).items()}
    chosen: dict[str, tuple[int, float]] = {}
    for row, (size, score) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if score > max((best for _, best in chosen.values()), default=0.0):
            chosen[row] = (size, score)
    return chosen
