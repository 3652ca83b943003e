"""An accelerator for models that others have built: the recurrences of `ncps.torch.LTC` on the fused backend."""

import importlib

from torch import nn

from cffbook._optional import require


def accelerate(module: nn.Module) -> nn.Module:
    """Let every `ncps.torch.LTC` inside a module run on the fused backend, in place.

    Parameters stay the same objects, so optimisers, state dicts and checkpoints go on unchanged; outputs and gradients
    agree with ncps's to 1e-5 in float32 (it adds 1e-8 to each denominator, the fused backend does not). `timespans`
    may be `(batch, time)` or, as ncps takes a sequence alone, `(time,)`; ncps's own batched ones are wrong where batch
    and neurons are equal in number, and fail elsewhere.

    Args:
        module: an `ncps.torch.LTC`, or a module that has some anywhere inside.

    Returns:
        The same module.

    Raises:
        ImportError: numba or ncps is not installed.
        ValueError: there is no LTC inside, or one with a mixed memory, whose LSTM has to see every single step.

    Example:
        >>> model = cffbook.accelerate(ncps.torch.LTC(16, 64))
    """
    require("numba", extra="fast", purpose="accelerate")
    fused = importlib.import_module("cffbook.fused_ncps")
    found = [each for each in module.modules() if isinstance(each, fused.Original)]
    if not found:
        raise ValueError(f"expected a module with an ncps.torch.LTC inside, got a {type(module).__name__} without: pass the model that has one")
    if any(each.use_mixed for each in found):
        raise ValueError("expected LTCs without mixed memory, got one with mixed_memory=True, whose LSTM sees every step: build it with False")
    for each in found:
        each.__class__ = fused.FusedLTC
    return module
