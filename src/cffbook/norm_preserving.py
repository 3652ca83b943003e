"""The plain recurrent network, and the one whose gradient keeps its norm.

    h_{t+1} = σ(W h_t + V x_{t+1} + b)                                                             (rnn)

Source: Rumelhart et al. 1986 for the plain network. The norm-preserving one follows the idea of Arjovsky et al. 2016 and
Jing et al. 2017: W has no singular value other than 1. It departs from the EUNN in three ways: W is a real orthogonal
matrix instead of a complex unitary one, it is parametrised whole (`torch.nn.utils.parametrizations.orthogonal`) instead
of as a product of rotations of tunable number, and σ sorts pairs instead of shrinking the modulus (modReLU), because
the Jacobian of a sort is a permutation and thus keeps every norm exactly.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.parametrizations import orthogonal

Activation = Callable[[Tensor], Tensor]


def sort_pairs(values: Tensor) -> Tensor:
    """Put every neighbouring pair of the last axis in ascending order; the Jacobian is a permutation.

    Source: Anil et al. 2019, GroupSort with groups of two.

    Raises:
        ValueError: the last axis is odd.
    """
    if values.shape[-1] % 2:
        raise ValueError(f"sort_pairs expects an even number of values, got {values.shape[-1]}: make the width even")
    first, second = values.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((torch.minimum(first, second), torch.maximum(first, second)), -1).flatten(-2)


class PlainRNN(nn.Module):
    """Equation (rnn) over sequences, called like `torch.nn.RNN(batch_first=True)`.

    Args:
        d_model: number of features and of state values.
        activation: σ, applied to the last axis.

    Example:
        >>> outputs, state = PlainRNN(8)(torch.randn(2, 100, 8))
        >>> outputs.shape, state.shape
        (torch.Size([2, 100, 8]), torch.Size([2, 8]))
    """

    def __init__(self, d_model: int, activation: Activation = torch.tanh):
        super().__init__()
        self.d_model = d_model
        self.activation = activation
        self.recurrent = nn.Linear(d_model, d_model, bias=False)
        self.sensory = nn.Linear(d_model, d_model)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States of all samples `(batch, time, d_model)` and the last one `(batch, d_model)`.

        Args:
            inputs: `(batch, time, d_model)`.
            state: `(batch, d_model)` at the start, zeros when None.

        Raises:
            ValueError: the inputs are not `(batch, time, d_model)`.
        """
        if inputs.dim() != 3 or inputs.shape[-1] != self.d_model or inputs.shape[1] == 0:
            raise ValueError(
                f"inputs must be (batch, time, {self.d_model}) with at least one sample, got {tuple(inputs.shape)}: "
                "transpose or project them"
            )
        state = inputs.new_zeros(len(inputs), self.d_model) if state is None else state
        weight = self.recurrent.weight
        states = []
        for drive in self.sensory(inputs).unbind(1):
            state = self.activation(linear(state, weight) + drive)  # eq. rnn
            states.append(state)
        return torch.stack(states, 1), state


class NormPreservingRNN(PlainRNN):
    """Equation (rnn) with an orthogonal W and a σ that keeps norms: ||dL/dh_t|| = ||dL/dh_T|| at any distance.

    Args:
        d_model: number of features and of state values, even with the default σ.
        activation: σ; any other than one with an orthogonal Jacobian loses the property, not the orthogonality of W.
    """

    def __init__(self, d_model: int, activation: Activation = sort_pairs):
        super().__init__(d_model, activation)
        nn.init.normal_(self.recurrent.weight, std=d_model**-0.5)
        # W = exp(A - A^T) with no stored base: orthogonal to the last bit of whatever dtype the layer is moved to.
        orthogonal(self.recurrent, orthogonal_map="matrix_exp", use_trivialization=False)
