"""What a pass of a memory layer has to do at least, and the time that the machine needs for it at its limits.

With N flip-flops of u unfolds each, a sample opens 2 N sensory gates and 2 N (1 + 1 + steered) u gates of self, reciprocal and steering
synapses. The way back opens all of them once more, since next to nothing is kept, and makes two products of each map's one, and the input
map's own once more.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from cffbook.memory import MemoryLayer
from cffbook.recurrence import Pairs
from cffbook.speed.cases import Case, build


class Work(NamedTuple):
    """Work of a pass.

    Args:
        gates: logistic functions.
        operations: multiplications and additions of the two affine maps' products.
        bytes: moved, were every array moved once: inputs and outputs, and for the gradients inputs again, and those of both.
    """

    gates: int
    operations: int
    bytes: int

    def seconds(self, limits: Mapping[str, float], threads: int = 1) -> dict[str, float]:
        """Time for each part at the limits of `Comparison.limits`; memory is shared by all threads."""
        return {
            "gates": self.gates / (limits["gates_per_second"] * threads),
            "products": self.operations / (limits["operations_per_second"] * threads),
            "memory": self.bytes / limits["bytes_per_second"],
        }


def work(case: Case, layer: str) -> Work:
    """The work of one pass of a memory layer of a case.

    Raises:
        ValueError: the layer is no memory layer of independent flip-flops.
    """
    model = build(layer, case.d_model)
    form = model.cell.form() if isinstance(model, MemoryLayer) else None
    if not isinstance(form, Pairs):
        raise ValueError(f"expected a memory layer of independent flip-flops, got {layer!r}: the work of others is not counted here")
    samples, pairs = case.batch * case.time, form.values.shape[1]
    gates = 2 * pairs * (1 + (2 + form.steered) * model.cell.solver.unfolds)
    operations = sum(2 * each.in_features * each.out_features for each in model.modules() if isinstance(each, nn.Linear))
    again = 2 * model.input_map.in_features * model.input_map.out_features
    arrays = case.d_model * (5 if case.backward else 2)
    return Work(samples * gates * (1 + case.backward), samples * (operations + case.backward * (2 * operations + again)), 4 * samples * arrays)
