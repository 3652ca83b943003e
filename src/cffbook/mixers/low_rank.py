"""Attention of low rank: sequences summed up before the softmax, matrices of weights that no sample decides.

Source: Wang et al. 2020 (Linformer), Xiong et al. 2021 (Nyström), Tay et al. 2020 (Synthesizer).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from cffbook.mixers.attention import HeadMixer, refuse_causal
from cffbook.recurrence import blank_padding, real


def check_length(time: int, length: int, who: str) -> None:
    """Raise if a sequence is longer than the positions that a mixer has parameters for."""
    if time > length:
        raise ValueError(f"{who} has parameters for {length} samples, got a sequence of {time}: raise length in MixerOptions")


class Linformer(HeadMixer):
    """Attention to `rank` learned sums over all keys and over all values, the same weights for both and for all heads.

    Args:
        d_model: width of inputs and outputs.
        length: samples of the longest sequence.
        rank: number of sums.
        heads: number of heads; divides d_model.
        causal: refused: every sum is over all samples.
    """

    def __init__(self, d_model: int, length: int, rank: int = 16, heads: int = 2, causal: bool = False):
        super().__init__(d_model, heads)
        refuse_causal(causal, "linformer", "its sums are over the whole sequence")
        self.sums = nn.Parameter(torch.empty(length, rank).uniform_(-1, 1) * rank**-0.5)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, *, state: Any, lengths: Tensor | None) -> tuple[Tensor, None]:
        """softmax(q (E^T k)^T / sqrt(d)) (E^T v)."""
        check_length(query.shape[2], len(self.sums), "linformer")
        sums = self.sums[: query.shape[2]].expand(len(query), -1, -1)
        key, value = (torch.einsum("bhtd,btr->bhrd", part, blank_padding(sums, lengths)) for part in (key, value))
        return scaled_dot_product_attention(query, key, value), None


class Nystrom(HeadMixer):
    """Nyström's approximation of softmax attention from means of neighbouring samples, its landmarks::

        y = s(q k~^T) pinv(s(q~ k~^T)) s(q~ k^T) v + conv(v)                                       (nystrom)

    Args:
        d_model: width of inputs and outputs.
        landmarks: number of landmarks; a shorter sequence has as many as samples.
        heads: number of heads; divides d_model.
        causal: refused: every landmark sees all samples.
        kernel: odd number of samples of the convolution of values.
        iterations: steps of the iteration for the pseudo-inverse.
    """

    def __init__(self, d_model: int, landmarks: int = 128, heads: int = 2, causal: bool = False, kernel: int = 33, iterations: int = 6):
        super().__init__(d_model, heads)
        refuse_causal(causal, "nystrom", "its landmarks see the whole sequence")
        self.landmarks, self.iterations = landmarks, iterations
        self.residual = nn.Conv2d(heads, heads, (kernel, 1), padding=(kernel // 2, 0), groups=heads, bias=False)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, *, state: Any, lengths: Tensor | None) -> tuple[Tensor, None]:
        """Equation (nystrom)."""
        batch, _, time, width = query.shape
        counts = torch.full((batch,), time, device=query.device) if lengths is None else lengths.clamp(min=1)
        number = min(self.landmarks, time)
        seen = real(counts, time)
        segment = torch.arange(time, device=query.device) // -(-counts // number)[:, None]
        member = (segment[..., None] == torch.arange(number, device=query.device)) & seen[..., None]  # (B, T, landmarks)
        sizes = member.sum(1)
        weights = member / sizes.clamp(min=1)[:, None]
        near, far = (torch.einsum("bhtd,btm->bhmd", part, weights.to(part.dtype)) for part in (query * width**-0.5, key))
        used, scaled = (sizes > 0)[:, None, None], query * width**-0.5
        left = softmax_over(scaled @ far.transpose(-1, -2), used)
        core = softmax_over(near @ far.transpose(-1, -2), used)
        right = softmax_over(near @ key.transpose(-1, -2), seen[:, None, None])
        # A landmark without samples becomes a block of its own, which leaves the inverse of the others alone.
        core = torch.where(used & used.transpose(-1, -2), core, torch.eye(number, dtype=core.dtype, device=core.device))
        value = blank_padding(value.transpose(1, 2), lengths).transpose(1, 2)
        return left @ (pseudo_inverse(core, self.iterations) @ (right @ value)) + self.residual(value), None


def softmax_over(logits: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over the allowed places of the last axis."""
    return logits.masked_fill(~allowed, -torch.inf).softmax(-1)


def pseudo_inverse(matrix: Tensor, iterations: int) -> Tensor:
    """The pseudo-inverse of matrices `(..., n, n)` with entries of at least 0, by an iteration of third order.

    Source: Razavi et al. 2014, as used by Xiong et al. 2021.
    """
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    scale = matrix.sum(-1).amax(-1) * matrix.sum(-2).amax(-1)
    inverse = matrix.transpose(-1, -2) / scale[..., None, None]
    for _ in range(iterations):
        product = matrix @ inverse
        inverse = 0.25 * inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return inverse


class Synthesizer(HeadMixer):
    """Attention whose logits are parameters, one matrix for each head and the same for every sequence.

    Args:
        d_model: width of inputs and outputs.
        length: samples of the longest sequence.
        rank: of a factorised matrix; None for a whole one, with length x length parameters for each head.
        heads: number of heads; divides d_model.
        causal: no sample attends to a later one; needed to stream.
    """

    def __init__(self, d_model: int, length: int, rank: int | None = None, heads: int = 2, causal: bool = False):
        super().__init__(d_model, heads, causal, parts=1)
        shape = (heads, length, length if rank is None else rank)
        self.logits = nn.Parameter(torch.randn(shape) * shape[-1] ** -0.5)
        self.second = None if rank is None else nn.Parameter(torch.randn(shape))

    def mix(self, value: Tensor, *, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """The same weights for all sequences, normalised over each one's own samples; the state is the values so far."""
        time = value.shape[2]
        value = blank_padding(torch.cat((value, torch.ones_like(value[..., :1])), -1).transpose(1, 2), lengths).transpose(1, 2)
        value = value if state is None else torch.cat((state, value), 2)
        seen = value.shape[2]
        check_length(seen, self.logits.shape[1], "synthesizer")
        rows = self.logits[:, seen - time : seen]
        logits = rows[..., :seen] if self.second is None else rows @ self.second[:, :seen].transpose(-1, -2)
        weights = (logits - logits.detach().amax(-1, keepdim=True)).exp()
        sums = torch.einsum("hts,bhsd->bhtd", weights.tril(seen - time) if self.causal else weights, value)  # one product for all sequences
        return sums[..., :-1] / sums[..., -1:].clamp(min=torch.finfo(sums.dtype).tiny), value
