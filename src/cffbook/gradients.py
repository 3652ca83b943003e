"""How much of a loss's gradient reaches a state that lies `distance` samples back, and the bound on it.

    ||dL/dh_t|| <= ||dL/dh_T|| Π_{k=t}^{T-1} ||dh_{k+1}/dh_k||                                     (gradient-bound)

For h_{k+1} = σ(W h_k + V x_{k+1}) a factor is at most ||W|| ||diag σ'||, which is the proposal's form. Vectors have the
Euclidean norm, matrices the spectral norm. Source: Brantner 2021, section 1.3; Bengio et al. 1994.

A *step* is a function `(state (n, size), inputs (n, feature)) -> state (n, size)` whose rows do not see each other, so
that one mechanism serves every recurrent model; a state that has parts (h and c of an LSTM) is one flat vector.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cffbook.flipflop import FlipFlop, NearCritical
from cffbook.lateral import MemoryCell
from cffbook.mixers import MixerOptions, build
from cffbook.neuron import LTC
from cffbook.norm_preserving import NormPreservingRNN, PlainRNN
from cffbook.recurrence import unroll
from cffbook.transformer import Block, Body

Step = Callable[[Tensor, Tensor], Tensor]
Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Measurement:
    """Gradient norms over distance, tensors `(time + 1, batch)` whose row d belongs to the state d samples before the end.

    Attributes:
        measured: ||dL/dh_{T-d}||.
        jacobian_bound: right-hand side of (gradient-bound), or None where there is no recurrence.
        weight_bound: the same with the factors ||W|| ||diag σ'||, or None where the model is not of that form.
    """

    measured: Tensor
    jacobian_bound: Tensor | None = None
    weight_bound: Tensor | None = None


def trajectory(step: Step, state: Tensor, inputs: Tensor) -> list[Tensor]:
    """The states h_0, ..., h_T, each `(batch, size)`, for inputs `(batch, time, feature)`."""
    states = [state]
    for now in inputs.unbind(1):
        states.append(step(states[-1], now))
    return states


def gradient_norms(step: Step, state: Tensor, inputs: Tensor, loss: Loss) -> Tensor:
    """||dL/dh_t|| for every t, as `(time + 1, batch)` over the distance T - t.

    Args:
        step: one sample of the recurrence.
        state: `(batch, size)` before the first sample.
        inputs: `(batch, time, feature)`.
        loss: the last state `(batch, size)` to one number for each sequence `(batch,)`.
    """
    states = trajectory(step, state.detach().requires_grad_(), inputs)
    gradients = torch.autograd.grad(loss(states[-1]).sum(), states)
    return torch.stack([gradient.norm(dim=-1) for gradient in reversed(gradients)])


def input_gradient_norms(layer: Callable[[Tensor], Tensor], inputs: Tensor, loss: Loss) -> Tensor:
    """||dL/dx_t|| `(time, batch)` over the distance T - t, for a layer with no recurrence, such as attention.

    Args:
        layer: `(batch, time, feature)` to the same.
        inputs: `(batch, time, feature)`; x_t takes the place of the state h_t.
        loss: the output of the last sample `(batch, feature)` to `(batch,)`.
    """
    inputs = inputs.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(layer(inputs)[:, -1]).sum(), inputs)
    return gradient.norm(dim=-1).flip(1).T


def jacobians(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Jacobian `(n, out, size)` of a function `(n, size) -> (n, out)` with independent rows, at each point.

    One backward pass an output value, over all points at once; any operation with a backward will do.
    """
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        values = function(points)
    rows = [
        torch.autograd.grad(values[:, i].sum(), points, retain_graph=i + 1 < values.shape[1])[0] for i in range(values.shape[1])
    ]
    return torch.stack(rows, 1)


def jacobian_norms(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Spectral norm `(n,)` of the Jacobian of a function `(n, size) -> (n, out)` with independent rows, at each point."""
    return torch.linalg.matrix_norm(jacobians(function, points), 2)


def step_jacobian_norms(step: Step, states: list[Tensor], inputs: Tensor) -> Tensor:
    """||dh_{k+1}/dh_k|| `(time, batch)` along a trajectory h_0, ..., h_T of `(batch, size)` states."""
    return torch.stack([*_by_sample(lambda points, now: jacobian_norms(lambda state: step(state, now), points), states, inputs)])


def step_jacobians(step: Step, states: list[Tensor], inputs: Tensor) -> Tensor:
    """dh_{k+1}/dh_k `(time, batch, size, size)` along a trajectory h_0, ..., h_T of `(batch, size)` states."""
    return torch.stack([*_by_sample(lambda points, now: jacobians(lambda state: step(state, now), points), states, inputs)])


def weight_norms(layer: PlainRNN, states: list[Tensor], inputs: Tensor) -> Tensor:
    """||W|| ||diag σ'(W h_k + V x_{k+1})|| `(time, batch)` along a trajectory of a network of the form (rnn)."""
    with torch.no_grad():
        weight = layer.recurrent.weight.clone()

    def factors(points: Tensor, now: Tensor) -> Tensor:
        preactivation = points @ weight.T + layer.sensory(now)
        return torch.linalg.matrix_norm(weight, 2) * jacobian_norms(layer.activation, preactivation)

    return torch.stack([*_by_sample(factors, states, inputs)])


def reach(norms: Tensor, least: float = 1e-6) -> int:
    """The largest distance up to which the mean norm over the batch stays at or above `least`."""
    lost = torch.nonzero(norms.mean(1) < least)
    return (int(lost[0, 0]) if len(lost) else len(norms)) - 1


def _by_sample(function: Callable[[Tensor, Tensor], Tensor], states: list[Tensor], inputs: Tensor) -> tuple[Tensor, ...]:
    # All samples of a sequence are independent once their states are known: a batch of 512 rows at a time.
    batch, time = inputs.shape[:2]
    points = torch.stack([state.detach() for state in states[:-1]]).flatten(0, 1)
    rows = inputs.transpose(0, 1).flatten(0, 1)
    parts = [function(*part) for part in zip(points.split(512), rows.split(512), strict=True)]
    return torch.cat(parts).unflatten(0, (time, batch)).unbind(0)


def bound(last: Tensor, factors: Tensor) -> Tensor:
    """Right-hand side of (gradient-bound), `(time + 1, batch)` over the distance.

    Args:
        last: ||dL/dh_T|| `(batch,)`.
        factors: `(time, batch)` factor of each sample, in the order of time.
    """
    logarithms = factors.flip(0).log().cumsum(0)
    return last * torch.cat((torch.ones_like(last)[None], logarithms.exp()))  # eq. gradient-bound


def random_projection(size: int, seed: int = 0) -> Loss:
    """The loss L = <r, h_T> with a fixed random unit vector r, so that ||dL/dh_T|| = 1 for every model."""
    direction = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    direction /= direction.norm()
    return lambda last: last.double() @ direction


def step_of(layer: nn.Module) -> tuple[Step, int]:
    """The step of a recurrent layer on flat states, and the size of such a state.

    Args:
        layer: a `PlainRNN` or `NormPreservingRNN`, a `torch.nn.RNN`, `LSTM` or `GRU` of one layer and one direction,
            an `LTC`, a `FlipFlop` or a `MemoryCell`.

    Raises:
        TypeError: another kind of layer.
        ValueError: a torch layer with several layers or directions.
    """
    if isinstance(layer, PlainRNN):
        return lambda state, now: layer(now[:, None], state)[1], layer.hidden_size
    if isinstance(layer, LTC):
        return lambda state, now: layer(now[:, None], state)[1], layer.cell.state_shape[0]
    if isinstance(layer, FlipFlop | MemoryCell):
        return _flip_flop_step(layer), 2 * layer.state_shape[0]
    if isinstance(layer, nn.RNNBase):
        return _torch_step(layer)
    raise TypeError(f"no step is known for {type(layer).__name__}: give a PlainRNN, RNN, LSTM, GRU, LTC, FlipFlop or MemoryCell")


def _flip_flop_step(cell: FlipFlop | MemoryCell) -> Step:
    def step(state: Tensor, now: Tensor) -> Tensor:
        potential = state.unflatten(-1, cell.state_shape)
        return unroll(cell, now.unflatten(-1, cell.input_shape)[:, None], potential)[1].flatten(1)

    return step


def _torch_step(layer: nn.RNNBase) -> tuple[Step, int]:
    if layer.num_layers > 1 or layer.bidirectional:
        raise ValueError("a step needs one layer in one direction, got several: measure each on its own")
    size = layer.hidden_size

    def step(state: Tensor, now: Tensor) -> Tensor:
        parts = tuple(part[None].contiguous() for part in state.split(size, -1))
        after = layer(now[:, None] if layer.batch_first else now[None], parts if len(parts) > 1 else parts[0])[1]
        return torch.cat(after, -1)[0] if len(parts) > 1 else after[0]

    return step, 2 * size if isinstance(layer, nn.LSTM) else size


def measure(layer: nn.Module, inputs: Tensor, state: Tensor | None = None, bounds: bool = True, seed: int = 0) -> Measurement:
    """Measure one layer in double precision, with the loss of `random_projection`.

    Args:
        layer: any that `step_of` knows, or a transformer's `Block` without recurrence.
        inputs: `(batch, time, feature)` in double precision.
        state: `(batch, size)` at the start, zeros when None.
        bounds: compute the bounds too, which costs one backward pass a state value and a decomposition a sample.
        seed: of the loss.
    """
    if isinstance(layer, Block):
        return Measurement(input_gradient_norms(lambda x: layer(x)[0], inputs, random_projection(inputs.shape[-1], seed)))
    step, size = step_of(layer)
    state = inputs.new_zeros(len(inputs), size) if state is None else state
    with parametrize.cached():
        measured = gradient_norms(step, state, inputs, random_projection(size, seed))
        if not bounds:
            return Measurement(measured)
        with torch.no_grad():
            states = trajectory(step, state, inputs)
        by_jacobian = bound(measured[0], step_jacobian_norms(step, states, inputs))
        by_weight = bound(measured[0], weight_norms(layer, states, inputs)) if isinstance(layer, PlainRNN) else None
    return Measurement(measured, by_jacobian, by_weight)


class Subject(NamedTuple):
    """A model to measure and the state `(1, size)` it starts from, None for zeros."""

    layer: nn.Module
    state: Tensor | None = None


def subjects(width: int = 16, horizon: int = 1000, seed: int = 0) -> dict[str, Subject]:
    """Every model the proposal speaks of, untrained, in double precision, for inputs `(batch, time, width)`.

    Two are there twice: as usually initialised, and prepared to remember for `horizon` samples (forget gates of the
    LSTM by `open_forget_gates`; CFFs at the onset of latching, slow, and with sensory gates closed by log(horizon)).

    Args:
        width: even number of features; state values are as many, twice as many for an LSTM.
        horizon: samples that the prepared ones are made for.
        seed: of the first values; the global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        latched = FlipFlop(width // 2).double()
        layers = {
            "plain RNN": PlainRNN(width),
            "norm-preserving RNN": NormPreservingRNN(width),
            "LSTM": nn.LSTM(width, width, batch_first=True),
            "LSTM, forget gates open": open_forget_gates(nn.LSTM(width, width, batch_first=True), horizon),
            "GRU": nn.GRU(width, width, batch_first=True),
            "LTC": LTC(width, width),
            "CFF, holding a bit": latched,
            "CFF, slow and closed": FlipFlop(width // 2, init=NearCritical(horizon)),
            "attention": Block(build("attention", width, MixerOptions(causal=True)), Body(d_model=width, layers=1, d_ff=width)),
        }
    held = latched.held([pair % 2 for pair in range(width // 2)]).flatten()[None]
    return {name: Subject(layer.double().requires_grad_(False), held if layer is latched else None) for name, layer in layers.items()}


@torch.no_grad()
def open_forget_gates(layer: nn.LSTM, horizon: int) -> nn.LSTM:
    """Give forget gates the bias log u, u uniform in [1, horizon - 1], and input gates its opposite; returns the layer.

    Source: Tallec and Ollivier 2018, chrono initialisation.

    Raises:
        ValueError: a horizon below 3.
    """
    if horizon < 3:
        raise ValueError(f"horizon must be at least 3 samples, got {horizon}: it is the longest time to remember")
    size = layer.hidden_size
    bias = torch.empty(size).uniform_(1, horizon - 1).log()
    layer.bias_hh_l0.zero_()
    layer.bias_ih_l0.zero_()
    layer.bias_ih_l0[:size] = -bias
    layer.bias_ih_l0[size : 2 * size] = bias
    return layer


def scaled_rnn(width: int, norm: float, seed: int = 0, activation: Callable[[Tensor], Tensor] = torch.tanh) -> PlainRNN:
    """A plain network, in double precision, with a random W all of whose singular values are `norm`.

    With such a W the bound is as tight as a recurrent matrix allows: what it is off by is due to σ'.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = PlainRNN(width, activation).double().requires_grad_(False)
        layer.recurrent.weight.copy_(norm * torch.linalg.qr(torch.randn(width, width, dtype=torch.float64))[0])
    return layer
