"""One function per table row: what stands in attention's place, at the budget that its tier has for every row."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cffbook.experiment.budgets import TIERS, tiers
from cffbook.experiment.probes import body_of_held
from cffbook.experiment.settings import Settings, override
from cffbook.mixers import MixerOptions, can_be_causal
from cffbook.training.checks import check_known
from cffbook.transformer import Body

ARENA = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
HELD = ("adding", "copying", "selective_copying")
RECURRENT_RATE, ATTENTION_RATE, PUBLISHED_RATE, ALONE_RATE = 3e-3, 1e-3, 1e-4, 1e-2
HELD_RATE = {"adding": 1e-2, "copying": 4e-3, "selective_copying": 1e-2}  # of the memory layer
FRAGMENTS = {"slowest": 10.0, "tile": 8, "unfolds": 2}  # bytes in a row make fragments of words: membranes of a few bytes, and flip-flops that hear their neighbours
SHORT_ATTENTION_RATE = 3e-3  # few updates want a higher one where means are pooled, the longer budget of Text does not; chosen on validation


def base(task: str, tier: str, seed: int, row: str, mixer: str, rate: float) -> Settings:
    """Settings of a row before its own choices: data and budget by task and tier alone.

    Raises:
        ValueError: an unknown tier, or a task without it; the known ones are listed.
    """
    check_known("tier", tier, TIERS)
    budgets = tiers()
    check_known("task", task, {name for name, _ in budgets})
    options, recipe = budgets[task, tier]
    if tier == "full" and task in ARENA and rate == ATTENTION_RATE:
        rate = PUBLISHED_RATE
    brief = tier in ("cpu", "gpu") and task in ARENA and task != "pathx"
    # So few updates are too few to overfit, and drawing what drops out takes a processor a third of its time.
    # ListOps is read at its root, where both directions meet, as the arena's own configuration reads it at a first token.
    pooling = "first" if brief and task == "listops" else "mean"
    body = Body(d_model=64, layers=4 if brief and tier == "gpu" else 2, d_ff=128, dropout=0.0 if brief and tier == "cpu" else 0.1,
                standardise=brief and pooling == "mean", spread=0.2 if brief else None)  # fmt: skip
    if task in HELD:
        # A mean over time would add numbers up without a memory, and a layer that runs backwards would see the marks the other way.
        body, pooling = body_of_held(task), "last"
        rate = HELD_RATE[task] if mixer == "memory" else rate
    if brief and pooling == "mean" and rate == ATTENTION_RATE and (task, tier) != ("text", "cpu"):
        rate = SHORT_ATTENTION_RATE
    told = MixerOptions(causal=task in HELD and can_be_causal(mixer))
    return Settings(task, row, mixer, replace(recipe, learning_rate=rate), seed, tier, options, body, told, pooling)


def remembering(task: str, tier: str, seed: int, row: str, **options: Any) -> Settings:
    """A row of the memory layer: the learning rate of recurrent mixers, and in the arena's tasks what its search has found.

    That is lines that swing widely from the start, and capacitances up to the length of its sequences: at tier ``cpu`` more
    on ListOps and less on Text, and where a value has to be held, a hundred times that. Copying is to write one latch of many,
    at one place of ten: there 112 latch from the start, behind closed gates that wide lines open, with capacitances of places in a list.
    """
    settings = base(task, tier, seed, row, "memory", RECURRENT_RATE)
    found = {"drive": 3.0, "slowest": 1_000.0 if task in ARENA else 100_000.0} if task in ARENA + HELD else {}
    if task == "copying":
        found = {"drive": 8.0, "slowest": 30.0, "criticality": 1.5, "closed": 3.0, "flip_flops": 112, "unfolds": 2}
    if task == "listops" and tier == "cpu":
        # What an operator's arguments come to is held over hundreds of samples, and how deep an expression is over all of them:
        # slow membranes, behind gates that let little through until they are opened.
        found = {**found, "slowest": 10_000.0, "closed": 3.0}
    if task == "text" and tier == "cpu":
        found = {**found, **FRAGMENTS}
    if task == "image" and tier in ("cpu", "gpu"):
        # One unfold was too few there: a pair was found chaotic under constant lines, and gradients exploded. Positions, which say
        # in which column a pixel is, helped at tier gpu alone. Both chosen on validation.
        settings, found = replace(settings, positions=tier == "gpu"), {**found, "unfolds": {"cpu": 2, "gpu": 3}[tier]}
    return replace(settings, mixer_options=replace(settings.mixer_options, **{**found, **options}))


def memory(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """The memory layer of 32 steered CFFs or more, half of them backwards in time, with fewer parameters than attention.

    They are independent and one potential of each is read out. In the arena's tasks there is more: both potentials at tier ``cpu``,
    64 CFFs on a GPU; at tier ``cpu`` ListOps and Image, where more of them help, have 56, Text and retrieval 48, in tiles of eight with lateral synapses.
    """
    several = {"listops": 56, "image": 56, "text": 48, "retrieval": 48}.get(task, 32)
    more = {"cpu": {"readout": "both", "flip_flops": several}, "gpu": {"flip_flops": 64}}.get(tier, {}) if task in ARENA else {}
    if task == "retrieval" and tier == "cpu":
        more = {**more, **FRAGMENTS}
    return remembering(task, tier, seed, "memory", **more)


def memory_both(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """As `memory`, with both potentials of each CFF read out: on a GPU an eighth more parameters than attention has in its place."""
    more = {"flip_flops": 64} if tier == "gpu" and task in ARENA else {}
    return remembering(task, tier, seed, "memory_both", readout="both", **more)


def memory_plain(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """As `memory`, with plain sensory synapses: the set/reset latch of the proposal."""
    return remembering(task, tier, seed, "memory_plain", sensory="plain")


def memory_tiles(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """As `memory`, with lateral synapses inside tiles of eight CFFs."""
    return remembering(task, tier, seed, "memory_tiles", tile=8)


def memory_small(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """As `memory` at three quarters of the width (half of it on a GPU), both potentials read out, of half as many CFFs as channels.

    On Text at tier ``cpu`` lateral synapses couple all twelve of a direction.
    """
    width = 32 if tier == "gpu" and task in ARENA else 48  # of less than half of the transformer's parameters
    tile = {"tile": 12} if (task, tier) == ("text", "cpu") else {}
    settings = remembering(task, tier, seed, "memory_small", flip_flops=width // 2, readout="both", **tile)
    return replace(settings, body=replace(settings.body, d_model=width, d_ff=2 * width))


def alone(task: str, tier: str, seed: int, row: str, **options: Any) -> Settings:
    """One layer of 24 fast CFFs with two unfolds, forwards in time, and nothing beside it: no norm, no residual stream, no MLP.

    What is to be tracked is then held by flip-flops or not at all. They are fast, as a state changes with every sample.
    """
    settings = base(task, tier, seed, row, "memory", ALONE_RATE)
    body = Body(d_model=16, layers=1, block="bare")
    return replace(settings, body=body, mixer_options=MixerOptions(causal=True, unfolds=2, slowest=1.0, **{"flip_flops": 24, **options}))


def alone_plain(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """One layer of 24 fast CFFs alone, with the proposal's plain sensory synapses and no lateral ones."""
    return alone(task, tier, seed, "alone_plain", sensory="plain")


def alone_steered(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """One layer of 24 fast CFFs alone, with steered sensory synapses and no lateral ones: Jacobians of 2 x 2."""
    return alone(task, tier, seed, "alone_steered")


def alone_coupled(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """One layer of 24 fast CFFs alone, as `alone_plain`, with lateral synapses between all of them."""
    return alone(task, tier, seed, "alone_coupled", sensory="plain", tile=24, strength=1.0)


def alone_wide(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """As `alone_coupled`, of 64 CFFs, every one of which hears all others: for groups of many elements."""
    settings = alone(task, tier, seed, "alone_wide", sensory="plain", tile=64, strength=1.0, flip_flops=64)
    return replace(settings, body=replace(settings.body, d_model=32))


def attending(task: str, tier: str, seed: int, mixer: str, **options: Any) -> Settings:
    """A row of the family of attention: the learning rate that attention has, and learned positions.

    Where tests are longer than what is trained on there are no positions: later ones would never have been learned, and
    causal attention knows the order without them (Kazemnejad et al. 2023).
    """
    settings = base(task, tier, seed, mixer, mixer, ATTENTION_RATE)
    positions = not settings.task_options.get("longer")
    return replace(settings, positions=positions, mixer_options=replace(settings.mixer_options, **options))


def attention(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Softmax attention with two heads and learned positions."""
    return attending(task, tier, seed, "attention")


def local(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Attention inside blocks of 50 samples and to the blocks beside them."""
    return attending(task, tier, seed, "local")


def sparse(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Attention inside blocks of 50 samples and to the last ten of every block."""
    return attending(task, tier, seed, "sparse")


def longformer(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Attention along a band of 512 samples."""
    return attending(task, tier, seed, "longformer")


def bigbird(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Attention in blocks of 64 samples: neighbours, three random blocks, the first block global."""
    return attending(task, tier, seed, "bigbird", block=64)


def linformer(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Attention to 16 learned sums over all samples."""
    return attending(task, tier, seed, "linformer")


def linear(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Linear attention with elu + 1 in place of the softmax."""
    return attending(task, tier, seed, "linear")


def performer(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Linear attention with 256 random features of the softmax."""
    return attending(task, tier, seed, "performer")


def synthesizer_random(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Attention whose weights are a learned matrix, the same for every sequence."""
    return attending(task, tier, seed, "synthesizer_random")


def synthesizer_factorised(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """As `synthesizer_random`, the matrix a product of two of rank 32."""
    return attending(task, tier, seed, "synthesizer_factorised", rank=32)


def nystrom(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Attention by Nyström's approximation from 128 landmarks."""
    return attending(task, tier, seed, "nystrom")


def reformer(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Attention inside buckets of about ten hashed samples, by the package reformer-pytorch."""
    return attending(task, tier, seed, "reformer", block=10)


def sinkhorn(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Attention to softly sorted blocks of 50 samples, sorted by the package sinkhorn-transformer."""
    return attending(task, tier, seed, "sinkhorn")


def lstm(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """LSTM, half of it backwards in time."""
    return base(task, tier, seed, "lstm", "lstm", RECURRENT_RATE)


def gru(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """GRU, half of it backwards in time."""
    return base(task, tier, seed, "gru", "gru", RECURRENT_RATE)


def rnn(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """A plain recurrent layer with tanh, half of it backwards in time."""
    return base(task, tier, seed, "rnn", "rnn", RECURRENT_RATE)


def norm_preserving(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """A recurrent layer with an orthogonal matrix, half of it backwards in time."""
    return base(task, tier, seed, "norm_preserving", "norm_preserving", RECURRENT_RATE)


def min_gru(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """A gated recurrent unit whose gates do not see its state, half of it backwards in time."""
    return base(task, tier, seed, "min_gru", "min_gru", RECURRENT_RATE)


def state_space(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """A diagonal linear state-space layer, 16 complex modes a channel, read in both directions."""
    return base(task, tier, seed, "state_space", "state_space", RECURRENT_RATE)


def ltc(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Fully connected liquid time-constant neurons, six unfolds a sample, half of the 32 backwards in time."""
    settings = base(task, tier, seed, "ltc", "ltc", RECURRENT_RATE)
    return replace(settings, mixer_options=replace(settings.mixer_options, hidden=32, unfolds=6))


def ncp(task: str, tier: str = "cpu", seed: int = 0) -> Settings:
    """Liquid time-constant neurons wired as neural circuit policies, six unfolds a sample, half of the 64 backwards in time."""
    settings = base(task, tier, seed, "ncp", "ncp", RECURRENT_RATE)
    return replace(settings, mixer_options=replace(settings.mixer_options, unfolds=6))


def rows() -> dict[str, Callable[..., Settings]]:
    """The functions of the table rows by name."""
    every = (memory, memory_both, memory_plain, memory_tiles, memory_small, alone_plain, alone_steered, alone_coupled, alone_wide,
             attention, lstm, gru, rnn, norm_preserving, min_gru, state_space, ltc, ncp, local,
             sparse, longformer, bigbird, linformer, linear, performer, synthesizer_random, synthesizer_factorised, nystrom, reformer, sinkhorn)  # fmt: skip
    return {function.__name__: function for function in every}


def settings(row: str, task: str, tier: str = "cpu", seed: int = 0, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings of a row by its name, with overrides by name.

    Raises:
        ValueError: an unknown row, task, tier or setting; the known ones are listed.
        TypeError: a value of the wrong type.
    """
    check_known("row", row, rows())
    return override(rows()[row](task, tier, seed), overrides or {})
