"""Where tensors lie: those of a wiring on the processor, whatever PyTorch's default device is."""

import functools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Build = TypeVar("Build", bound=Callable)


def on_processor(build: Build) -> Build:
    """The function with all that it makes on the processor, under `torch.device("meta")` and other default devices too."""

    @functools.wraps(build)
    def built(*arguments, **named):
        with torch.device("cpu"):
            return build(*arguments, **named)

    return built


def beside(parameter: Tensor, fixed: Tensor) -> Tensor:
    """`fixed` on the device of a parameter; where that is "meta", which keeps no numbers, as it is."""
    return fixed if parameter.is_meta else fixed.to(parameter.device)
