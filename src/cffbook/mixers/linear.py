"""Attention in linear time: the softmax replaced by a product of features φ::

    y_i = Σ_j φ(q_i) φ(k_j) v_j / Σ_j φ(q_i) φ(k_j)                                               (kernel)

Source: Katharopoulos et al. 2020 (φ = elu + 1); Choromanski et al. 2021 (FAVOR+, the Performer: random features whose
product has the softmax's exponential as its mean).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, pad

from cffbook.mixers.attention import HeadMixer
from cffbook.recurrence import blank_padding

CHUNK = 64  # samples mixed by one product of matrices in the causal form


class EluFeatures(nn.Module):
    """φ(x) = elu(x) + 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Features `(..., width)`, all positive."""
        return elu(x) + 1


class RandomFeatures(nn.Module):
    """φ(x) = exp(W x / d^(1/4) - |x|^2 / (2 sqrt(d)) ) / sqrt(features), W orthogonal in blocks, its rows as long as Gaussian ones.

    Args:
        width: values of a query or key.
        features: number of features.
        offset: added to each exponential, so that no sum of them is 0.
    """

    def __init__(self, width: int, features: int, offset: float = 1e-6):
        super().__init__()
        blocks, upper = torch.linalg.qr(torch.randn(-(-features // width), width, width))
        # The factorisation chooses signs unevenly, and the mean of the product would be off: a positive diagonal evens them.
        rows = (blocks * upper.diagonal(dim1=-2, dim2=-1).sign()[:, None]).transpose(1, 2).flatten(0, 1)[:features]
        self.register_buffer("projection", rows * torch.randn(features, width).norm(dim=1, keepdim=True))
        self.offset = offset

    def forward(self, x: Tensor, query: bool = False) -> Tensor:
        """Features `(..., features)`; those of a query up to a factor of its own, which the quotient in (kernel) cancels."""
        x = x * x.shape[-1] ** -0.25
        products, scale = x @ self.projection.T, len(self.projection) ** -0.5
        # A query's squared length is a factor of its own, as is the largest of its exponentials, which would be too large a number.
        # A key's exponent is at most half of the squared length of W's row: it needs no shift, which would see the future.
        shift = products.detach().amax(-1, keepdim=True) if query else x.square().sum(-1, keepdim=True) / 2
        return (products - (shift - math.log(scale))).exp() + self.offset * scale


class KernelAttention(HeadMixer):
    """Equation (kernel); causal and streaming with a state `(batch, heads, features, width + 1)` that does not grow.

    Args:
        d_model: width of inputs and outputs.
        heads: number of heads; divides d_model.
        causal: no sample attends to a later one.
        features: number of random features of FAVOR+; None for elu + 1.
    """

    def __init__(self, d_model: int, heads: int = 2, causal: bool = False, features: int | None = None):
        super().__init__(d_model, heads, causal)
        self.features = EluFeatures() if features is None else RandomFeatures(d_model // heads, features)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, *, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """Sums over all samples, or over those up to each one if causal."""
        query = self.features(query, query=True) if isinstance(self.features, RandomFeatures) else self.features(query)
        key = blank_padding(self.features(key).transpose(1, 2), lengths).transpose(1, 2)
        value = torch.cat((value, torch.ones_like(value[..., :1])), -1)  # the last column sums up the denominator
        if self.causal:
            sums, state = causal_sums(query, key, value, state)
        else:
            sums, state = query @ (key.transpose(-1, -2) @ value), None
        return sums[..., :-1] / sums[..., -1:].clamp(min=1e-12), state


def causal_sums(query: Tensor, key: Tensor, value: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Σ_{j <= i} (q_i k_j) v_j, and the sum over j of k_j v_j with that before the first sample: chunk by chunk."""
    time, size = query.shape[2], min(CHUNK, query.shape[2])
    query, key, value = (pad(part, (0, 0, 0, -time % size)).unflatten(2, (-1, size)) for part in (query, key, value))
    whole = key.transpose(-1, -2) @ value  # (B, heads, chunks, features, width + 1)
    after = whole.cumsum(2) if state is None else whole.cumsum(2) + state[:, :, None]
    sums = (query @ key.transpose(-1, -2)).tril() @ value + query @ (after - whole)
    return sums.flatten(2, 3)[:, :, :time], after[:, :, -1]
