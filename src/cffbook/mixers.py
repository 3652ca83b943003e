"""Mixers by name: the memory layer and what it is compared with, all behind the same call::

    mixer(x, state=None, elapsed=1.0, lengths=None) -> (y, state)          x, y (batch, time, d_model)

Sources: Vaswani et al. 2017 (attention), Hochreiter and Schmidhuber 1997 (LSTM), Chung et al. 2014 (GRU).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from cffbook.flipflop import FlipFlop, NearCritical
from cffbook.memory import MemoryLayer, reversal
from cffbook.norm_preserving import NormPreservingRNN
from cffbook.recurrence import blank_padding, real
from cffbook.solver import SemiImplicitEuler
from cffbook.wiring import Wiring, tiles


@dataclass(frozen=True)
class MixerOptions:
    """What a mixer may be told; each takes what it knows.

    Args:
        causal: no sample sees a later one. Attention masks, recurrent mixers run forward only; else in both directions.
        heads: attention heads.
        hidden: width of a recurrent mixer's state over both directions, None for d_model.
        flip_flops: number of CFFs of the memory layer.
        tile: size of its tiles of laterally coupled CFFs; 0 for none.
        scheme, sensory, self_polarity, unfolds: see `FlipFlop`.
        readout, lateral: see `MemoryLayer`.
        slowest: see `NearCritical`.
        wiring: lateral synapses in place of tiles.
    """

    causal: bool = False
    heads: int = 2
    hidden: int | None = None
    flip_flops: int = 32
    tile: int = 0
    scheme: str = "set_reset"
    sensory: str = "steered"
    self_polarity: int = -1
    unfolds: int = 1
    readout: str = "one"
    lateral: str = "presynaptic"
    slowest: float = 100.0
    wiring: Wiring | None = field(default=None, compare=False)


class Attention(nn.Module):
    """Multi-head self-attention on `scaled_dot_product_attention`.

    Args:
        d_model: width of inputs and outputs.
        heads: number of heads; divides d_model.
        causal: no sample attends to a later one; needed to stream.
    """

    def __init__(self, d_model: int, heads: int = 2, causal: bool = False):
        super().__init__()
        if d_model % heads:
            raise ValueError(f"heads must divide d_model, got {heads} and {d_model}: change one of them")
        self.heads, self.causal = heads, causal
        self.query_key_value = nn.Linear(d_model, 3 * d_model)
        self.output = nn.Linear(d_model, d_model)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Outputs `(batch, time, d_model)` and the cache of keys and values, which grows with time; None with `lengths`.

        Raises:
            ValueError: a cache without causal attention, padding together with a cache, or elapsed times.
        """
        refuse_elapsed(elapsed, "attention")
        if state is not None and (not self.causal or lengths is not None):
            raise ValueError("attention continues from a cache only when causal and without lengths: use causal=True and full batches")
        query, key, value = self.query_key_value(blank_padding(x, lengths)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if state is not None:
            key, value = torch.cat((state[0], key), 2), torch.cat((state[1], value), 2)
        mask, causal = self._mask(x, key.shape[2], lengths)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return blank_padding(self.output(mixed.transpose(1, 2).flatten(2)), lengths), (key, value) if lengths is None else None

    def _mask(self, x: Tensor, seen: int, lengths: Tensor | None) -> tuple[Tensor | None, bool]:
        time = x.shape[1]
        if lengths is None and (seen == time or not self.causal):
            return None, self.causal
        mask = torch.ones(time, seen, dtype=torch.bool, device=x.device)
        if self.causal:
            mask = mask.tril(seen - time)
        if lengths is None:
            return mask, False
        # A sequence of length 0 keeps its first key, so that no softmax is over nothing; its outputs are blanked.
        return mask & real(lengths.clamp(min=1), time)[:, None, None], False


class Recurrent(nn.Module):
    """A recurrent layer with a projection to d_model; both directions run side by side.

    Args:
        d_model: width of inputs and outputs.
        make: makes a recurrent module `(inputs, hidden) -> module`, called `module(x, state) -> (h, state)`.
        hidden: width of the state over both directions.
        bidirectional: half of the state runs backwards in time.
    """

    def __init__(self, d_model: int, make: Callable[[int, int], nn.Module], hidden: int, bidirectional: bool):
        super().__init__()
        directions = 2 if bidirectional else 1
        if hidden % directions:
            raise ValueError(f"hidden must be even for both directions, got {hidden}: half of it runs backwards")
        self.directions = nn.ModuleList(make(d_model, hidden // directions) for _ in range(directions))
        self.output = nn.Linear(hidden, d_model)

    def forward(
        self, x: Tensor, state: Any = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Outputs `(batch, time, d_model)` and the forward state, None where `lengths` say that padding is in it.

        Raises:
            ValueError: elapsed times, or a state for both directions.
        """
        refuse_elapsed(elapsed, "a recurrent layer")
        if state is not None and len(self.directions) == 2:
            raise ValueError("a bidirectional layer cannot continue from a state, it needs the whole sequence: use causal=True")
        x = blank_padding(x, lengths)
        hidden, state = self.directions[0](x, state)
        if len(self.directions) == 2:
            order = reversal(x.shape[0], x.shape[1], lengths, x.device)[..., None]
            backward, _ = self.directions[1](x.gather(1, order.expand_as(x)))
            hidden = torch.cat((hidden, backward.gather(1, order.expand_as(backward))), -1)
        return blank_padding(self.output(hidden), lengths), state if lengths is None else None


def refuse_elapsed(elapsed: Tensor | float, who: str) -> None:
    """Raise unless every sample is one apart: only memory and LTC layers know elapsed times."""
    if torch.is_tensor(elapsed) or elapsed != 1.0:
        raise ValueError(f"{who} does not know elapsed times, got elapsed other than 1.0: give them as a feature, or use a memory layer")


def memory(d_model: int, options: MixerOptions) -> MemoryLayer:
    """The memory layer."""
    pairs = options.flip_flops
    flip_flops = FlipFlop(
        pairs, options.scheme, options.sensory, options.self_polarity, SemiImplicitEuler(options.unfolds), NearCritical(options.slowest)
    )
    wiring = options.wiring
    if wiring is None and options.tile:
        wiring = tiles(pairs if options.causal else pairs // 2, options.tile)
    return MemoryLayer(d_model, flip_flops, wiring, options.lateral, options.readout, bidirectional=not options.causal)


def attention(d_model: int, options: MixerOptions) -> Attention:
    """Full self-attention."""
    return Attention(d_model, options.heads, options.causal)


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


def _recurrent(d_model: int, options: MixerOptions, make: Callable[[int, int], nn.Module]) -> Recurrent:
    return Recurrent(d_model, make, options.hidden or d_model, bidirectional=not options.causal)


def known() -> dict[str, Callable[[int, MixerOptions], nn.Module]]:
    """The mixers by name."""
    return {"memory": memory, "attention": attention, "lstm": lstm, "gru": gru, "rnn": rnn, "norm_preserving": norm_preserving}


def build(name: str, d_model: int, options: MixerOptions | None = None) -> nn.Module:
    """The mixer of this name.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in known():
        raise ValueError(f"unknown mixer {name!r}: choose one of {', '.join(known())}")
    return known()[name](d_model, options or MixerOptions())
