"""The way back of `basins`, also in chunks, exact by the 2x2 transfer matrices of the adjoint.

With p_k the gradient at the start of chunk k when nothing comes from behind its end, and M_k = d end / d start::

    g_k = M_k^T g_{k+1} + p_k                                                                     (adjoint)

an affine recurrence over the chunks. Given the g, all chunks run backwards side by side.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cffbook.recurrence.scan import affine_reverse


class Along(torch.autograd.Function):
    """Potentials of all chunks, `(chunks, batch, length, pairs, 2)`, by the search of a plan; differentiable once."""

    @staticmethod
    def forward(ctx, plan, values, inputs, start, elapsed):
        starts, potentials, reruns, distance, gap = plan(values, inputs, start, elapsed)
        ctx.plan = plan
        ctx.save_for_backward(values, inputs, elapsed, starts)
        report = [torch.tensor(number, dtype=torch.float64) for number in (reruns, distance, gap)]
        ctx.mark_non_differentiable(*report)
        return potentials, *report

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, *_):
        values, inputs, elapsed, starts = ctx.saved_tensors
        needed = [each for each, need in zip((1, 2, 4), (ctx.needs_input_grad[i] for i in (1, 2, 4)), strict=True) if need]
        with torch.enable_grad(), torch.autocast(inputs.device.type, enabled=False):
            leaves = {1: values, 2: inputs, 4: elapsed}
            leaves = {at: leaf.detach().requires_grad_(at in needed) for at, leaf in leaves.items()}
            starts = starts.detach().requires_grad_()
            potentials = ctx.plan.chunks(leaves[1], leaves[2], leaves[4]).all(starts)
        wanted = [leaves[at] for at in needed]
        behind = _from_behind(potentials, starts, gradient)
        found = dict(zip((3, *needed), _pull(potentials, [starts, *wanted], gradient, behind, keep=False), strict=True))
        return None, found.get(1), found.get(2), found[3][0], found.get(4)


def _pull(potentials: Tensor, leaves: list[Tensor], gradient: Tensor | None, behind: Tensor | None, keep: bool) -> tuple[Tensor, ...]:
    """Gradients of leaves, given that of the potentials and what comes from behind the end of each chunk."""
    total = torch.zeros_like(potentials) if gradient is None else gradient.clone()
    if behind is not None:
        total[:, :, -1] += behind
    return torch.autograd.grad(potentials, leaves, total, retain_graph=keep)


def _from_behind(potentials: Tensor, starts: Tensor, gradient: Tensor) -> Tensor | None:
    """Gradient that each chunk's end gets from the chunks after it, `(chunks, batch, pairs, 2)`."""
    if len(starts) == 1:
        return None
    alone = _pull(potentials, [starts], gradient, None, keep=True)[0]
    behind = _next(alone)
    if torch.equal(_pull(potentials, [starts], gradient, behind, keep=True)[0], alone):
        return behind  # fast pairs: not one bit of a gradient passes through a whole chunk
    units = torch.eye(2, dtype=starts.dtype, device=starts.device)
    rows = [_pull(potentials, [starts], None, unit.expand_as(starts), keep=True)[0] for unit in units]
    transfer = torch.stack(rows, -2)[None].flatten(2, 3)  # M[i, j] = d end_i / d start_j, (1, K, B * P, 2, 2)
    true = affine_reverse(_aligned(transfer), alone[None].flatten(2, 3))[0].unflatten(1, starts.shape[1:3])
    return _next(true)


def _next(gradient: Tensor) -> Tensor:
    return torch.cat((gradient[1:], torch.zeros_like(gradient[:1])))


def _aligned(transfer: Tensor) -> Tensor:
    """g_k = M_k^T g_{k+1} + p_k has the matrix of its own chunk, where `affine_reverse` takes that of the next."""
    return transfer.roll(1, 1)
