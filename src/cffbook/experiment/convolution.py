"""Whether Pathfinder's images hold what is asked: a plain two-dimensional network that sees them whole.

A sequence model at chance says nothing as long as nobody has shown that the labels can be learned. This network is no row
of a table: it is given the plane that the sequence models have to find. Blocks of two 3 x 3 convolutions on a grid of half
the side, x <- relu(x + f(x)), then mean and maximum over the plane. While it trains, every image is turned and mirrored at
random, which leaves its label as it is, and contours begin with three segments and grow as they are mastered: with long
ones from the first update on it was still at chance after two thousand. It is selected and tested on long ones alone.
Source: He et al. 2016; the check itself is issue 38 of google-research/long-range-arena.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cffbook.experiment.runner import run
from cffbook.results import Record, read_record
from cffbook.tasks import Task
from cffbook.training.checks import check_fields, check_positive
from cffbook.training.recipe import Recipe

FOLDER = "checks"
_MEAN, _DEVIATION = 20.0, 51.0  # of a pixel, about
_FOLD = 2  # pixels a side that become channels


def recipe(steps: int = 10_000) -> Recipe:
    """AdamW with a warm-up and a cosine to zero; contours grow from three segments."""
    return Recipe(steps=steps, batch=64, learning_rate=3e-3, weight_decay=0.02, warmup=min(200, steps // 2), eval_every=500,
                  eval_batch=250, precision="bfloat16", shortest=3, mastery=0.85, varied=False)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """All that decides a check.

    Args:
        difficulty: of the images.
        recipe: optimiser, schedule, budget.
        channels, blocks: width and depth of the network.
        train, valid, test: images.
        seed: of initial weights, data order and turning; the images are those of the task's seed 0.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value out of range.
    """

    difficulty: str = "hard"
    recipe: Recipe = field(default_factory=recipe)
    channels: int = 32
    blocks: int = 8
    train: int = 40_000
    valid: int = 2_000
    test: int = 5_000
    seed: int = 0
    task: str = "pathfinder"
    row: str = "convolution"
    tier: str = "check"

    def __post_init__(self) -> None:
        check_fields(self)
        check_positive(self, ("channels", "blocks", "train", "valid", "test"))

    @property
    def task_options(self) -> dict[str, Any]:
        """Options of the task."""
        return {"difficulty": self.difficulty, "train": self.train, "valid": self.valid, "test": self.test}

    def as_dict(self) -> dict[str, Any]:
        """All settings, nested, ready for JSON."""
        return asdict(self)

    @property
    def name(self) -> str:
        """Readable, and ending in a digest of all settings."""
        digest = hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.task}-{self.difficulty}-{self.row}-s{self.seed}-{digest}"

    def path(self, folder: str | Path = "results") -> Path:
        """Where the record belongs below a folder, apart from those of tables."""
        return Path(folder) / FOLDER / f"{self.name}.json"


class Block(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip
        nn.init.zeros_(self.layers[-1].weight)  # begins as the identity

    def forward(self, plane: Tensor) -> Tensor:
        """`(batch, channels, side, side)` to the same."""
        return torch.relu(plane + self.layers(plane))


class Convolution(nn.Module):
    """A residual network over the plane; called like every model, on tokens `(batch, pixels)`.

    Args:
        side: pixels a side, even.
        channels, blocks: width and depth.
        classes: outputs.
    """

    def __init__(self, side: int, channels: int, blocks: int, classes: int):
        super().__init__()
        self.side = side
        self.stem = nn.Sequential(nn.PixelUnshuffle(_FOLD), nn.Conv2d(_FOLD**2, channels, 3, padding=1, bias=False),
                                  nn.BatchNorm2d(channels), nn.ReLU())  # fmt: skip
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(blocks)))
        self.head = nn.Linear(2 * channels, classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return `(batch, classes)`; `lengths` is taken and not used, since all images are of one size."""
        images = inputs.unflatten(1, (self.side, self.side))
        images = turned(images) if self.training else images
        plane = ((images.float() - _MEAN) / _DEVIATION).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        plane = self.blocks(self.stem(plane))
        return self.head(torch.cat([plane.mean((2, 3)), plane.amax((2, 3))], dim=1))


def turned(images: Tensor) -> Tensor:
    """Turn and mirror every image `(batch, side, side)` at random, one of the square's eight symmetries each."""
    for change in (lambda plane: plane.flip(1), lambda plane: plane.flip(2), lambda plane: plane.transpose(1, 2)):
        chosen = torch.rand(len(images), 1, 1, device=images.device) < 0.5
        images = torch.where(chosen, change(images), images)
    return images


def build(check: Check, task: Task) -> Convolution:
    """The network of a check, its initial weights drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check.seed)
        return Convolution(math.isqrt(task.length), check.channels, check.blocks, task.classes)


def verify(check: Check, folder: str | Path = "results", runs: str | Path = "runs", *, cpu: bool = False) -> Record:
    """Run a check to its record, on a GPU where there is one and not `cpu`; one that is there is returned. Errors as of `experiment.run`."""
    return run(check, folder, runs, cpu=cpu, make=build)


def load_checks(folder: str | Path = "results") -> list[Record]:
    """Records of checks below a folder, sorted by name."""
    return [read_record(path) for path in sorted((Path(folder) / FOLDER).glob("*.json"))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one check."""
    parser = argparse.ArgumentParser("python -m cffbook.experiment.convolution", description="Can Pathfinder's labels be learned?")
    parser.add_argument("--difficulty", default="hard", choices=("easy", "intermediate", "hard"))
    parser.add_argument("--steps", type=int, default=recipe().steps)
    parser.add_argument("--results", default="results", help="folder of the records")
    parser.add_argument("--runs", default="runs", help="folder of checkpoints and logs")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU")
    given = parser.parse_args(arguments)
    verify(Check(given.difficulty, recipe(given.steps)), given.results, given.runs, cpu=given.cpu)


if __name__ == "__main__":
    main()
