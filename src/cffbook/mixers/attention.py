"""Softmax attention, full or along a pattern, and the frame of every mixer with queries, keys and values::

    y_i = Σ_j softmax_j(q_i k_j / sqrt(d)) v_j                                                     (attention)

Source: Vaswani et al. 2017.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from cffbook.mixers.patterns import Pattern
from cffbook.recurrence import blank_padding, real
from cffbook.recurrence.checks import as_lengths


def refuse_elapsed(elapsed: Tensor | float, who: str) -> None:
    """Raise unless every sample is one apart: only memory and LTC layers know elapsed times."""
    if torch.is_tensor(elapsed) or elapsed != 1.0:
        raise ValueError(f"{who} does not know elapsed times, got elapsed other than 1.0: give them as a feature, or use a memory layer")


def refuse_causal(causal: bool, who: str, why: str) -> None:
    """Raise if a mixer is asked to be causal that cannot be."""
    if causal:
        raise ValueError(f"{who} cannot be causal, {why}: use causal=False or another mixer")


class HeadMixer(nn.Module):
    """The frame: queries, keys and values by heads, what a subclass does with them in `mix`, heads joined again.

    Args:
        d_model: width of inputs and outputs.
        heads: number of heads; divides d_model.
        causal: no sample attends to a later one; needed to stream.
        parts: maps made of the inputs, 3 for queries, keys and values, 1 for values alone.
    """

    def __init__(self, d_model: int, heads: int, causal: bool = False, parts: int = 3):
        super().__init__()
        if d_model % heads:
            raise ValueError(f"heads must divide d_model, got {heads} and {d_model}: change one of them")
        self.heads, self.causal, self.parts = heads, causal, parts
        self.query_key_value = nn.Linear(d_model, parts * d_model)
        self.output = nn.Linear(d_model, d_model)

    def forward(
        self, x: Tensor, state: Any = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Outputs `(batch, time, d_model)` and the state to continue from; None with `lengths`.

        Raises:
            ValueError: a state without causality, padding together with a state, or elapsed times.
        """
        refuse_elapsed(elapsed, "attention")
        lengths = as_lengths(lengths, *x.shape[:2], x.device)
        if state is not None and (not self.causal or lengths is not None):
            raise ValueError("attention continues from a cache only when causal and without lengths: use causal=True and full batches")
        parts = self.query_key_value(blank_padding(x, lengths)).unflatten(-1, (self.parts, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed, state = self.mix(*parts, state=state, lengths=lengths)
        return blank_padding(self.output(mixed.transpose(1, 2).flatten(2)), lengths), state if lengths is None else None

    def mix(self, *parts: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """Parts, each `(batch, heads, time, width)`, to values of the same shape, and the state after them."""
        raise NotImplementedError


class Attention(HeadMixer):
    """Multi-head self-attention on `scaled_dot_product_attention`; its state is the cache of keys and values.

    Args:
        d_model: width of inputs and outputs.
        heads: number of heads; divides d_model.
        causal: no sample attends to a later one; needed to stream.
        pattern: which sample may see which, None for all.
    """

    def __init__(self, d_model: int, heads: int = 2, causal: bool = False, pattern: Pattern | None = None):
        super().__init__(d_model, heads, causal)
        self.pattern = pattern

    def mix(self, query: Tensor, key: Tensor, value: Tensor, *, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """Equation (attention) over the samples seen so far; the cache grows with time."""
        if state is not None:
            key, value = torch.cat((state[0], key), 2), torch.cat((state[1], value), 2)
        mask, causal = self._mask(query.shape[2], key.shape[2], lengths, query.device)
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal), (key, value)

    def _mask(self, time: int, seen: int, lengths: Tensor | None, device: torch.device) -> tuple[Tensor | None, bool]:
        if self.pattern is None and lengths is None and (seen == time or not self.causal):
            return None, self.causal
        query, key = torch.arange(seen - time, seen, device=device)[:, None], torch.arange(seen, device=device)[None]
        if self.pattern is None:
            mask = (key <= query) if self.causal else torch.ones(1, seen, dtype=torch.bool, device=device)
            # A sequence of length 0 keeps its first key, so that no softmax is over nothing; its outputs are blanked.
            return mask if lengths is None else mask & real(lengths.clamp(min=1), seen)[:, None, None], False
        counts = torch.full((1, 1, 1), seen, device=device) if lengths is None else lengths[:, None, None]
        mask = self.pattern(query, key, counts) & (key < counts)
        # Every sample sees itself, padding too: no softmax is over nothing.
        mask = (mask & (key <= query) if self.causal else mask) | (key == query)
        return mask[:, None], False
