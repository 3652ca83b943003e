"""One run from the command line: ``python -m cffbook.experiment --task listops --mixer memory --tier cpu --seed 0``.

On several GPUs or machines: ``accelerate launch --multi_gpu --num_processes 4 -m cffbook.experiment ...``.
"""

import argparse
import sys
from collections.abc import Sequence

import torch
from accelerate import PartialState

from cffbook import tasks
from cffbook.experiment.budgets import TIERS
from cffbook.experiment.rows import rows, settings
from cffbook.experiment.runner import run
from cffbook.experiment.settings import parse


def assignment(text: str) -> tuple[str, object]:
    """``name=value`` as a name and a value."""
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"expected name=value, got {text!r}")
    return name, parse(value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one experiment and say where its record is."""
    parser = argparse.ArgumentParser("python -m cffbook.experiment", description="Run one experiment to its record.")
    parser.add_argument("--task", required=True, choices=tasks.names())
    parser.add_argument("--mixer", required=True, choices=rows(), help="the table row")
    parser.add_argument("--tier", default="cpu", choices=TIERS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="changes", action="append", type=assignment, default=[], metavar="NAME=VALUE",
                        help="override a setting, for example --set flip_flops=16; may be repeated")
    parser.add_argument("--results", default="results", help="folder of the records")
    parser.add_argument("--runs", default="runs", help="folder of checkpoints and logs")
    parser.add_argument("--weights", help="folder to keep the trained weights in; none are kept if not told")
    parser.add_argument("--threads", type=int, help="threads of the processor for each process")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU")
    parser.add_argument("--fresh", action="store_true", help="throw away what an unfinished run has left")
    parser.add_argument("--changed-source", action="store_true", help="go on with a run begun by other source code")
    given = parser.parse_args(arguments)
    try:
        chosen = settings(given.mixer, given.task, given.tier, given.seed, dict(given.changes))
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    if given.threads:
        torch.set_num_threads(given.threads)
    record = run(chosen, given.results, given.runs, cpu=given.cpu, fresh=given.fresh, changed_source=given.changed_source,
                 weights=given.weights)
    if PartialState().is_main_process:
        score = f"{record.task['score_name']} {record.test_score:.4f} on the test split"
        sys.stdout.write(f"{chosen.path(given.results)}: {score}\n")


if __name__ == "__main__":
    main()
