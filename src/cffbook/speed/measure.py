"""Clocks and memory: all layers of a case in turn in one process; on a processor each layer's memory in a process of its own.

Before a clock starts, the layer has to agree with the definition; a case whose agreement is broken is not measured.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from cffbook.experiment import facts
from cffbook.memory import MemoryLayer
from cffbook.recurrence import unroll_mapped
from cffbook.results import build as from_values
from cffbook.speed.cases import FUSED, Case, build
from cffbook.speed.machine import forget_high_water, high_water, limits, require_device, wait
from cffbook.training.checkpoint import write_atomically

AGREEMENT = 1e-4  # of float32 gradients over 64 samples, or 1,024 in chunks of time, relative to the largest
FEW = 8  # samples that load and compile whatever a pass needs


@dataclass(frozen=True)
class Comparison:
    """What one interleaved run has measured.

    Args:
        name: of the case.
        case: the case in full, without layers that a GPU had no room for: these have no memory and no seconds.
        seconds: wall times of every layer, one for each round, or a single one.
        memory: bytes that one pass took over what the process had before it, for every layer.
        limits: gates, and operations of a matrix product, per second of one thread or of the whole GPU, and bytes per second that it copies.
        machine, versions, git, started: circumstances, as in `cffbook.results.Record`.
    """

    name: str
    case: Mapping[str, Any]
    seconds: Mapping[str, Any]
    memory: Mapping[str, Any]
    limits: Mapping[str, float]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    git: Mapping[str, Any] | None
    started: str

    def ratios(self, layer: str, ours: str | None = None) -> list[float]:
        """How many times as long a layer takes as another one, by default the first: the ratio within each round.

        A layer that ran once stands in every round of the other.
        """
        mine, theirs = self.seconds[self.case["layers"][0] if ours is None else ours], self.seconds[layer]
        rounds = max(len(mine), len(theirs))
        mine, theirs = (each * rounds if len(each) == 1 else each for each in (mine, theirs))
        return [yours / own for own, yours in zip(mine, theirs, strict=True)]

    def ratio(self, layer: str, ours: str | None = None) -> float:
        """The median of `ratios` over rounds."""
        return statistics.median(self.ratios(layer, ours))

    def median(self, layer: str) -> float:
        """Median of the seconds of a layer."""
        return statistics.median(self.seconds[layer])

    def write(self, folder: str | Path) -> Path:
        """Write the record below a folder, as a whole or not at all; returns its path."""
        path = Path(folder) / f"{self.name}.json"
        write_atomically(path, (json.dumps(asdict(self), indent=1, allow_nan=False) + "\n").encode())
        return path


def load_comparisons(folder: str | Path = "results/speed") -> list[Comparison]:
    """All comparisons in a folder, sorted by name.

    Raises:
        ValueError: a file that is no comparison.
    """
    return [from_values(Comparison, json.loads(path.read_text())) for path in sorted(Path(folder).glob("*.json"))]


def step(layer: nn.Module, inputs: torch.Tensor, backward: bool) -> None:
    """One pass over the inputs, and the gradients of all."""
    with torch.set_grad_enabled(backward):
        outputs = layer(inputs)
    if backward:
        outputs[0].mean().backward()
        inputs.grad = None
        layer.zero_grad()


def check(layer: nn.Module, d_model: int) -> None:
    """Require a memory layer to give the definition's outputs and gradients.

    Raises:
        RuntimeError: it does not, so that it must not be measured.
    """
    if not isinstance(layer, MemoryLayer) or layer.backend == "sequential":
        return
    device, backend, maps, results = next(layer.parameters()).device, layer.backend, (layer.input_map, layer.output_map), []
    # Two chunks of time need a thousand samples. There the fused pass, which is held to the definition, stands for its long loop.
    definition, samples = (FUSED[device.type], 1024) if backend == "basins" else ("sequential", 64)
    inputs = torch.randn(2, samples, d_model, generator=torch.Generator().manual_seed(0)).to(device)
    for name, least in ((definition, None), (backend, None), (backend, 0)):  # the last one as long sequences are run
        layer.backend, x = name, inputs.clone().requires_grad_()
        found = layer(x) if least is None else unroll_mapped(layer.cell, *maps, x, backend=name, least=least)
        if found is None:
            continue
        found[0].square().sum().backward()
        results.append([found[0], x.grad, *(parameter.grad.clone() for parameter in layer.parameters())])
        layer.zero_grad()
    layer.backend = backend
    for mine, yours in ((mine, yours) for each in results[1:] for mine, yours in zip(each, results[0], strict=True)):
        if float((mine - yours).detach().abs().max()) > AGREEMENT * max(1.0, float(yours.detach().abs().max())):
            raise RuntimeError(f"expected {backend} to agree with the definition, got a difference: mend it before it is measured")


def clocks(case: Case) -> dict[str, list[float]]:
    """Wall seconds of every layer of a case, in turn, each after a pass that is not counted: over a few samples where it runs once.

    That pass clears away what the layer before has left: the system takes gigabytes back when the next one gives its first bytes back.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    inputs = torch.randn(case.batch, case.time, case.d_model, generator=torch.Generator().manual_seed(0))
    inputs = inputs.to(case.device).requires_grad_(case.backward)
    few = inputs.detach()[:, :FEW].requires_grad_(case.backward)
    models = {name: build(name, case.d_model, device=case.device) for name in case.layers}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    try:
        for layer in models.values():
            check(layer, case.d_model)
        for _ in range(case.rounds):
            for name, layer in models.items():
                if name in case.once and seconds[name]:
                    continue
                step(layer, few if name in case.once else inputs, case.backward)
                wait(case.device)
                start = time.perf_counter()
                step(layer, inputs, case.backward)
                wait(case.device)
                seconds[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return seconds


def memory_of_a_pass(case: Case, name: str) -> int | None:
    """Bytes that a pass of a layer needs beyond what is there before: of a GPU, or of this process, which then has to be a fresh one."""
    torch.set_num_threads(case.threads)
    layer = build(name, case.d_model, device=case.device)
    step(layer, torch.randn(case.batch, FEW, case.d_model, device=case.device).requires_grad_(case.backward), case.backward)
    inputs = torch.randn(case.batch, case.time, case.d_model, device=case.device).requires_grad_(case.backward)
    forget_high_water(case.device)
    before = high_water(case.device)
    step(layer, inputs, case.backward)
    after = high_water(case.device)
    return None if before is None or after is None else after - before


class Made(TorchDispatchMode):
    """While it lasts, notes the memory that every operation brings, to ask later what is still there."""

    def __init__(self):
        super().__init__()
        self.found: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        given = {tensor.untyped_storage().data_ptr() for tensor in pytree.tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        results = operation(*args, **(kwargs or {}))
        for tensor in pytree.tree_leaves(results):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in given:  # no view
                self.found[StorageWeakRef(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        return results

    def left(self) -> int:
        """Bytes of what is still there."""
        return sum(size for storage, size in self.found.items() if not storage.expired())


def kept(layer: nn.Module, inputs: Tensor) -> int:
    """Bytes that a pass forward leaves behind: its outputs, and what it keeps for the gradients, without inputs and parameters."""
    with Made() as made:
        outputs = layer(inputs)
    left = made.left()
    del outputs
    return left


def memories(case: Case) -> dict[str, int | None]:
    """`memory_of_a_pass` of every layer, None where there is no room; on a processor each in a fresh process."""
    found = {}
    for name in case.layers:
        if case.device == "cuda":
            try:
                found[name] = memory_of_a_pass(case, name)
            except torch.OutOfMemoryError:
                found[name] = None
            continue
        command = [sys.executable, "-m", "cffbook.speed", "--memory", name, "--case", case.name]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        # A process that the system has ended for its memory leaves none to report.
        found[name] = json.loads(done.stdout) if done.returncode == 0 else None
    return found


def fitting(case: Case, taken: Mapping[str, int | None]) -> Case:
    """The case with the layers alone that a GPU has room for, by what they have taken.

    Raises:
        RuntimeError: the first one has none, by which all others are divided.
    """
    if case.device == "cpu":  # where the system may not tell
        return case
    layers = tuple(layer for layer in case.layers if taken[layer] is not None)
    if case.layers[0] not in layers:
        raise RuntimeError(f"expected {case.layers[0]!r} to fit into the memory of the GPU, got none left in {case.name}: choose a smaller case")
    return replace(case, layers=layers, once=tuple(layer for layer in case.once if layer in layers))


def run(case: Case) -> Comparison:
    """Measure a case.

    Raises:
        RuntimeError: a layer does not agree with the definition, there is no GPU for the case, or none that has room for its first layer.
    """
    require_device(case.device)
    started, taken = datetime.now(UTC).isoformat(timespec="seconds"), memories(case)  # while this process has little yet
    case = fitting(case, taken)
    return Comparison(
        name=case.name, case=json.loads(json.dumps(asdict(case))), seconds=clocks(case), memory=taken, limits=limits(case.device),
        machine=facts.machine(torch.device(case.device)), versions=facts.versions(), git=facts.commit(), started=started,
    )  # fmt: skip
