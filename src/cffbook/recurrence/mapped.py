"""A cell between two affine maps in one go, where a backend has that: what lies between the maps is then never there as a whole."""

import torch
from torch import Tensor, nn

from cffbook.recurrence.checks import as_elapsed, as_lengths, as_potential, blank_padding
from cffbook.recurrence.choice import choose, find

# Bytes of all input lines from which one go is taken. Smaller arrays come from memory that the process has, and are read again from
# the cache: at 8 MB of lines the parts one by one take 90 % of the time of one go, at 16 MB as much, at 33 MB 120 %.
LEAST = 1 << 24


def unroll_mapped(
    cell,
    input_map: nn.Module,
    output_map: nn.Module,
    inputs: Tensor,
    potential: Tensor | None = None,
    elapsed: Tensor | float = 1.0,
    lengths: Tensor | None = None,
    backend: str = "auto",
    ways: int = 1,
    least: int | None = None,
) -> tuple[Tensor, Tensor] | None:
    """`output_map(unroll(cell, input_map(inputs)))` and the last potentials, or None where the three have to run one by one.

    They do where lines are few, where the backend does not have it for this cell, where a map is more than an `nn.Linear` that nobody
    watches or changes, under autocast, for times that want gradients or differ among flip-flops, and for times of each sample both ways.

    Args:
        cell: flip-flops; the output map takes the potentials of the first neurons, or of both, by its width.
        input_map, output_map: the maps.
        inputs: `(batch, time, d_model)`.
        potential, elapsed, lengths, backend: as `unroll` has them.
        ways: 2 where the second half of the flip-flops runs backwards in time.
        least: bytes of all input lines from which it is taken, `LEAST` when None.

    Raises:
        ValueError: as `unroll`.
    """
    if not (_plain(input_map, inputs) and _plain(output_map, inputs) and _steady(elapsed, ways) and next(cell.parameters()).dtype == inputs.dtype):
        return None
    if inputs.is_meta or torch.is_autocast_enabled(inputs.device.type) or type(inputs) not in (Tensor, nn.Parameter):
        return None
    if inputs.shape[0] * inputs.shape[1] * input_map.out_features * inputs.element_size() < (LEAST if least is None else least):
        return None
    module = find(choose(cell, inputs) if backend == "auto" else backend)
    if not hasattr(module, "run_mapped") or module.refusal(cell, inputs) is not None:
        return None
    batch, time = inputs.shape[:2]
    potential = as_potential(potential, batch, cell.state_shape, inputs)
    elapsed = as_elapsed(elapsed, batch, time, cell.state_shape, inputs)
    lengths = as_lengths(lengths, batch, time, inputs.device)
    maps = input_map.weight, input_map.bias, output_map.weight, output_map.bias
    return module.run_mapped(cell, maps, ways, blank_padding(inputs, lengths), potential, elapsed, lengths)


def _plain(layer: nn.Module, inputs: Tensor) -> bool:
    """Whether a layer is an `nn.Linear` with a bias, in the type of the inputs, and no hook, parametrisation or method of its own."""
    if type(layer) is not nn.Linear or layer.bias is None or "forward" in vars(layer):
        return False
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    if any(hooks) or torch.nn.modules.module._has_any_global_hook():
        return False
    return all(type(each) in (Tensor, nn.Parameter) and each.dtype == inputs.dtype for each in (layer.weight, layer.bias))


def _steady(elapsed: Tensor | float, ways: int) -> bool:
    """Whether times are constants, the same for all flip-flops of a sample."""
    return not torch.is_tensor(elapsed) or (not elapsed.requires_grad and elapsed.dim() <= 3 - ways)
