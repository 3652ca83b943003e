"""A transformer body whose mixer is an argument. A block is::

    x <- x + mixer(norm(x));  x <- x + mlp(norm(x))                                              (block)

A mixer is any module called `mixer(x, state=None, elapsed=1.0, lengths=None) -> (y, state)` with x and y
`(batch, time, d_model)`; every place that takes one takes a function `d_model -> module` that makes it.
Source: Vaswani et al. 2017, with the norm before each branch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cffbook.recurrence import blank_padding, real

MakeMixer = Callable[[int], nn.Module]
POOLING = ("mean", "max", "first", "last")
BLOCKS = ("residual", "bare")


@dataclass(frozen=True)
class Body:
    """Sizes of a body: what is the same whatever the mixer.

    Args:
        d_model: width of the residual stream.
        layers: number of blocks.
        d_ff: width of the hidden layer of each MLP.
        dropout: probability of dropping a value on either branch.
        block: "residual" (eq. block), or "bare": each mixer alone, without norm, residual stream and MLP.
        standardise: a classifier standardises its pooled vector over the batch (of 2 or more): means over long sequences hardly differ.
        spread: standard deviation of the first embeddings of tokens and positions, None for 1 and 0.02; of a small one mixers weigh more.

    Raises:
        ValueError: a size out of range, or an unknown block.
    """

    d_model: int = 64
    layers: int = 2
    d_ff: int = 128
    dropout: float = 0.0
    block: str = "residual"
    standardise: bool = False
    spread: float | None = None

    def __post_init__(self) -> None:
        small = min(self.d_model, self.layers, self.d_ff) < 1 or (self.spread is not None and self.spread <= 0)
        if small or not 0 <= self.dropout < 1:
            raise ValueError(f"sizes must be positive and dropout in [0, 1), got {self}: see Body")
        if self.block not in BLOCKS:
            raise ValueError(f"unknown block {self.block!r}: choose one of {', '.join(BLOCKS)}")


class Block(nn.Module):
    """One pre-norm block: a mixer along time, then an MLP at each time."""

    def __init__(self, mixer: nn.Module, body: Body):
        super().__init__()
        self.mixer_norm = nn.LayerNorm(body.d_model)
        self.mixer = mixer
        self.mlp_norm = nn.LayerNorm(body.d_model)
        self.mlp = nn.Sequential(
            nn.Linear(body.d_model, body.d_ff), nn.GELU(), nn.Dropout(body.dropout), nn.Linear(body.d_ff, body.d_model)
        )
        self.dropout = nn.Dropout(body.dropout)

    def forward(
        self, x: Tensor, state: Any = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The stream after the block `(batch, time, d_model)` and the mixer's state."""
        mixed, state = self.mixer(self.mixer_norm(x), state, elapsed, lengths)
        x = x + self.dropout(mixed)  # eq. block
        return x + self.dropout(self.mlp(self.mlp_norm(x))), state


class Bare(nn.Module):
    """A mixer alone in place of a block: what it does by itself, with nothing beside it to remember or to compute."""

    def __init__(self, mixer: nn.Module):
        super().__init__()
        self.mixer = mixer

    def forward(
        self, x: Tensor, state: Any = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """What the mixer makes of the stream `(batch, time, d_model)`, and its state."""
        return self.mixer(x, state, elapsed, lengths)


class Encoder(nn.Module):
    """A stack of blocks with a norm at its end, which bare blocks do without.

    Args:
        make_mixer: makes one mixer of the given width; called once for each block.
        body: sizes.
    """

    def __init__(self, make_mixer: MakeMixer, body: Body):
        super().__init__()
        mixers, bare = (make_mixer(body.d_model) for _ in range(body.layers)), body.block == "bare"
        self.blocks = nn.ModuleList(Bare(mixer) if bare else Block(mixer, body) for mixer in mixers)
        self.norm = nn.Identity() if bare else nn.LayerNorm(body.d_model)

    def forward(
        self, x: Tensor, states: list | None = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, list]:
        """The stream `(batch, time, d_model)` and every block's state, to continue from."""
        after = []
        for block, state in zip(self.blocks, states or [None] * len(self.blocks), strict=True):
            x, state = block(x, state, elapsed, lengths)
            after.append(state)
        return self.norm(x), after


class Embedding(nn.Module):
    """Token ids `(batch, time)` or real values `(batch, time, features)` to the stream `(batch, time, d_model)`.

    Args:
        d_model: width of the stream.
        vocabulary: number of token ids, padding included; or None for real values.
        features: number of real features; or None for tokens.
        max_length: adds a learned position to each of so many samples; None adds none.
        timed: adds a learned multiple of the time since the last sample, for mixers that do not know elapsed times.
        spread: see `Body`.

    Raises:
        ValueError: neither or both of `vocabulary` and `features`.
    """

    def __init__(
        self, d_model: int, vocabulary: int | None = None, features: int | None = None, max_length: int | None = None,
        timed: bool = False, spread: float | None = None,
    ):  # fmt: skip
        super().__init__()
        if (vocabulary is None) == (features is None):
            raise ValueError(f"give either vocabulary or features, got {vocabulary} and {features}: tokens or real values")
        self.values = nn.Linear(features, d_model) if vocabulary is None else nn.Embedding(vocabulary, d_model)
        self.positions = None if max_length is None else nn.Embedding(max_length, d_model)
        if self.positions is not None:
            nn.init.normal_(self.positions.weight, std=spread or 0.02)
        if spread and vocabulary:
            self.values.weight.data.mul_(spread)  # drawn with deviation 1
        self.times = nn.Linear(1, d_model, bias=False) if timed else None

    def forward(self, inputs: Tensor, start: int = 0, elapsed: Tensor | float = 1.0) -> Tensor:
        """The stream; `start` is the position of the first sample, `elapsed` as a mixer takes it."""
        x = self.values(inputs)
        if self.times is not None:
            elapsed = torch.as_tensor(elapsed, dtype=x.dtype, device=x.device)
            x = x + self.times((elapsed[:, None] if elapsed.dim() == 1 else elapsed).expand(x.shape[:2]).unsqueeze(-1))
        if self.positions is None:
            return x
        end = start + x.shape[1]
        if end > self.positions.num_embeddings:
            raise ValueError(f"the sequence ends at {end}, but positions are learned up to {self.positions.num_embeddings}: raise max_length")
        return x + self.positions.weight[start:end]

    def left(self, elapsed: Tensor | float) -> Tensor | float:
        """The elapsed times that are left to the mixers: 1 where the embedding has put them into the stream."""
        return elapsed if self.times is None else 1.0


def pool(x: Tensor, lengths: Tensor | None, how: str) -> Tensor:
    """One vector `(batch, d_model)` of a stream `(batch, time, d_model)`, over real samples only.

    Raises:
        ValueError: `how` is unknown.
    """
    batch, time = x.shape[:2]
    if how not in POOLING:
        raise ValueError(f"unknown pooling {how!r}: choose one of {', '.join(POOLING)}")
    if how == "first":
        return x[:, 0]
    counts = torch.full((batch,), time, device=x.device) if lengths is None else lengths
    if how == "last":
        return x[torch.arange(batch, device=x.device), (counts - 1).clamp(min=0)]
    if how == "mean":
        return blank_padding(x, lengths).sum(1) / counts.clamp(min=1)[:, None]
    return x.masked_fill(~real(counts, time)[..., None], -torch.inf).amax(1)


class Classifier(nn.Module):
    """Embedding, encoder, pooling and a linear head: one vector of scores, or of real values, for a sequence.

    Args:
        make_mixer: makes one mixer of the given width.
        body: sizes.
        classes: number of scores.
        vocabulary, features, max_length, timed: see `Embedding`.
        pooling: "mean", "max", "first" or "last".

    Example:
        >>> model = Classifier(MemoryLayer, Body(), classes=10, features=1)
        >>> model(torch.randn(8, 1024, 1)).shape
        torch.Size([8, 10])
    """

    def __init__(
        self, make_mixer: MakeMixer, body: Body, classes: int, vocabulary: int | None = None, features: int | None = None,
        max_length: int | None = None, pooling: str = "mean", timed: bool = False,
    ):  # fmt: skip
        super().__init__()
        if pooling not in POOLING:
            raise ValueError(f"unknown pooling {pooling!r}: choose one of {', '.join(POOLING)}")
        self.embedding = Embedding(body.d_model, vocabulary, features, max_length, timed, body.spread)
        self.encoder = Encoder(make_mixer, body)
        self.pooling = pooling
        self.standard = nn.BatchNorm1d(body.d_model, affine=False) if body.standardise else nn.Identity()
        self.head = nn.Linear(body.d_model, classes)

    def features(self, inputs: Tensor, lengths: Tensor | None = None, elapsed: Tensor | float = 1.0) -> Tensor:
        """The pooled stream `(batch, d_model)`, standardised if the body says so."""
        x = self.embedding(blank_padding(inputs, lengths), elapsed=elapsed)
        x, _ = self.encoder(x, None, self.embedding.left(elapsed), lengths)
        return self.standard(pool(x, lengths, self.pooling))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, elapsed: Tensor | float = 1.0) -> Tensor:
        """Scores `(batch, classes)` of inputs `(batch, time)` or `(batch, time, features)`."""
        return self.head(self.features(inputs, lengths, elapsed))


class TwoTower(nn.Module):
    """Two sequences through one tower, compared by an MLP on (x, y, x*y, x-y), as in natural language inference.

    Args:
        tower: a `Classifier`; its head is not used.
        d_model: width of its stream.
        classes: number of scores.
    """

    def __init__(self, tower: Classifier, d_model: int, classes: int = 2):
        super().__init__()
        self.tower = tower
        tower.head = nn.Identity()
        self.head = nn.Sequential(nn.Linear(4 * d_model, d_model), nn.ReLU(), nn.Linear(d_model, classes))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, elapsed: Tensor | float = 1.0) -> Tensor:
        """Scores `(batch, classes)` of inputs `(batch, 2, time)` with lengths `(batch, 2)`."""
        if inputs.dim() < 3 or inputs.shape[1] != 2:
            raise ValueError(f"inputs must have the shape (batch, 2, time), got {tuple(inputs.shape)}: stack the two sequences")
        flat = None if lengths is None else lengths.flatten(0, 1)
        times = elapsed.flatten(0, 1) if torch.is_tensor(elapsed) and elapsed.dim() > 1 else elapsed
        x, y = self.tower.features(inputs.flatten(0, 1), flat, times).unflatten(0, (-1, 2)).unbind(1)
        return self.head(torch.cat((x, y, x * y, x - y), -1))


class CausalLM(nn.Module):
    """A causal language model: scores of the next token, or of a class, at every time.

    Args:
        make_mixer: makes one **causal** mixer of the given width.
        body: sizes.
        vocabulary: number of token ids.
        features: real features in place of token ids as inputs, or None.
        max_length, timed: see `Embedding`.
        classes: number of scores; None for one of each token id.
    """

    def __init__(
        self, make_mixer: MakeMixer, body: Body, vocabulary: int | None, features: int | None = None, max_length: int | None = None,
        classes: int | None = None, timed: bool = False,
    ):  # fmt: skip
        super().__init__()
        if vocabulary is None and classes is None:
            raise ValueError("give vocabulary or classes, got neither: the head needs to know how many scores to give")
        self.embedding = Embedding(body.d_model, None if features else vocabulary, features, max_length, timed, body.spread)
        self.encoder = Encoder(make_mixer, body)
        self.head = nn.Linear(body.d_model, classes or vocabulary)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, elapsed: Tensor | float = 1.0) -> Tensor:
        """Scores `(batch, time, classes)`."""
        return self._scores(blank_padding(inputs, lengths), None, elapsed, 0, lengths)[0]

    def stream(self, inputs: Tensor, states: list | None = None, elapsed: Tensor | float = 1.0, start: int = 0) -> tuple[Tensor, list]:
        """Scores of a piece of a sequence, and the mixers' states, with which the next piece goes on.

        Args:
            inputs: `(batch, time)` or `(batch, time, features)`, nothing padded.
            states: what the piece before returned; None at the beginning.
            elapsed: as a mixer takes it.
            start: position of the piece's first sample.
        """
        return self._scores(inputs, states, elapsed, start, None)

    def _scores(self, inputs, states, elapsed, start, lengths) -> tuple[Tensor, list]:
        x, states = self.encoder(self.embedding(inputs, start, elapsed), states, self.embedding.left(elapsed), lengths)
        return self.head(x), states

    @torch.no_grad()
    def generate(self, prompt: Tensor, samples: int, temperature: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Continue a prompt, one token at a time; with a recurrent mixer in constant memory.

        Args:
            prompt: `(batch, time)` token ids, at least one.
            samples: number of tokens to add.
            temperature: 0 takes the most likely token, above it samples.
            generator: source of randomness.

        Returns:
            Tokens `(batch, time + samples)`.

        Raises:
            ValueError: an empty prompt, or a negative temperature.
        """
        if prompt.dim() != 2 or prompt.shape[1] == 0 or temperature < 0:
            raise ValueError(f"need a prompt (batch, time >= 1) and temperature >= 0, got {tuple(prompt.shape)} and {temperature}")
        tokens, states, now = [prompt], None, prompt
        for _ in range(samples):
            start = sum(part.shape[1] for part in tokens) - now.shape[1]
            x, states = self.encoder(self.embedding(now, start), states)
            scores = self.head(x[:, -1])
            if temperature == 0:
                now = scores.argmax(-1, keepdim=True)
            else:
                now = torch.multinomial(torch.softmax(scores / temperature, -1), 1, generator=generator)
            tokens.append(now)
        return torch.cat(tokens, 1)
