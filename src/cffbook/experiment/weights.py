"""Trained weights: a small safetensors file named like the run's record, from which its model is made again."""

from pathlib import Path

from torch import nn

from cffbook._optional import require
from cffbook.experiment.settings import Settings
from cffbook.training import checkpoint

safetensors = require("safetensors.torch", extra="train", purpose="reading and writing weights")

FOLDER = "results/weights"


def place(settings: Settings, folder: str | Path = FOLDER) -> Path:
    """Where the weights of these settings belong."""
    return Path(folder) / f"{settings.name}.safetensors"


def keep(model: nn.Module, settings: Settings, folder: str | Path = FOLDER) -> None:
    """Write a model's weights, as a whole or not at all."""
    checkpoint.write_atomically(place(settings, folder), safetensors.save(checkpoint.weights(model)))


def put_back(model: nn.Module, settings: Settings, folder: str | Path = FOLDER) -> None:
    """Give a model the weights that were kept of these settings.

    Raises:
        FileNotFoundError: none were kept.
    """
    path = place(settings, folder)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: run these settings with weights={str(folder)!r} first, or give another folder")
    model.load_state_dict(safetensors.load_file(path))
