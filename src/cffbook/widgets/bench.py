"""A trained model on the bench: its flip-flops in a list, one of them under the probe, and the task's score after every change."""

import html

import torch
from torch import nn

from cffbook import analysis
from cffbook._optional import require
from cffbook.flipflop import FlipFlop
from cffbook.lateral import MemoryCell
from cffbook.training.scoring import answer, sums
from cffbook.widgets import assembly
from cffbook.widgets.flipflop import FlipFlopWidget, values_of
from cffbook.widgets.training import memory_of

ipywidgets = require("ipywidgets", extra="plots", purpose="a bench")


class Bench(ipywidgets.VBox):
    """A list of the flip-flops of a model's first memory layer, the one that is picked as a `FlipFlopWidget`, and the score.

    What is moved in the probe is moved in the model, and the score is computed again at once. `restore` takes all back.

    Args:
        model: a trained model with a `MemoryLayer`; it is changed in place.
        kind: of the task, which says what a score is.
        split: examples to score on.
        examples: how many of them.

    Attributes:
        probe: the flip-flop that is picked.
        score: of the model as it is now.

    Raises:
        ImportError: ipywidgets or anywidget is not installed.
        ValueError: no memory layer in the model.
    """

    def __init__(self, model: nn.Module, kind: str, split: object, examples: int = 50) -> None:
        cell = memory_of(model).cell
        self.model, self.kind = model.eval(), kind
        self.flip_flops: FlipFlop = cell.flip_flops if isinstance(cell, MemoryCell) else cell
        self.batch = split.batch(range(min(examples, len(split))))
        self.trained = {name: self.flip_flops.value(name).detach().clone() for name in self.flip_flops.parameter_names()}
        self._picked, self._busy = 0, False
        self.probe = FlipFlopWidget(self.flip_flops, 0)
        self._list = ipywidgets.Select(options=self._lines(), description="flip-flop", rows=8, layout=ipywidgets.Layout(width="auto"))
        self._said = ipywidgets.HTML()
        back = ipywidgets.Button(description="as trained")
        super().__init__([self._list, self._said, back, self.probe])
        self._list.observe(lambda change: self.pick(change["new"]), names="value")
        back.on_click(lambda button: self.restore())
        self.probe.observe(self._moved, names="values")
        self._score()

    def pick(self, pair: int) -> FlipFlopWidget:
        """Put another flip-flop under the probe, and give it back.

        Raises:
            ValueError: no such flip-flop.
        """
        if not 0 <= pair < self.flip_flops.pairs:
            raise ValueError(f"expected a flip-flop below {self.flip_flops.pairs}, got {pair}")
        self._picked, self._busy = pair, True
        self.probe.values = values_of(self.flip_flops, pair)
        self._busy, self._list.value = False, pair
        return self.probe

    def restore(self) -> float:
        """All values as they were trained; returns the score."""
        self.flip_flops.assign(self.trained)
        self.pick(self._picked)
        return self._score()

    def _moved(self, change: dict) -> None:
        """Give the model what the probe has."""
        if self._busy:
            return
        for name in self.trained:
            values = self.flip_flops.value(name).detach().clone()
            values[self._picked] = torch.tensor(self.probe.values[name], dtype=values.dtype)
            self.flip_flops.assign({name: values})
        self._score()

    @torch.no_grad()
    def _score(self) -> float:
        _, score, count = sums(self.kind, answer(self.model, self.batch), self.batch.targets).tolist()
        self.score = score / max(count, 1)
        self._said.value = html.escape(f"score on {len(self.batch.inputs)} examples: {self.score:.4f}")
        return self.score

    def _lines(self) -> list[tuple[str, int]]:
        """Each flip-flop in a line: its capacitances and whether it latches, alone and with the input silent."""
        circuit = analysis.frozen(self.flip_flops)
        lines = []
        for pair, (first, second) in enumerate(self.flip_flops.value("capacitance").tolist()):
            latches = int(analysis.fixed_points(circuit, 0.0, pair).stable.sum()) > 1
            lines.append((f"{pair}: C = {first:.2f}, {second:.2f}; {'holds a bit alone' if latches else 'holds nothing alone'}", pair))
        return lines

    def __repr__(self) -> str:
        return f"Bench(flip_flops={self.flip_flops.pairs}, picked={self._picked}, score={self.score:.4f})"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> object:
        return assembly.with_page(super()._repr_mimebundle_(), "flip_flop", self.probe.traits_of_page())
