"""Reformer and Sinkhorn attention, by the packages that keep them; the extra `comparators` installs both.

Source: Kitaev et al. 2020 (hashed queries attend inside buckets), Tay et al. 2020 (blocks attend to a learned soft
permutation of blocks). Both draw random numbers in training; in evaluation the hashes are fixed and the sort has no noise.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from cffbook._optional import require
from cffbook.mixers.attention import refuse_causal, refuse_elapsed
from cffbook.recurrence import blank_padding, real
from cffbook.recurrence.checks import as_lengths


class Blockwise(nn.Module):
    """The frame: sequences of the same number of whole blocks run together, each with its own padding alone.

    The packages sort and cut a sequence with its padding; run at its own length it is the same whatever is beside it.
    """

    who, multiple = "", 1

    def forward(
        self, x: Tensor, state: Any = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Outputs `(batch, time, d_model)` and None: there is nothing to continue from.

        Raises:
            ValueError: elapsed times or a state.
        """
        refuse_elapsed(elapsed, self.who)
        if state is not None:
            raise ValueError(f"{self.who} cannot continue from a state, it needs the whole sequence: use a causal mixer")
        batch, time = x.shape[:2]
        lengths = as_lengths(lengths, batch, time, x.device)
        counts = torch.full((batch,), time, device=x.device) if lengths is None else lengths
        whole = -(-counts // self.multiple) * self.multiple
        x, y = blank_padding(x, lengths), torch.zeros_like(x)
        for size in [size for size in whole.unique().tolist() if size]:
            group = (whole == size).nonzero()[:, 0]
            part = pad(x[group, : min(size, time)], (0, 0, 0, max(0, size - time)))
            with self._random(x.device):
                mixed = self.mix(part, real(counts[group], size))[:, :time]
            y = y.index_put((group,), pad(mixed, (0, 0, 0, time - mixed.shape[1])).to(y.dtype))
        return blank_padding(y, counts), None

    def mix(self, x: Tensor, mask: Tensor) -> Tensor:
        """Whole blocks `(batch, time, d_model)`, of which `mask` `(batch, time)` are real samples."""
        raise NotImplementedError

    def _random(self, device: torch.device) -> AbstractContextManager:
        return nullcontext() if self.training else _Seeded(device)


class _Seeded(AbstractContextManager):
    """The global generators set to a fixed seed inside, as they were outside."""

    def __init__(self, device: torch.device):
        self.kept = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])

    def __enter__(self) -> None:
        self.kept.__enter__()
        torch.manual_seed(0)

    def __exit__(self, *error: object) -> None:
        self.kept.__exit__(*error)


class Reformer(Blockwise):
    """Locality-sensitive hashing attention of the package reformer-pytorch.

    Args:
        d_model: width of inputs and outputs.
        heads: number of heads; divides d_model.
        block: samples of a bucket.
        hashes: rounds of hashing.
        causal: refused.
    """

    who = "reformer"

    def __init__(self, d_model: int, heads: int = 2, block: int = 10, hashes: int = 1, causal: bool = False):
        super().__init__()
        refuse_causal(causal, self.who, "its hashes sort the whole sequence")
        package = require("reformer_pytorch", extra="comparators", purpose="the mixer reformer")
        self.multiple = 2 * block
        self.attention = package.LSHSelfAttention(d_model, heads, bucket_size=block, n_hashes=hashes, full_attn_thres=0)

    def mix(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.attention(x, input_mask=mask)


class Sinkhorn(Blockwise):
    """Sinkhorn attention with the sorting operators of the package sinkhorn-transformer.

    Its whole layer is not used: in version 0.11.4 a block sees the sorted blocks' keys in place of their values, and by
    default the sort is no Sinkhorn iteration.

    Args:
        d_model: width of inputs and outputs.
        heads: number of heads; divides d_model.
        block: samples of a block.
        causal: refused.
    """

    who = "sinkhorn"

    def __init__(self, d_model: int, heads: int = 2, block: int = 50, causal: bool = False):
        super().__init__()
        refuse_causal(causal, self.who, "its blocks are sorted over the whole sequence")
        package = require("sinkhorn_transformer.sinkhorn_transformer", extra="comparators", purpose="the mixer sinkhorn")
        self.noisy, self.plain, self.log = package.gumbel_sinkhorn, package.sinkhorn_sorting_operator, package.log
        self.heads, self.multiple = heads, block
        self.query_key_value = nn.Linear(d_model, 3 * d_model, bias=False)  # padding stays 0
        self.output = nn.Linear(d_model, d_model)

    def mix(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self.query_key_value(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).flatten(1, 2)
        query, key, value = (part.unflatten(1, (-1, self.multiple)) for part in (query, key, value))
        order = self._sort((query.mean(2) @ key.mean(2).transpose(1, 2) * key.shape[-1] ** -0.5).relu())  # (B heads, blocks, blocks)
        key, value = (torch.cat((torch.einsum("buv,bvtd->butd", order, part), part), 2) for part in (key, value))
        own = mask.unflatten(1, (-1, self.multiple)).repeat_interleave(self.heads, 0)  # (B heads, blocks, block)
        moved = own.gather(1, order.argmax(-1)[..., None].expand_as(own))  # real where most of a sorted block comes from
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=torch.cat((moved, own), -1)[:, :, None])
        return self.output(mixed.flatten(1, 2).unflatten(0, (-1, self.heads)).transpose(1, 2).flatten(2))

    def _sort(self, scores: Tensor, iterations: int = 5, temperature: float = 0.75) -> Tensor:
        if self.training:
            return self.noisy(scores, iterations, temperature)
        return self.plain(self.log(scores) / temperature, iterations)
