"""A run that trains beside the notebook: its loss, its accuracy and what its flip-flops hold while it goes on, and a button that ends it."""

import tempfile
import threading

import torch
from torch import Tensor, nn

from cffbook._optional import require
from cffbook.memory import MemoryLayer
from cffbook.training import Evaluation, History, Recipe, fit
from cffbook.training.scoring import answer
from cffbook.widgets import assembly

anywidget = require("anywidget", extra="plots", purpose="a widget")
traitlets = require("traitlets", extra="plots", purpose="a widget")

CURVES = ("train_loss", "valid_loss", "valid_score")
SAMPLES, ROWS = 200, 64  # of what is held: the most that are shown


class TrainingWidget(anywidget.AnyWidget):
    """One run, watched: `start()` lets it train in a thread of its own, so that the notebook and the button answer meanwhile.

    A model that draws random numbers in another cell meanwhile draws them from the same generator; the run is then not repeatable.

    Args:
        model: with a `MemoryLayer` somewhere, whose potentials are shown.
        task: what to train on.
        recipe: its `eval_every` is how often there is something new to see.

    Attributes:
        curves: step, and training loss, validation loss and validation score, a list each.
        held: potential differences `(time, pairs)` in the first memory layer while it reads one validation example, divided by the largest.
        state: "new", "running", "done", "stopped" or what went wrong.
        stop: set it, or press the button, and the run ends after its next evaluation.

    Raises:
        ImportError: anywidget is not installed.
        ValueError: no memory layer in the model.
    """

    curves = traitlets.Dict().tag(sync=True)
    held = traitlets.List().tag(sync=True)
    state = traitlets.Unicode("new").tag(sync=True)
    stop = traitlets.Bool(False).tag(sync=True)
    score_name = traitlets.Unicode().tag(sync=True)
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(self, model: nn.Module, task: object, recipe: Recipe) -> None:
        self.model, self.task, self.recipe = model, task, recipe
        self.layer, self.example = memory_of(model), task.valid.batch([0])
        self.history: History | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        super().__init__(curves={name: [] for name in ("step", *CURVES)}, score_name=task.score_name,
                         _esm=assembly.module("training"), _css=assembly.style())  # fmt: skip

    def start(self, seed: int = 0) -> "TrainingWidget":
        """Begin to train; returns the widget.

        Raises:
            RuntimeError: the run has begun before.
        """
        if self._thread is not None:
            raise RuntimeError(f"expected a new run, this one is {self.state}: make another TrainingWidget")
        self.state = "running"
        self._thread = threading.Thread(target=self._train, args=(seed,), daemon=True)
        self._thread.start()
        return self

    def wait(self) -> History:
        """The history of the run, when it has ended. An interrupt of the kernel ends it after its next evaluation, as the button does.

        The button itself is heard when no cell runs: while this waits, a kernel answers to nothing but interrupts.

        Raises:
            RuntimeError: it was not started, or has failed.
        """
        if self._thread is None:
            raise RuntimeError("expected a run that was started: call start() first")
        try:
            self._ended.wait()
        except KeyboardInterrupt:
            self.stop = True
            self._ended.wait()  # no join(): one that was interrupted takes the thread for ended
        if self.history is None:
            raise RuntimeError(f"the run has no history: {self.state}")
        return self.history

    def _train(self, seed: int) -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                self.history = fit(self.model, self.task, self.recipe, folder=folder, seed=seed, progress_bar=False, tensorboard=False, watch=self._look)
            self.state = "stopped" if self.history.stopped == "watch" else "done"
        except Exception as problem:  # a thread has nobody else to tell
            self.state = f"failed: {problem}"
        finally:
            self._ended.set()

    def _look(self, model: nn.Module, evaluation: Evaluation) -> bool:
        """Show an evaluation; whether the reader wants no more."""
        self.curves = {name: [*values, getattr(evaluation, name)] for name, values in self.curves.items()}
        self.held = [[round(value, 3) for value in sample] for sample in held(model, self.layer, self.example).tolist()]
        return self.stop

    def __repr__(self) -> str:
        return f"TrainingWidget(state={self.state!r}, evaluations={len(self.curves['step'])})"

    def traits_of_page(self) -> dict[str, object]:
        """What a page without a kernel shows: the run as far as it has come."""
        return {name: getattr(self, name) for name in ("curves", "held", "state", "stop", "score_name")}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> object:
        return assembly.with_page(super()._repr_mimebundle_(), "training", self.traits_of_page())


def memory_of(model: nn.Module) -> MemoryLayer:
    """The first memory layer of a model.

    Raises:
        ValueError: it has none.
    """
    layers = [module for module in model.modules() if isinstance(module, MemoryLayer)]
    if not layers:
        raise ValueError(f"expected a model with a MemoryLayer, got {type(model).__name__} without one: choose a row with memory")
    return layers[0]


@torch.no_grad()
def held(model: nn.Module, layer: MemoryLayer, batch: object) -> Tensor:
    """Differences `(time, pairs)` of the potentials of the layer's pairs, between -1 and 1, while the model reads the first example of a batch."""
    seen: list[tuple[Tensor, Tensor | None]] = []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        answer(model, batch)
    finally:
        hook.remove()
    potentials, _ = layer.potentials(seen[0][:1, :SAMPLES])
    apart = (potentials[0, :, :ROWS, 0] - potentials[0, :, :ROWS, 1]).float()
    return apart / apart.abs().max().clamp(min=1e-9)
