"""Comparisons from the command line: ``python -m cffbook.speed --group recurrent``; each record is written as it ends."""

import argparse
import json
import sys
from collections.abc import Sequence

from cffbook.speed.bars import bars, table
from cffbook.speed.cases import SMOKE, cases, groups
from cffbook.speed.measure import Comparison, load_comparisons, memory_of_a_pass, run


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases of a group, or one case, and write their records; or show what the records say of what was asked."""
    parser = argparse.ArgumentParser("python -m cffbook.speed", description="Measure layers side by side.")
    parser.add_argument("--group", choices=groups(), action="append", help=f"cases of this group; may be repeated; all but {SMOKE} without it")
    parser.add_argument("--case", choices=[case.name for case in cases()], help="one case by its name")
    parser.add_argument("--results", default="results/speed", help="folder of the records")
    parser.add_argument("--memory", metavar="LAYER", help="only print the bytes that a pass of this layer of the case takes")
    parser.add_argument("--bars", action="store_true", help="only print what was asked beside what the records say")
    given = parser.parse_args(arguments)
    if given.bars:
        sys.stdout.write(table(load_comparisons(given.results)).to_markdown() + "\n")
        return
    wanted = given.group or [group for group in groups() if group != SMOKE]
    chosen = [case for case in cases() if (case.name == given.case if given.case else case.group in wanted)]
    if given.memory:
        if given.case is None:
            parser.error("--memory needs --case")
        sys.stdout.write(json.dumps(memory_of_a_pass(chosen[0], given.memory)) + "\n")
        return
    for case in chosen:
        found = run(case)
        found.write(given.results)
        sys.stdout.write("\n    ".join((case.name, *said(found))) + "\n")
        sys.stdout.flush()


def said(found: Comparison) -> list[str]:
    """A comparison in lines: its layers, then what was asked of it."""
    lines = [f"{layer}: {1e3 * found.median(layer):.1f} ms, {found.ratio(layer):.2f} times" for layer in found.case["layers"]]
    for bar in bars():
        measured = bar.measured([found])
        if measured is not None:
            lines.append(f"{bar.name}: {bar.said(measured)}, asked {bar.asked:g}: {bar.verdict(measured)}")
    return lines


if __name__ == "__main__":
    main()
