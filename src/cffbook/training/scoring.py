"""Losses and scores of the three kinds of task, and the evaluation of a split.

classification: cross-entropy, accuracy; regression: mean squared error for both; tokens: cross-entropy and accuracy over
the targets that are not -100.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cffbook.training.checks import check_known
from cffbook.training.order import chunks

KINDS = ("classification", "regression", "tokens")
IGNORED = -100


@dataclass(frozen=True)
class Score:
    """Loss and score of one split: means over `count` samples (tokens: over the counted targets)."""

    loss: float
    score: float
    count: int


def sums(kind: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Sum of losses, sum of scores and count over a batch, `(3,)`; the loss sum carries the gradient.

    Args:
        kind: ``classification`` (outputs `(batch, classes)`, targets `(batch,)`), ``regression`` (`(batch, 1)` and
            `(batch,)`) or ``tokens`` (`(batch, time, classes)` and `(batch, time)`, -100 = ignored).
        outputs: outputs of the model.
        targets: targets of the batch.

    Raises:
        ValueError: an unknown kind.
    """
    check_known("kind of task", kind, KINDS)
    outputs = outputs.float()
    if kind == "regression":
        loss = (outputs.squeeze(-1) - targets).square().sum()
        return torch.stack([loss, loss.detach(), loss.new_tensor(targets.numel())])
    outputs, targets = outputs.flatten(0, -2), targets.flatten()
    loss = functional.cross_entropy(outputs, targets, reduction="sum", ignore_index=IGNORED)
    correct = (outputs.argmax(dim=-1) == targets).sum()  # an ignored target equals no class
    count = (targets != IGNORED).sum()
    return torch.stack([loss, correct.to(loss), count.to(loss)])


def evaluate(model: nn.Module, kind: str, split, batch: int = 128, accelerator=None, lengths: Tensor | None = None,
             precision: str = "float32") -> Score:
    """Loss and score of a model on a whole split, each sample counted once over all processes.

    Args:
        model: called as ``model(inputs, lengths=lengths)``; left in the mode it was in.
        kind: kind of the task.
        split: the split to evaluate.
        batch: samples a batch.
        accelerator: the run's Accelerator; None evaluates here, on the model's own device.
        lengths: length of every sample, `(samples,)`, to batch samples of like length; None keeps the order.
        precision: ``float32`` or ``bfloat16`` (autocast).

    Raises:
        ValueError: an empty split.
    """
    if len(split) == 0:
        raise ValueError("cannot evaluate an empty split; it needs at least one sample")
    share, shares = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    device = accelerator.device if accelerator else next(model.parameters()).device
    training = model.training
    model.eval()
    total = torch.zeros(3, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for indices in chunks(len(split), batch, share, shares, lengths):
            drawn = split.batch(indices).to(device)
            total += sums(kind, model(drawn.inputs, lengths=drawn.lengths), drawn.targets)
    model.train(training)
    if shares > 1:
        total = accelerator.reduce(total, reduction="sum")
    loss, score, count = total.tolist()
    return Score(loss / count, score / count, int(count))
