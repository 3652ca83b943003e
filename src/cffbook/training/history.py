"""What a training run leaves behind: its evaluations, and the result at the best of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cffbook.training.scoring import Score


@dataclass(frozen=True)
class Evaluation:
    """One look at the validation split; the train values are means over the updates since the last look."""

    step: int
    epoch: float
    train_loss: float
    train_score: float
    valid_loss: float
    valid_score: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class History:
    """The outcome of `fit`.

    Args:
        evaluations: in the order of steps.
        best: index of the evaluation with the best validation score.
        test_loss: loss on the test split with the weights of the best evaluation.
        test_score: score on the test split with the same weights.
        steps: updates made, those left out among them.
        samples: training samples seen.
        seconds: wall time of training and validation, over all starts of the run.
        peak_memory: bytes; allocated on the GPU, else resident in the process; None where the system does not say.
        stopped: ``steps``, ``minutes``, ``patience`` or ``watch``, who looked on and ended it.
        device: type of the device, for example ``cpu``.
        processes: processes that trained together.
        sources: digests of the source code the run was trained with; more than one if it changed on the way.
        started: time of the first start, UTC, ISO 8601.
        processor_seconds: time that the first process has computed on the processor in `seconds`, on all its threads together;
            unlike these the same whatever else the machine is doing.
        tests: every test split of the task by name, "test" first, with the same weights.
        overflows: updates that were left out because a gradient was not finite.
    """

    evaluations: tuple[Evaluation, ...]
    best: int
    test_loss: float
    test_score: float
    steps: int
    samples: int
    seconds: float
    peak_memory: int | None
    stopped: str
    device: str
    processes: int
    sources: tuple[str, ...]
    started: str
    processor_seconds: float
    tests: Mapping[str, Score] = field(default_factory=dict)
    overflows: int = 0

    @property
    def samples_per_second(self) -> float:
        """Training samples per second of wall time."""
        return self.samples / self.seconds


def best_index(evaluations: list[Evaluation], higher_is_better: bool) -> int:
    """Index of the best validation score; among equals the lower loss, then the earlier one."""
    sign = -1 if higher_is_better else 1
    return min(range(len(evaluations)),
               key=lambda index: (sign * evaluations[index].valid_score, evaluations[index].valid_loss, index))
