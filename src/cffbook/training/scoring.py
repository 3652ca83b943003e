"""Losses and scores of the three kinds of task, and the evaluation of a split.

classification: cross-entropy, accuracy; regression: mean squared error for both; tokens: cross-entropy and accuracy over
the targets that are not -100.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cffbook.training.checks import check_known
from cffbook.training.order import POSITIONS, chunks

PIECE = 2_048  # samples that a model reads at once of longer examples
WHOLE = 1 << 18  # samples at once in a model that cannot read piece by piece
KINDS = ("classification", "regression", "tokens")
IGNORED = -100


@dataclass(frozen=True)
class Score:
    """What a model makes of one split.

    Args:
        loss: mean over `count` samples (tokens: over the targets that count).
        score: likewise.
        count: samples or targets.
        sequences: examples with a target that counts; 0 for regression, which has no mistakes.
        faultless: those of them with no mistake at any target.
        last_right: those whose last target is right.
    """

    loss: float
    score: float
    count: int
    sequences: int = 0
    faultless: int = 0
    last_right: int = 0


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


def answer(model: nn.Module, batch) -> Tensor:
    """The model's outputs for a batch, which tells it the elapsed times where it has some."""
    times = {} if batch.elapsed is None else {"elapsed": batch.elapsed}
    return model(batch.inputs, lengths=batch.lengths, **times)


def pieces(model: nn.Module, batch, piece: int = PIECE) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs and targets of a batch; of a long one piece after piece, in memory that does not grow with time.

    A model goes on from piece to piece if it has ``stream(inputs, states, elapsed, start)`` and nothing is padded; a
    recurrent one keeps potentials, attention its cache.
    """
    time = batch.inputs.shape[1]
    if time <= piece or batch.targets.ndim < 2 or not hasattr(model, "stream") or bool((batch.lengths < time).any()):
        yield answer(model, batch), batch.targets
        return
    states = None
    for start in range(0, time, piece):
        part = slice(start, start + piece)
        elapsed = 1.0 if batch.elapsed is None else batch.elapsed[:, part]
        outputs, states = model.stream(batch.inputs[:, part], states, elapsed, start)
        yield outputs, batch.targets[:, part]


def mistakes(kind: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Of each sequence the wrong answers, the scored targets and whether the last of these is wrong, `(batch, 3)` int64."""
    if kind == "regression":
        return torch.zeros(len(targets), 3, dtype=torch.int64, device=targets.device)
    targets = targets.reshape(len(targets), -1)
    scored = targets != IGNORED
    wrong = (outputs.argmax(dim=-1).reshape(targets.shape) != targets) & scored
    place = torch.arange(1, targets.shape[1] + 1, device=targets.device)
    last = (place * scored).argmax(1, keepdim=True)
    return torch.stack([wrong.sum(1), scored.sum(1), wrong.gather(1, last).squeeze(1).long()], 1)


def judge(model: nn.Module, kind: str, batch) -> Tensor:
    """Sums over a batch, `(6,)`: losses, scores, targets; sequences scored, without a mistake, right at their last target."""
    total, found = exact_zeros(3, batch.inputs.device), None
    for outputs, targets in pieces(model, batch):
        total += sums(kind, outputs, targets).to(total)
        now = mistakes(kind, outputs, targets)
        last = now[:, 2] if found is None else torch.where(now[:, 1] > 0, now[:, 2], found[:, 2])
        found = now if found is None else torch.stack([found[:, 0] + now[:, 0], found[:, 1] + now[:, 1], last], 1)
    some = found[:, 1] > 0
    sequences = torch.stack([some.sum(), (some & (found[:, 0] == 0)).sum(), (some & (found[:, 2] == 0)).sum()])
    return torch.cat([total, sequences.to(total)])


def exact_zeros(count: int, device: torch.device) -> Tensor:
    """Zeros to sum in, of the most exact kind that the device has."""
    return torch.zeros(count, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)


def evaluate(model: nn.Module, kind: str, split, batch: int = 128, accelerator=None, lengths: Tensor | None = None,
             precision: str = "float32") -> Score:
    """Loss and score of a model on a whole split, each sample counted once over all processes.

    Args:
        model: called as ``model(inputs, lengths=lengths)``; left in the mode it was in.
        kind: kind of the task.
        split: the split to evaluate.
        batch: examples a batch; fewer where they are very long.
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
    total = exact_zeros(6, device)
    longest = split.batch([0]).inputs.shape[1] if lengths is None else int(lengths.max())
    batch = max(1, min(batch, (POSITIONS if hasattr(model, "stream") else WHOLE) // max(1, longest)))
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for indices in chunks(len(split), batch, share, shares, lengths):
            total += judge(model, kind, split.batch(indices).to(device))
    model.train(training)
    if shares > 1:
        total = accelerator.reduce(total, reduction="sum")
    loss, score, count, *sequences = total.tolist()
    return Score(loss / count, score / count, int(count), *map(int, sequences))
