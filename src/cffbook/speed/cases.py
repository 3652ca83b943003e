"""What is compared with what: layers by name, and the sizes at which they run side by side."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cffbook import mixers
from cffbook._optional import require
from cffbook.acceleration import accelerate
from cffbook.flipflop import FlipFlop, NearCritical
from cffbook.memory import MemoryLayer
from cffbook.recurrence import unroll
from cffbook.solver import SemiImplicitEuler
from cffbook.training.checks import check_known
from cffbook.transformer import Body, Encoder
from cffbook.wiring import tiles

SMOKE = "smoke"  # shows in seconds that the line works, and nothing about speed
FUSED = {"cpu": "fused_cpu", "cuda": "fused_gpu"}  # the backend of the memory layers of each device, unless they are called otherwise
SIX = "memory, plain, six unfolds"
ALONE = "flip-flops alone, plain, six unfolds"
LANES = ((4, 1), (64, 1), (64, 16))  # width, which is the number of flip-flops, and batch of what `auto` is to choose for


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        group: what it belongs to, for tables and figures.
        d_model: width of inputs and outputs.
        batch, time: shape of the inputs `(batch, time, d_model)`.
        layers: names of `layers()`; the first one is what the others are divided by.
        threads: threads of the processor.
        rounds: how often each layer runs, all in turn.
        backward: the gradients too, of inputs and parameters.
        once: those of the layers that take too long for more than a single pass in all.
        device: "cpu", or "cuda" for a GPU.
    """

    group: str
    d_model: int
    batch: int
    time: int
    layers: tuple[str, ...]
    threads: int = 2
    rounds: int = 5
    backward: bool = True
    once: tuple[str, ...] = ()
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_known("device", self.device, FUSED)
        for layer in self.layers:
            check_known("layer", layer, layers())
        for layer in self.once:
            check_known("layer that runs once", layer, self.layers)

    @property
    def name(self) -> str:
        """Readable, and the same for the same case."""
        kind = "train" if self.backward else "run"
        return f"{self.group}-d{self.d_model}-b{self.batch}-t{self.time}-{kind}-{self.threads}"


def plain(pairs: int) -> FlipFlop:
    """The proposal's own flip-flops, with six unfolds."""
    return FlipFlop(pairs, "shared", "plain", solver=SemiImplicitEuler(6), init=NearCritical())


def steered(pairs: int) -> FlipFlop:
    """The memory layer's default ones."""
    return FlipFlop(pairs, "set_reset", "steered", solver=SemiImplicitEuler(1), init=NearCritical())


def memory(d: int, flip_flops: FlipFlop, backend: str, tile: int = 0) -> MemoryLayer:
    """A memory layer whose backend is named, so that nothing else can run; coupled inside tiles of a size if that is not 0."""
    return MemoryLayer(d, flip_flops, tiles(flip_flops.pairs, tile) if tile else None, backend=backend)


def mixer(name: str) -> Callable[[int], nn.Module]:
    """A causal mixer of the evaluation, with as wide a state as its inputs."""
    return lambda d: mixers.build(name, d, mixers.MixerOptions(causal=True, heads=4))


def ncps(policy: bool, fused: bool) -> Callable[[int], nn.Module]:
    """The LTC of ncps, fully connected or a neural circuit policy of as many neurons, as it is or accelerated."""

    def make(d: int) -> nn.Module:
        package = require("ncps.torch", extra="test", purpose="a comparison with ncps")
        wirings = require("ncps.wirings", extra="test", purpose="a comparison with ncps")
        layer = package.LTC(d, wirings.AutoNCP(d, d // 4, seed=1) if policy else d)
        return accelerate(layer) if fused else layer

    return make


def encoder(name: str, backend: str) -> Callable[[int], nn.Module]:
    """A whole body of two blocks, with both directions of time; the backend of its memory layers is named."""
    options = mixers.MixerOptions(flip_flops=32, heads=2)

    def make(d: int) -> Encoder:
        body = Encoder(lambda width: mixers.build(name, width, options), Body(d_model=d, layers=2, d_ff=2 * d))
        for each in body.modules():
            if isinstance(each, MemoryLayer):
                each.backend = backend
        return body

    return make


class Alone(nn.Module):
    """Plain flip-flops of six unfolds without the maps around them: one for each of their inputs, one pass over time."""

    def __init__(self, pairs: int, backend: str):
        super().__init__()
        self.cell, self.backend = plain(pairs), backend

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs `(batch, time, pairs)` and the last potentials."""
        return unroll(self.cell, inputs, backend=self.backend, first=True)


class Shortened(nn.Module):
    """A layer whose products are in bfloat16 under autocast, as attention is used on a GPU: what flash attention needs."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> tuple[Tensor, Any]:
        """What the layer returns."""
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return self.layer(inputs)


def layers(device: str = "cpu") -> Mapping[str, Callable[[int], nn.Module]]:
    """Layers by name; each is made from its width and called with `(batch, time, width)`."""
    fused = FUSED[device]
    return {
        "memory": lambda d: memory(d, steered(d), fused), SIX: lambda d: memory(d, plain(d), fused),
        "memory, half as many flip-flops": lambda d: memory(d, steered(d // 2), fused),  # as in the evaluation's rows
        "memory, as many neurons, six unfolds": lambda d: memory(d, plain(d // 2), fused),
        "memory, sequential": lambda d: memory(d, steered(d), "sequential"),
        f"{SIX}, sequential": lambda d: memory(d, plain(d), "sequential"), ALONE: lambda d: Alone(d, fused),
        "memory, basins": lambda d: memory(d, steered(d), "basins"), f"{SIX}, basins": lambda d: memory(d, plain(d), "basins"),
        "memory, tiles of 16": lambda d: memory(d, steered(d), fused, 16),
        "memory, tiles of 16, sequential": lambda d: memory(d, steered(d), "sequential", 16),
        "lstm": lambda d: nn.LSTM(d, d, batch_first=True), "gru": lambda d: nn.GRU(d, d, batch_first=True),
        "attention": mixer("attention"), "attention, bfloat16": lambda d: Shortened(mixer("attention")(d)),
        "linear": mixer("linear"), "min_gru": mixer("min_gru"), "state_space": mixer("state_space"),
        "ncps LTC": ncps(False, False), "ncps LTC, accelerated": ncps(False, True),
        "ncps NCP": ncps(True, False), "ncps NCP, accelerated": ncps(True, True),
        "memory transformer": encoder("memory", fused), "attention transformer": encoder("attention", fused),
    }  # fmt: skip


def build(layer: str, d_model: int, seed: int = 0, device: str = "cpu") -> nn.Module:
    """A layer by name on a device, its weights drawn from a seed, the same ones on any device."""
    check_known("layer", layer, layers())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return layers(device)[layer](d_model).to(device)


def cases() -> tuple[Case, ...]:
    """All comparisons."""
    recurrent = ("memory", SIX, "lstm", "gru")
    ours = ("memory", SIX, "memory, half as many flip-flops")
    every = (*ours, "lstm", "gru", "attention", "linear", "min_gru", "state_space")
    return (
        *(Case("recurrent", d, batch, time, recurrent) for d in (64, 128) for batch in (8, 32) for time in (1024, 4096)),
        Case("time", 128, 8, 256, (*every, "ncps LTC"), rounds=3),  # at four times as many samples it does not fit into memory
        *(Case("time", 128, 8, time, every, rounds=9) for time in (1024, 4096)),
        Case("time", 128, 8, 16_384, (*ours, "lstm", "attention", "linear", "min_gru"), rounds=5),
        Case("ncps", 128, 32, 256, ("memory, as many neurons, six unfolds", "ncps LTC"), once=("ncps LTC",)),  # 20 GB
        Case("ncps", 128, 16, 256, ("memory, as many neurons, six unfolds", "ncps LTC"), rounds=3),  # for machines without
        Case("accelerate", 64, 32, 256, ("ncps LTC, accelerated", "ncps LTC")),
        Case("accelerate_ncp", 64, 32, 256, ("ncps NCP, accelerated", "ncps NCP")),
        Case("definition", 64, 8, 512, ("memory", "memory, sequential"), rounds=3),
        Case("definition_six", 64, 8, 512, (SIX, f"{SIX}, sequential"), rounds=3),
        *(Case("threads", 128, 32, 4096, ("memory", SIX), threads=threads) for threads in (1, 2)),
        Case("forward", 128, 32, 4096, ("memory", SIX), threads=1, backward=False),
        *(Case("transformer", 64, 8, time, ("memory transformer", "attention transformer"), rounds=3) for time in (512, 2048, 8192)),
        Case("transformer", 64, 2, 16_384, ("memory transformer", "attention transformer"), rounds=2),
        Case("long", 64, 1, 1_000_000, ("memory",), rounds=2),
        *_on_a_gpu(),
        Case(SMOKE, 16, 2, 64, ("memory", "memory, sequential"), threads=1, rounds=3),
    )


def _on_a_gpu() -> tuple[Case, ...]:
    """Those of a GPU: a minute in all on one that has 80 GB, and half of one for the last group, which says what `auto` should take."""
    gpu = functools.partial(Case, device="cuda")
    every = ("memory", SIX, "memory, half as many flip-flops", "lstm", "attention", "attention, bfloat16", "linear", "min_gru", "state_space")
    wide, whole = ("memory", SIX, ALONE, "lstm", "attention, bfloat16"), ("memory transformer", "attention transformer")
    ways = ("memory", "memory, basins", SIX, f"{SIX}, basins")
    return (
        *(gpu("gpu", 128, batch, time, every, rounds=3) for batch in (8, 64) for time in (1024, 4096)),
        gpu("gpu", 128, 8, 16_384, every, rounds=2),
        gpu("gpu", 128, 64, 16_384, every, rounds=2, once=("attention",)),
        *(gpu("gpu_wide", 256, 32, time, wide, rounds=3) for time in (4096, 8192)),
        *(gpu("gpu_transformer", 64, 8, time, whole, rounds=3) for time in (2048, 8192)),
        gpu("gpu_definition", 64, 8, 512, ("memory", "memory, sequential"), rounds=3),
        gpu("gpu_definition_six", 64, 8, 512, (SIX, f"{SIX}, sequential"), rounds=3, once=(f"{SIX}, sequential",)),
        gpu("gpu_tiles", 64, 8, 512, ("memory, tiles of 16", "memory, tiles of 16, sequential"), rounds=3),
        gpu("gpu_long", 64, 1, 1_000_000, ("memory, basins", "memory"), rounds=2),
        gpu("gpu_long", 256, 1, 1_000_000, ("memory, basins", "memory"), once=("memory, basins", "memory")),
        # Flip-flops of all sequences: 4, 64 and 1,024.
        *(gpu("gpu_auto", d, batch, 1024, (*ways, "memory, sequential"), rounds=3, once=("memory, sequential",)) for d, batch in LANES),
        *(gpu("gpu_auto", d, batch, 16_384, ways, rounds=3) for d, batch in LANES),
        *(gpu("gpu_auto", d, batch, 131_072, ways, once=ways) for d, batch in LANES),
    )


def groups() -> tuple[str, ...]:
    """The groups of the cases, in their order."""
    return tuple(dict.fromkeys(case.group for case in cases()))
