"""Comparisons from the command line: ``python -m cffbook.speed --group recurrent``; each record is written as it ends."""

import argparse
import json
import sys
from collections.abc import Sequence

from cffbook.speed.cases import cases, groups
from cffbook.speed.measure import memory_of_a_pass, run


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases of a group, or one case, and write their records."""
    parser = argparse.ArgumentParser("python -m cffbook.speed", description="Measure layers side by side.")
    parser.add_argument("--group", choices=groups(), action="append", help="cases of this group; may be repeated; all without it")
    parser.add_argument("--case", choices=[case.name for case in cases()], help="one case by its name")
    parser.add_argument("--results", default="results/speed", help="folder of the records")
    parser.add_argument("--memory", metavar="LAYER", help="only print the bytes that a pass of this layer of the case takes")
    given = parser.parse_args(arguments)
    chosen = [case for case in cases() if given.case in (None, case.name) and (not given.group or case.group in given.group)]
    if given.memory:
        if given.case is None:
            parser.error("--memory needs --case")
        sys.stdout.write(json.dumps(memory_of_a_pass(chosen[0], given.memory)) + "\n")
        return
    for case in chosen:
        found = run(case)
        found.write(given.results)
        words = [f"{layer}: {1e3 * found.median(layer):.1f} ms, {found.ratio(layer):.2f} times" for layer in case.layers]
        sys.stdout.write(f"{case.name}\n    " + "\n    ".join(words) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
