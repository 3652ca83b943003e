"""Comparisons from the command line: ``python -m cffbook.speed --group recurrent``; each record is written as it ends."""

import argparse
import json
import sys
import traceback
from collections.abc import Sequence

import torch

from cffbook.speed.bars import bars, table
from cffbook.speed.cases import FUSED, SMOKE, Case, cases, groups
from cffbook.speed.machine import require_device
from cffbook.speed.measure import Comparison, load_comparisons, memory_of_a_pass, run


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases of a group, or one case, and write their records; or show what the records say of what was asked."""
    parser = argparse.ArgumentParser("python -m cffbook.speed", description="Measure layers side by side.")
    parser.add_argument("--group", choices=groups(), action="append",
                        help=f"cases of this group; may be repeated; without it all but {SMOKE} whose device is there")  # fmt: skip
    parser.add_argument("--device", choices=FUSED, help="cases of this device alone")
    parser.add_argument("--case", choices=[case.name for case in cases()], help="one case by its name")
    parser.add_argument("--results", default="results/speed", help="folder of the records")
    parser.add_argument("--memory", metavar="LAYER", help="only print the bytes that a pass of this layer of the case takes")
    parser.add_argument("--bars", action="store_true", help="only print what was asked beside what the records say")
    given = parser.parse_args(arguments)
    if given.bars:
        sys.stdout.write(table(load_comparisons(given.results)).to_markdown() + "\n")
        return
    chosen = choose(given.case, given.group, given.device)
    try:
        for device in {case.device for case in chosen}:
            require_device(device)
    except RuntimeError as error:
        parser.error(str(error))
    if given.memory:
        if given.case is None:
            parser.error("--memory needs --case")
        sys.stdout.write(json.dumps(memory_of_a_pass(chosen[0], given.memory)) + "\n")
        return
    failed = [case.name for case in chosen if not measured(case, given.results)]
    if failed:
        raise SystemExit(f"expected a record of each case, got none of {', '.join(failed)}: see what is said of each above")


def choose(name: str | None, wanted: Sequence[str] | None, device: str | None) -> list[Case]:
    """The case of this name, else those of the wanted groups, else all whose device is there; of one device alone where it is given."""
    if name:
        return [case for case in cases() if case.name == name]
    there = [case for case in cases() if case.group in wanted] if wanted else [case for case in cases() if case.group != SMOKE]
    if device:
        return [case for case in there if case.device == device]
    return there if wanted else [case for case in there if case.device == "cpu" or torch.cuda.is_available()]


def measured(case: Case, results: str) -> bool:
    """Measure a case, write its record and say what it holds; whether it went well, since the other cases do not depend on it."""
    try:
        found = run(case)
    except Exception:  # whatever a compiler, a driver or the agreement with the definition has to object
        sys.stdout.write(f"{case.name}: not measured\n{traceback.format_exc()}")
        sys.stdout.flush()
        return False
    found.write(results)
    sys.stdout.write("\n    ".join((case.name, *said(found))) + "\n")
    sys.stdout.flush()
    return True


def said(found: Comparison) -> list[str]:
    """A comparison in lines: its layers, those that a GPU had no room for, then what was asked of it."""
    lines = [f"{layer}: {1e3 * found.median(layer):.1f} ms, {found.ratio(layer):.2f} times" for layer in found.case["layers"]]
    lines += [f"{layer}: no room" for layer in found.memory if layer not in found.case["layers"]]
    for bar in bars():
        measured = bar.measured([found])
        if measured is not None:
            lines.append(f"{bar.name}: {bar.said(measured)}, asked {bar.asked:g}: {bar.verdict(measured)}")
    return lines


if __name__ == "__main__":
    main()
