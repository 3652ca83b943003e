"""What every backend may rely on: shapes, lengths and elapsed times that have been checked."""

import math
from contextlib import AbstractContextManager, nullcontext
from numbers import Real

import torch
from torch import Tensor


def without_autocast(device: str) -> AbstractContextManager:
    """A context in which the kind of device computes in the types that it is given; there are some that know no autocast."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def check_inputs(inputs: Tensor, input_shape: tuple[int, ...]) -> None:
    """Raise unless `inputs` is a floating-point tensor `(batch, time, *input_shape)`."""
    expected = f"(batch, time, {', '.join(map(str, input_shape))})"
    if inputs.dim() != 2 + len(input_shape) or tuple(inputs.shape[2:]) != tuple(input_shape):
        raise ValueError(f"inputs must have the shape {expected}, got {tuple(inputs.shape)}: reshape them or change the layer's size")
    if not inputs.is_floating_point():
        raise ValueError(f"inputs must be floating-point numbers, got {inputs.dtype}: call .float(), or embed token ids first")


def as_potential(potential: Tensor | None, batch: int, state_shape: tuple[int, ...], like: Tensor) -> Tensor:
    """The start potential `(batch, *state_shape)`; zeros when None."""
    if potential is None:
        return like.new_zeros(batch, *state_shape)
    if tuple(potential.shape) != (batch, *state_shape):
        raise ValueError(
            f"potential must have the shape {(batch, *state_shape)}, got {tuple(potential.shape)}: "
            "pass the potential that the last call returned, or None to start from zeros"
        )
    if bool(torch.isinf(potential).any()):
        raise ValueError("potential must be finite, got an infinite one: a membrane potential lies between its reversal potentials")
    return potential.to(like.dtype)


def as_elapsed(elapsed: Tensor | float, batch: int, time: int, state_shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Elapsed times `(batch or 1, time or 1, ...)`, ready to broadcast against `(batch, time, *state_shape)`."""
    number = isinstance(elapsed, Real)  # looked at as one: the value of a tensor breaks compiled graphs, and a GPU's has to be waited for
    value = elapsed if number else torch.as_tensor(elapsed, dtype=like.dtype)
    good = 0 <= value < math.inf if number else bool((torch.isfinite(value) & (value >= 0)).all())
    if not good:
        raise ValueError("elapsed must be finite and at least 0, got a negative, infinite or NaN time: give times since the last sample")
    if number:
        return like.new_full((1, 1, *(1 for _ in state_shape)), value)
    value = value.to(like.device)
    if value.dim() == 0:
        return value.reshape(1, 1, *(1 for _ in state_shape))
    if value.dim() == 1 and value.shape[0] == batch:
        return value.reshape(batch, 1, *(1 for _ in state_shape))
    if value.dim() == 2 and tuple(value.shape) == (batch, time):
        return value.reshape(batch, time, *(1 for _ in state_shape))
    own = value.dim() == 2 + len(state_shape) and tuple(value.shape[:2]) == (batch, time)
    if own and all(given in (1, size) for given, size in zip(value.shape[2:], state_shape, strict=True)):
        return value
    raise ValueError(
        f"elapsed must be a number, ({batch},) per sequence or ({batch}, {time}) per sample, got the shape {tuple(value.shape)}: "
        "give one time for each sample"
    )


def as_lengths(lengths: Tensor | None, batch: int, time: int, device: torch.device) -> Tensor | None:
    """Lengths `(batch,)` as int64, or None when every sample is real.

    Their values are looked at once for each tensor: every look waits for all that a GPU has still to do.
    """
    if lengths is None:
        return None
    lengths = torch.as_tensor(lengths, device=device)
    seen = (batch, time, lengths._version) if lengths.is_cuda else None
    if seen is not None and getattr(lengths, "_cffbook_seen", None) == seen:
        return lengths.long()
    if tuple(lengths.shape) != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ValueError(
            f"lengths must be {batch} integers, one for each sequence, got shape {tuple(lengths.shape)} of {lengths.dtype}: "
            "for a mask (batch, time) pass mask.sum(1)"
        )
    least, most = torch.stack(lengths.aminmax()).tolist() if batch else (0, 0)
    if least < 0 or most > time:
        raise ValueError(f"lengths must lie between 0 and the {time} samples given, got {least} to {most}: count the real samples of each sequence")
    if seen is not None:
        lengths._cffbook_seen = seen
    return lengths.long()


def real(lengths: Tensor, time: int) -> Tensor:
    """Mask `(batch, time)`: True where a sample is real."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def blank_padding(values: Tensor, lengths: Tensor | None) -> Tensor:
    """`values` `(batch, time, ...)` with zeros after each sequence's length, gradients included."""
    lengths = as_lengths(lengths, *values.shape[:2], values.device)
    if lengths is None:
        return values
    mask = real(lengths, values.shape[1])
    return values.masked_fill(~mask.reshape(*mask.shape, *(1 for _ in values.shape[2:])), 0)


def prepare(
    cell, inputs: Tensor, potential: Tensor | None, elapsed: Tensor | float, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The arguments of a backend's `run`, checked, in the type of the cell's parameters: inputs, potential, elapsed, lengths."""
    check_inputs(inputs, cell.input_shape)
    like = next(cell.parameters())
    batch, time = inputs.shape[:2]
    inputs = inputs.to(like.dtype)
    potential = as_potential(potential, batch, cell.state_shape, like)
    elapsed = as_elapsed(elapsed, batch, time, cell.state_shape, like)
    lengths = as_lengths(lengths, batch, time, inputs.device)
    if lengths is not None:
        # Padding may hold anything, NaN included; a zero keeps it out of the gradients too.
        inputs = blank_padding(inputs, lengths)
    return inputs, potential, elapsed, lengths
