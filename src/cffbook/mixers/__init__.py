"""Mixers by name: the memory layer and what it is compared with, all behind the same call::

    mixer(x, state=None, elapsed=1.0, lengths=None) -> (y, state)          x, y (batch, time, d_model)

    options       what a mixer may be told                     recurrent     LSTM, GRU, RNN, minGRU, LTC, NCP
    patterns      which sample may attend to which             scan          a linear recurrence in parallel
    attention     softmax attention, full or by pattern        state_space   diagonal linear state-space layer
    linear        features in place of the softmax             adapters      Reformer and Sinkhorn by their packages
    low_rank      Linformer, Nyström, Synthesizer              short_convolution  in front of any of them

A mixer that cannot be causal, or cannot stream, says so when it is asked to.
"""

from collections.abc import Callable

from torch import nn

from cffbook.flipflop import FlipFlop, NearCritical
from cffbook.memory import MemoryLayer
from cffbook.mixers import adapters, low_rank, patterns
from cffbook.mixers.attention import Attention, refuse_elapsed
from cffbook.mixers.linear import KernelAttention
from cffbook.mixers.options import MixerOptions
from cffbook.mixers.recurrent import MinGRU, Recurrent, policy
from cffbook.mixers.short_convolution import ShortConvolution
from cffbook.mixers.state_space import StateSpace
from cffbook.neuron import LTC
from cffbook.norm_preserving import NormPreservingRNN
from cffbook.solver import SemiImplicitEuler
from cffbook.wiring import tiles

__all__ = ["Attention", "KernelAttention", "MinGRU", "MixerOptions", "Recurrent", "ShortConvolution", "StateSpace", "adapted", "build", "can_be_causal",
           "is_bounded", "known", "knows_elapsed", "memory", "refuse_elapsed"]


def memory(d_model: int, options: MixerOptions) -> MemoryLayer:
    """The memory layer."""
    pairs = options.flip_flops
    init = NearCritical(options.slowest, options.criticality, options.closed)
    flip_flops = FlipFlop(pairs, options.scheme, options.sensory, options.self_polarity, SemiImplicitEuler(options.unfolds), init)
    wiring = options.wiring
    if wiring is None and options.tile:
        wiring = tiles(pairs if options.causal else pairs // 2, options.tile)
    return MemoryLayer(d_model, flip_flops, wiring, options.lateral, options.readout, not options.causal,
                       strength=options.strength, drive=options.drive)  # fmt: skip


def attention(d_model: int, options: MixerOptions) -> Attention:
    """Full self-attention."""
    return Attention(d_model, options.heads, options.causal)


def local(d_model: int, options: MixerOptions) -> Attention:
    """Attention inside blocks and to the blocks beside them."""
    return Attention(d_model, options.heads, options.causal, patterns.Local(options.block))


def sparse(d_model: int, options: MixerOptions) -> Attention:
    """Attention inside blocks and to the last samples of all blocks."""
    return Attention(d_model, options.heads, options.causal, patterns.Fixed(options.block, min(options.summary, options.block)))


def longformer(d_model: int, options: MixerOptions) -> Attention:
    """Attention along a band, with some global samples if told."""
    return Attention(d_model, options.heads, options.causal, patterns.Band(options.window, options.global_samples))


def bigbird(d_model: int, options: MixerOptions) -> Attention:
    """Attention to neighbouring, random and global blocks; the first block is global unless told otherwise."""
    shared = options.global_samples or options.block
    return Attention(d_model, options.heads, options.causal,
                     patterns.RandomBlocks(options.block, options.random_blocks, shared, options.causal))  # fmt: skip


def linear(d_model: int, options: MixerOptions) -> KernelAttention:
    """Linear attention with elu + 1."""
    return KernelAttention(d_model, options.heads, options.causal)


def performer(d_model: int, options: MixerOptions) -> KernelAttention:
    """Linear attention with positive orthogonal random features of the softmax."""
    return KernelAttention(d_model, options.heads, options.causal, options.features)


def linformer(d_model: int, options: MixerOptions) -> low_rank.Linformer:
    """Attention to learned sums over the sequence."""
    return low_rank.Linformer(d_model, _length(options, "linformer"), options.rank, options.heads, options.causal)


def nystrom(d_model: int, options: MixerOptions) -> low_rank.Nystrom:
    """Attention by Nyström's approximation from landmarks."""
    return low_rank.Nystrom(d_model, options.landmarks, options.heads, options.causal)


def synthesizer_random(d_model: int, options: MixerOptions) -> low_rank.Synthesizer:
    """Attention whose logits are a learned matrix."""
    return low_rank.Synthesizer(d_model, _length(options, "synthesizer_random"), None, options.heads, options.causal)


def synthesizer_factorised(d_model: int, options: MixerOptions) -> low_rank.Synthesizer:
    """Attention whose logits are a learned product of two thin matrices."""
    return low_rank.Synthesizer(d_model, _length(options, "synthesizer_factorised"), options.rank, options.heads, options.causal)


def reformer(d_model: int, options: MixerOptions) -> adapters.Reformer:
    """Attention inside buckets of hashed samples."""
    return adapters.Reformer(d_model, options.heads, options.block, options.hashes, options.causal)


def sinkhorn(d_model: int, options: MixerOptions) -> adapters.Sinkhorn:
    """Attention to softly sorted blocks."""
    return adapters.Sinkhorn(d_model, options.heads, options.block, options.causal)


def lstm(d_model: int, options: MixerOptions) -> Recurrent:
    """A long short-term memory layer."""
    return _recurrent(d_model, options, lambda inputs, hidden: nn.LSTM(inputs, hidden, batch_first=True))


def gru(d_model: int, options: MixerOptions) -> Recurrent:
    """A gated recurrent unit layer."""
    return _recurrent(d_model, options, lambda inputs, hidden: nn.GRU(inputs, hidden, batch_first=True))


def rnn(d_model: int, options: MixerOptions) -> Recurrent:
    """A plain recurrent layer with tanh."""
    return _recurrent(d_model, options, lambda inputs, hidden: nn.RNN(inputs, hidden, batch_first=True))


def norm_preserving(d_model: int, options: MixerOptions) -> Recurrent:
    """A recurrent layer whose recurrent matrix is orthogonal."""
    return _recurrent(d_model, options, lambda inputs, hidden: NormPreservingRNN(inputs, hidden_size=hidden))


def min_gru(d_model: int, options: MixerOptions) -> Recurrent:
    """A gated recurrent unit whose gates do not see its state."""
    return _recurrent(d_model, options, MinGRU)


def state_space(d_model: int, options: MixerOptions) -> StateSpace:
    """A diagonal linear state-space layer."""
    return StateSpace(d_model, options.modes, options.causal)


def ltc(d_model: int, options: MixerOptions) -> Recurrent:
    """Fully connected liquid time-constant neurons."""
    solver = SemiImplicitEuler(options.unfolds)
    return _recurrent(d_model, options, lambda inputs, hidden: LTC(inputs, hidden, solver), timed=True)


def ncp(d_model: int, options: MixerOptions) -> Recurrent:
    """Liquid time-constant neurons wired as a neural circuit policy."""
    solver = SemiImplicitEuler(options.unfolds)
    return _recurrent(d_model, options, lambda inputs, hidden: LTC(inputs, policy(inputs, hidden), solver), timed=True)


def _recurrent(d_model: int, options: MixerOptions, make: Callable[[int, int], nn.Module], timed: bool = False) -> Recurrent:
    return Recurrent(d_model, make, options.hidden or d_model, not options.causal, timed)


def _length(options: MixerOptions, who: str) -> int:
    if options.length is None:
        raise ValueError(f"{who} has parameters for each position and needs length, got None: set it to the longest sequence's samples")
    return options.length


def known() -> dict[str, Callable[[int, MixerOptions], nn.Module]]:
    """The mixers by name."""
    every = (memory, attention, lstm, gru, rnn, norm_preserving, local, sparse, longformer, bigbird, linformer, linear, performer,
             synthesizer_random, synthesizer_factorised, nystrom, reformer, sinkhorn, min_gru, state_space, ltc, ncp)  # fmt: skip
    return {function.__name__: function for function in every}


def adapted() -> dict[str, str]:
    """The mixers that need a package of the extra `comparators`, and the module they import."""
    return {"reformer": "reformer_pytorch", "sinkhorn": "sinkhorn_transformer"}


def can_be_causal(name: str) -> bool:
    """Whether the mixer of this name can be causal; one that can also streams."""
    return name not in ("linformer", "nystrom", *adapted())


def knows_elapsed(name: str) -> bool:
    """Whether the mixer of this name takes the time since the last sample; others get it as a feature."""
    return name in ("memory", "ltc", "ncp")


def is_bounded(name: str) -> bool:
    """Whether the mixer of this name has parameters for each position, so that no sequence may be longer than told."""
    return name in ("linformer", "synthesizer_random", "synthesizer_factorised")


def build(name: str, d_model: int, options: MixerOptions | None = None) -> nn.Module:
    """The mixer of this name.

    Raises:
        ValueError: the name is unknown, or the mixer cannot be what the options say.
        ImportError: the mixer is of a package that is not installed; the extra that brings it is named.
    """
    if name not in known():
        raise ValueError(f"unknown mixer {name!r}: choose one of {', '.join(known())}")
    options = options or MixerOptions()
    mixer = known()[name](d_model, options)
    return ShortConvolution(mixer, d_model, options.taps) if options.taps > 1 else mixer
