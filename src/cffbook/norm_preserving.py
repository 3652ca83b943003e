"""The plain recurrent network, and the one whose gradient keeps its norm::

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
        input_size: number of features.
        activation: σ, applied to the last axis.
        hidden_size: number of state values, as many as features when None.

    Example:
        >>> outputs, state = PlainRNN(8)(torch.randn(2, 100, 8))
        >>> outputs.shape, state.shape
        (torch.Size([2, 100, 8]), torch.Size([2, 8]))
    """

    def __init__(self, input_size: int, activation: Activation = torch.tanh, hidden_size: int | None = None):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size or input_size
        self.activation = activation
        self.recurrent = nn.Linear(self.hidden_size, self.hidden_size, bias=False)
        self.sensory = nn.Linear(input_size, self.hidden_size)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States of all samples `(batch, time, hidden_size)` and the last one `(batch, hidden_size)`.

        Args:
            inputs: `(batch, time, input_size)`.
            state: `(batch, hidden_size)` at the start, zeros when None.

        Raises:
            ValueError: the inputs are not `(batch, time, input_size)`.
        """
        if inputs.dim() != 3 or inputs.shape[-1] != self.input_size or inputs.shape[1] == 0:
            raise ValueError(
                f"inputs must be (batch, time, {self.input_size}) with at least one sample, got {tuple(inputs.shape)}: "
                "transpose or project them"
            )
        state = inputs.new_zeros(len(inputs), self.hidden_size) if state is None else state
        weight = self.recurrent.weight
        states = []
        for drive in self.sensory(inputs).unbind(1):
            state = self.activation(linear(state, weight) + drive)  # eq. rnn
            states.append(state)
        return torch.stack(states, 1), state


class NormPreservingRNN(PlainRNN):
    """Equation (rnn) with an orthogonal W and a σ that keeps norms: ||dL/dh_t|| = ||dL/dh_T|| at any distance.

    Args:
        input_size: number of features.
        activation: σ; any other than one with an orthogonal Jacobian loses the property, not the orthogonality of W.
        hidden_size: number of state values, even with the default σ; as many as features when None.
    """

    def __init__(self, input_size: int, activation: Activation = sort_pairs, hidden_size: int | None = None):
        super().__init__(input_size, activation, hidden_size)
        nn.init.normal_(self.recurrent.weight, std=self.hidden_size**-0.5)
        # W = exp(A - A^T) with no stored base: orthogonal to the last bit of whatever dtype the layer is moved to.
        orthogonal(self.recurrent, orthogonal_map="matrix_exp", use_trivialization=False)
