"""Records in and out: one small JSON file per run, the only place where numbers live; and tables made from them."""

import dataclasses
import html
import json
import statistics
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cffbook.mixers import MixerOptions
from cffbook.training.checkpoint import write_atomically
from cffbook.training.checks import accepts, check_fields, spell
from cffbook.training.history import Evaluation
from cffbook.training.recipe import Recipe
from cffbook.transformer import Body

SCHEMA = 1
APART = ("speed", "checks", "search", "self_synapse")  # folders of records that belong into no table
CLOCKED = ("seconds", "processor_seconds", "samples_per_second", "peak_memory", "started", "machine", "versions", "git")


@dataclass(frozen=True)
class Record:
    """All that is kept of one run.

    Args:
        schema: version of this layout.
        name: deterministic name of the settings.
        settings: the settings in full.
        seed: seed of initial weights, data order and dropout.
        tier: tier of the settings.
        task: name, kind, variant (all that fixes the data), sizes of the splits, data_hash, floors, score_name,
            higher_is_better.
        parameters: number of parameters: total, without_embeddings, mixer.
        evaluations: train and validation values at every evaluation, in the order of steps.
        best: index of the evaluation with the best validation score.
        valid_score: validation score there.
        test_score: test score with the weights of that evaluation.
        test_loss: test loss with the same weights.
        steps, samples: updates made, those left out among them, and training samples seen.
        stopped: what ended the run: ``steps``, ``minutes``, ``patience`` or ``watch``.
        seconds: wall time of training and validation.
        processor_seconds: time on the processor of the same, all threads together; None in older records.
        samples_per_second: training samples per second of that time.
        peak_memory: bytes: allocated on the GPU, else resident in the process.
        device: type of the device.
        processes: processes that trained together.
        machine: processor, cores, threads, memory, GPU.
        versions: of Python and of the packages that matter to the numbers.
        git: commit and dirty flag of the source, or None outside a checkout.
        sources: digests of the source code that trained it.
        started: start time, UTC, ISO 8601.
        tests: loss, score and counts (see `Score`) of every test split by name, "test" first.
        overflows: updates that were left out because a gradient was not finite; such a one stopped runs with older records.

    Raises:
        TypeError: a field of the wrong type.
        ValueError: another schema, or an index of an evaluation that does not exist.
    """

    name: str
    settings: Mapping[str, Any]
    seed: int
    tier: str
    task: Mapping[str, Any]
    parameters: Mapping[str, int]
    evaluations: tuple[Evaluation, ...]
    best: int
    valid_score: float
    test_score: float
    test_loss: float
    steps: int
    samples: int
    stopped: str
    seconds: float
    samples_per_second: float
    peak_memory: int | None
    device: str
    processes: int
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    git: Mapping[str, Any] | None
    sources: tuple[str, ...]
    started: str
    tests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    processor_seconds: float | None = None
    overflows: int = 0
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        check_fields(self)
        if self.schema != SCHEMA:
            raise ValueError(f"expected a record of schema {SCHEMA}, got {self.schema}; read it with the version that wrote it")
        if not 0 <= self.best < len(self.evaluations):
            raise ValueError(f"best must be the index of one of {len(self.evaluations)} evaluations, got {self.best}")

    def to_json(self) -> str:
        """The record as JSON text, the same for the same record."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """Read a record from JSON text; its settings are `completed`.

        Raises:
            ValueError: no JSON, or a missing or unknown field.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"expected a record as a JSON object, got a {type(values).__name__}")
        evaluations = tuple(build(Evaluation, value) for value in values.get("evaluations", ()))
        values = {"tests": {}, "processor_seconds": None, "overflows": 0,  # which older records lack
                  **values, "evaluations": evaluations, "sources": tuple(values.get("sources", ()))}
        if isinstance(values.get("settings"), dict):
            values["settings"] = completed(values["settings"])
        return build(cls, values)

    def outcome(self) -> dict[str, Any]:
        """What a repetition of the run on the same machine has to give again: all but clocks, memory and versions."""
        values = {key: value for key, value in asdict(self).items() if key not in CLOCKED}
        for evaluation in values["evaluations"]:
            del evaluation["seconds"]
        return values

    def write(self, path: str | Path) -> None:
        """Write the record to a file, as a whole or not at all."""
        write_atomically(Path(path), self.to_json().encode())


def build(kind: type, values: Mapping[str, Any]):
    """A dataclass from a mapping that must have exactly its fields.

    Raises:
        ValueError: a missing or an unknown field.
        TypeError: a field of the wrong type.
    """
    known = {field.name for field in dataclasses.fields(kind)}
    wrong = [f"unknown {sorted(values.keys() - known)}"] if values.keys() - known else []
    wrong += [f"missing {sorted(known - values.keys())}"] if known - values.keys() else []
    if wrong:
        raise ValueError(f"expected exactly the fields of {kind.__name__}, got {' and '.join(wrong)}; known: {', '.join(sorted(known))}")
    for name, expected in typing.get_type_hints(kind).items():
        if not accepts(expected, values[name]):
            raise TypeError(f"{name} must be {spell(expected)}, got {values[name]!r}")
    return kind(**values)


def completed(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings with the fields of body, mixer options and recipe that came after their record, at the defaults that leave it what it was.

    Only absent ones are added: a value that was told stays, and so does one that is not known any more.
    """
    done = dict(settings)
    for part, kind in (("body", Body), ("mixer_options", MixerOptions), ("recipe", Recipe)):
        if isinstance(settings.get(part), Mapping):
            later = (item for item in dataclasses.fields(kind) if item.name != "wiring" and item.default is not dataclasses.MISSING)
            done[part] = {**{item.name: item.default for item in later}, **settings[part]}
    return done


def read_record(path: str | Path) -> Record:
    """Read one record.

    Raises:
        ValueError: the file is no record; the file is named.
    """
    try:
        return Record.from_json(Path(path).read_text())
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no record that can be read: {error}") from error


def load_records(folder: str | Path = "results") -> list[Record]:
    """All records below a folder, sorted by path, but those in folders `APART`; an empty list if there are none.

    Raises:
        ValueError: a JSON file that is no record; the file is named.
    """
    return [read_record(path) for path in sorted(Path(folder).rglob("*.json")) if not {*path.relative_to(folder).parts} & {*APART}]


@dataclass(frozen=True)
class Table:
    """Cells of text under named columns, the first of which names the row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.header, ("---",) + ("---:",) * (len(self.header) - 1), *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def to_html(self) -> str:
        """The table in HTML, for notebooks."""
        def line(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(line(row, "td") for row in self.rows)
        return f'<table class="dataframe results"><thead>{line(self.header, "th")}</thead><tbody>{body}</tbody></table>'

    _repr_html_ = to_html
    _repr_markdown_ = to_markdown


DASH = "\u2014"
SHARES = ("faultless", "last_right")
PROTOCOL = ("steps", "batch", "minutes", "patience", "eval_every")


def table(records: Sequence[Record], rows: str = "row", columns: str = "task", value: str = "test_score",
          row_values: Sequence | None = None, column_values: Sequence | None = None, digits: int | None = None) -> Table:
    """Mean, deviation and number of seeds of a value, by two settings; an em dash where there is no record.

    Args:
        records: one tier only; within a column one variant of the data and one protocol.
        rows: the setting that names the rows.
        columns: the setting that names the columns.
        value: a number of `Record`, ``total``, ``without_embeddings``, ``mixer`` for a count of parameters, or one of a test
            split, see `number`.
        row_values: rows to show, in order, with or without records; None shows those of the records.
        column_values: columns to show, likewise.
        digits: digits after the point; None chooses by the size of the number. Accuracies are in percent.

    Raises:
        ValueError: records that must not be mixed; the error says what differs.
    """
    require_equal(records, "one table", [] if "tier" in (rows, columns) else ["tier"])
    cells: dict[tuple, list[Record]] = {}
    for record in records:
        cells.setdefault((setting(record, rows), setting(record, columns)), []).append(record)
    row_values = list(dict.fromkeys(key[0] for key in cells)) if row_values is None else row_values
    column_values = list(dict.fromkeys(key[1] for key in cells)) if column_values is None else column_values
    for column in column_values:
        shown = [record for key, group in cells.items() if key[1] == column and key[0] in row_values for record in group]
        require_equal(shown, f"the column {column!r}", [name for name in ("variant", *PROTOCOL) if name != rows])
    for key, group in cells.items():
        require_equal(group, f"the cell {key}", sorted({name for record in group for name in flatten(record.settings)} - {"seed"}))
        if len({record.seed for record in group}) < len(group):
            raise ValueError(f"the cell {key} holds a seed twice; give each run once")
    body = tuple((str(row), *(summary(cells.get((row, column), []), value, digits) for column in column_values))
                 for row in row_values)
    return Table((rows, *map(str, column_values)), body)


def setting(record: Record, name: str):
    """A setting of a record, or the variant of its data.

    Raises:
        ValueError: an unknown setting; the known ones are listed.
    """
    if name == "variant":
        return json.dumps([record.task["variant"], record.task["data_hash"]], sort_keys=True)
    known = flatten(record.settings)
    if name not in known:
        raise ValueError(f"unknown setting {name!r}; known: {', '.join(sorted(known))}")
    return known[name]


def flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their own names, those of nested parts included; the outer one wins where two share a name."""
    inner: dict[str, Any] = {}
    for part, values in settings.items():
        if isinstance(values, Mapping):
            inner |= {name if name not in settings else f"{part}.{name}": value for name, value in values.items()}
    return inner | {name: value for name, value in settings.items() if not isinstance(value, Mapping)}


def require_equal(records: Sequence[Record], place: str, names: Sequence[str]) -> None:
    """Require some settings to be the same in all records.

    Raises:
        ValueError: they differ; the error says where and how.
    """
    for name in names:
        found = {}
        for record in records:
            found.setdefault(setting(record, name), record.name)
        if len(found) > 1:
            (one, first), (two, second) = list(found.items())[:2]
            raise ValueError(f"{place} would mix records that differ in {name}: {one} ({first}) and {two} ({second}); "
                             "choose records that agree in it")


def number(record: Record, value: str) -> float:
    """A number of a record, a count of its parameters, or one of a test split: "length 1000 score".

    Of a test split ``faultless`` and ``last_right`` are shares of its sequences.

    Raises:
        ValueError: an unknown test split or number; the known ones are listed.
    """
    if value in record.parameters:
        return record.parameters[value]
    test, _, name = value.rpartition(" ")
    if not test:
        return getattr(record, value)
    if test not in record.tests or name not in record.tests[test]:
        known = [f"{test} {name}" for test, found in record.tests.items() for name in found]
        raise ValueError(f"unknown value {value!r} of {record.name}; known: {', '.join(known) or 'none'}")
    found = record.tests[test]
    return found[name] / found["sequences"] if name in SHARES else found[name]


def summary(records: Sequence[Record], value: str, digits: int | None) -> str:
    """Mean \u00b1 deviation (number of seeds) of the records of a cell, or an em dash."""
    if not records:
        return DASH
    numbers = [number(record, value) for record in records]
    if value in records[0].parameters:
        return f"{numbers[0]:,}"
    percent = records[0].task["score_name"] == "accuracy" and value.endswith(("_score", " score", *SHARES))
    numbers = [100 * number for number in numbers] if percent else numbers
    mean = statistics.fmean(numbers)
    digits = digits if digits is not None else 1 if percent or abs(mean) >= 100 else 4
    deviation = f" \u00b1 {statistics.stdev(numbers):.{digits}f}" if len(numbers) > 1 else ""
    return f"{mean:,.{digits}f}{deviation} ({len(numbers)})"
