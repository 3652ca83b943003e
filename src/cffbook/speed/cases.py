"""What is compared with what: layers by name, and the sizes at which they run side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from cffbook import mixers
from cffbook._optional import require
from cffbook.acceleration import accelerate
from cffbook.flipflop import FlipFlop, NearCritical
from cffbook.memory import MemoryLayer
from cffbook.solver import SemiImplicitEuler
from cffbook.training.checks import check_known
from cffbook.transformer import Body, Encoder

SMOKE = "smoke"  # shows in seconds that the line works, and nothing about speed


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

    def __post_init__(self) -> None:
        for layer in self.layers:
            check_known("layer", layer, layers())
        for layer in self.once:
            check_known("layer that runs once", layer, self.layers)

    @property
    def name(self) -> str:
        """Readable, and the same for the same case."""
        kind = "train" if self.backward else "run"
        return f"{self.group}-d{self.d_model}-b{self.batch}-t{self.time}-{kind}-{self.threads}"


def memory(d: int, pairs: int, scheme: str = "set_reset", kind: str = "steered", unfolds: int = 1, backend: str = "fused_cpu") -> MemoryLayer:
    """A memory layer whose backend is named, so that nothing else can run."""
    return MemoryLayer(d, FlipFlop(pairs, scheme, kind, solver=SemiImplicitEuler(unfolds), init=NearCritical()), backend=backend)


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


def encoder(name: str) -> Callable[[int], nn.Module]:
    """A whole body of two blocks, with both directions of time."""
    options = mixers.MixerOptions(flip_flops=32, heads=2)
    return lambda d: Encoder(lambda width: mixers.build(name, width, options), Body(d_model=d, layers=2, d_ff=2 * d))


def layers() -> Mapping[str, Callable[[int], nn.Module]]:
    """Layers by name; each is made from its width and called with `(batch, time, width)`."""
    return {
        "memory": lambda d: memory(d, d),
        "memory, plain, six unfolds": lambda d: memory(d, d, "shared", "plain", 6),
        "memory, half as many flip-flops": lambda d: memory(d, d // 2),  # as in the evaluation's rows
        "memory, as many neurons, six unfolds": lambda d: memory(d, d // 2, "shared", "plain", 6),
        "memory, sequential": lambda d: memory(d, d, backend="sequential"),
        "memory, plain, six unfolds, sequential": lambda d: memory(d, d, "shared", "plain", 6, "sequential"),
        "lstm": lambda d: nn.LSTM(d, d, batch_first=True), "gru": lambda d: nn.GRU(d, d, batch_first=True),
        "attention": mixer("attention"), "linear": mixer("linear"), "min_gru": mixer("min_gru"), "state_space": mixer("state_space"),
        "ncps LTC": ncps(False, False), "ncps LTC, accelerated": ncps(False, True),
        "ncps NCP": ncps(True, False), "ncps NCP, accelerated": ncps(True, True),
        "memory transformer": encoder("memory"), "attention transformer": encoder("attention"),
    }  # fmt: skip


def build(layer: str, d_model: int, seed: int = 0) -> nn.Module:
    """A layer by name, its weights drawn from a seed."""
    check_known("layer", layer, layers())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return layers()[layer](d_model)


def cases() -> tuple[Case, ...]:
    """All comparisons."""
    recurrent = ("memory", "memory, plain, six unfolds", "lstm", "gru")
    ours = ("memory", "memory, plain, six unfolds", "memory, half as many flip-flops")
    every = (*ours, "lstm", "gru", "attention", "linear", "min_gru", "state_space")
    return (
        *(Case("recurrent", d, batch, time, recurrent) for d in (64, 128) for batch in (8, 32) for time in (1024, 4096)),
        Case("time", 128, 8, 256, (*every, "ncps LTC"), rounds=3),  # at four times as many samples it does not fit into memory
        *(Case("time", 128, 8, time, every, rounds=3) for time in (1024, 4096)),
        Case("time", 128, 8, 16_384, (*ours, "lstm", "attention", "linear", "min_gru"), rounds=2),
        Case("ncps", 128, 32, 256, ("memory, as many neurons, six unfolds", "ncps LTC"), once=("ncps LTC",)),  # 20 GB
        Case("ncps", 128, 16, 256, ("memory, as many neurons, six unfolds", "ncps LTC"), rounds=3),  # for machines without
        Case("accelerate", 64, 32, 256, ("ncps LTC, accelerated", "ncps LTC")),
        Case("accelerate_ncp", 64, 32, 256, ("ncps NCP, accelerated", "ncps NCP")),
        Case("definition", 64, 8, 512, ("memory", "memory, sequential"), rounds=3),
        Case("definition_six", 64, 8, 512, ("memory, plain, six unfolds", "memory, plain, six unfolds, sequential"), rounds=3),
        *(Case("threads", 128, 32, 4096, ("memory", "memory, plain, six unfolds"), threads=threads) for threads in (1, 2)),
        Case("forward", 128, 32, 4096, ("memory", "memory, plain, six unfolds"), threads=1, backward=False),
        *(Case("transformer", 64, 8, time, ("memory transformer", "attention transformer"), rounds=3) for time in (512, 2048, 8192)),
        Case("transformer", 64, 2, 16_384, ("memory transformer", "attention transformer"), rounds=2),
        Case("long", 64, 1, 1_000_000, ("memory",), rounds=2),
        Case(SMOKE, 16, 2, 64, ("memory", "memory, sequential"), threads=1, rounds=3),
    )


def groups() -> tuple[str, ...]:
    """The groups of the cases, in their order."""
    return tuple(dict.fromkeys(case.group for case in cases()))
