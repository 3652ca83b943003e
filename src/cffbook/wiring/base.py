"""The wiring type: polarity[source, target] in {-1, 0, +1}, checked once, with its counts, blocks and drawings."""

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cffbook.wiring import checks
from cffbook.wiring.devices import on_processor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Wiring:
    """Synapses between neurons, and optionally from inputs to neurons.

    Args:
        polarity: ``(source, target)``, values -1 (inhibitory), 0 (no synapse), +1 (excitatory); kept as an int8 copy
            on the CPU.
        sensory: ``(input, neuron)``, the same values, or None when every input reaches every neuron.
        outputs: the first `outputs` neurons are motor neurons (the order of ``ncps``: motor, command, inter), or None.
        name: what the wiring is called in tables and titles.
        shape: sizes of the lattice that the neurons lie on, last axis fastest; None for ``(size,)``.
        layers: of an NCP, its sizes ``(motor, command, inter)``, or None.

    Raises:
        ValueError: not square, values other than -1, 0, +1, NaN, or sizes that do not fit together.
        TypeError: a matrix that is no tensor.
    """

    polarity: Tensor
    sensory: Tensor | None = None
    outputs: int | None = None
    name: str = "given"
    shape: tuple[int, ...] | None = None
    layers: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        polarity = checks.square(checks.polarity_matrix(self.polarity, "polarity"), "polarity")
        size = polarity.shape[0]
        object.__setattr__(self, "polarity", polarity)
        if self.sensory is not None:
            sensory = checks.polarity_matrix(self.sensory, "sensory")
            if sensory.shape[1] != size or sensory.shape[0] == 0:
                raise ValueError(
                    f"expected sensory to be (inputs, {size}), got {tuple(sensory.shape)}: "
                    "give every input one row and every neuron one column"
                )
            object.__setattr__(self, "sensory", sensory)
        if self.outputs is not None and checks.count(self.outputs, "outputs") > size:
            raise ValueError(f"expected at most {size} outputs, got {self.outputs}: lower outputs")
        object.__setattr__(self, "shape", (size,) if self.shape is None else tuple(self.shape))
        if prod(self.shape) != size:
            raise ValueError(f"expected a shape of {size} neurons, got {self.shape}: make its product {size}")
        if self.layers is not None and (len(self.layers) != 3 or sum(self.layers) != size):
            raise ValueError(
                f"expected layers (motor, command, inter) of {size} neurons, got {self.layers}: make their sum {size}"
            )

    def __repr__(self) -> str:
        return f"Wiring({self.name!r}, size={self.size}, synapses={self.synapses}, density={self.density:.3g})"

    @property
    def size(self) -> int:
        """The number of neurons."""
        return self.polarity.shape[0]

    @property
    def adjacency(self) -> Tensor:
        """``(source, target)``, bool: where there is a synapse."""
        return self.polarity != 0

    @property
    def synapses(self) -> int:
        """The number of synapses between neurons (sensory synapses are not counted)."""
        return int(self.adjacency.sum())

    @property
    def density(self) -> float:
        """The fraction of possible synapses that exist; self synapses are possible only if the wiring has one."""
        possible = self.size * (self.size - 1)
        if self.polarity.diagonal().any():
            possible = self.size * self.size
        return self.synapses / possible if possible else 0.0

    @on_processor
    def blocks(self) -> list[Tensor]:
        """The weakly connected components: neurons of different blocks never see each other.

        Returns:
            One sorted int64 tensor of neuron indices per block; blocks in the order of their first neuron.
        """
        source, target = self.adjacency.nonzero(as_tuple=True)
        label = torch.arange(self.size)
        while True:
            lowest = torch.minimum(label[source], label[target])
            lower = label.scatter_reduce(0, label[source], lowest, "amin")
            lower = lower.scatter_reduce(0, label[target], lowest, "amin")
            while not torch.equal(lower, lower[lower]):
                lower = lower[lower]
            if torch.equal(lower, label):
                break
            label = lower
        counts = label.unique(return_counts=True)[1]
        return list(label.argsort(stable=True).split(counts.tolist()))

    def crosses(self, cut: int) -> bool:
        """Whether a synapse joins neurons before `cut` and neurons from `cut` on, in either direction.

        Raises:
            ValueError: `cut` is not between 0 and `size`.
        """
        if checks.count(cut, "cut", least=0) > self.size:
            raise ValueError(f"expected a cut between 0 and {self.size}, got {cut}: cut inside the wiring")
        return bool(self.polarity[:cut, cut:].any() or self.polarity[cut:, :cut].any())

    @on_processor
    def tile_size(self) -> int:
        """Neurons in the smallest equal blocks along the diagonal that hold all synapses: the whole size where there are none smaller."""
        ends = self.polarity.nonzero().sort(1).values + 1
        change = torch.zeros(self.size + 2, dtype=torch.long)
        change.index_add_(0, ends[:, 0], torch.ones(len(ends), dtype=torch.long))
        change.index_add_(0, ends[:, 1], -torch.ones(len(ends), dtype=torch.long))
        crossed = change.cumsum(0) > 0  # whether a synapse joins neurons before a cut and from it on
        return next(size for size in range(1, self.size + 1) if not bool(crossed[size : self.size : size].any()))

    def repeat(self, times: int) -> "Wiring":
        """Block-diagonal copies: ``times`` wirings side by side, with no synapse between them.

        Every copy has the same sensory synapses. A lattice gains a first axis of size `times`.

        Raises:
            ValueError: `times` is below 1, or the wiring has motor neurons (they would not come first any more).
        """
        times = checks.count(times, "times")
        if self.outputs is not None:
            raise ValueError(
                f"expected a wiring without motor neurons to repeat, got {self.name!r} with {self.outputs}: "
                "use one layer per copy"
            )
        return Wiring(
            polarity=torch.block_diag(*[self.polarity] * times),
            sensory=None if self.sensory is None else self.sensory.repeat(1, times),
            name=f"{times} x {self.name}",
            shape=(times, *self.shape) if len(self.shape) > 1 else None,
        )

    def draw(self, most: int = 20_000) -> "Figure":
        """A plotly figure of the neurons and their synapses; see `cffbook.wiring.drawing.draw`."""
        from cffbook.wiring import drawing

        return drawing.draw(self, most)

    def heatmap(self) -> "Figure":
        """A plotly heat map of the polarity; see `cffbook.wiring.drawing.heatmap`."""
        from cffbook.wiring import drawing

        return drawing.heatmap(self)
