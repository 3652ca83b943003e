"""A short convolution in front of a mixer, so that it hears this sample and the ones just before it at once.

Source: Fu et al. 2023 (H3) and Gu and Dao 2023 (Mamba), whose layers begin with one of each channel by itself; here channels mix.
"""

from typing import Any

import torch
from torch import Tensor, nn

from cffbook.recurrence import blank_padding


class ShortConvolution(nn.Module):
    """A mixer behind a causal convolution over a few samples::

        h_t = x_t + sum_k W_k x_{t-k},  k = 1 ... taps - 1;   y = mixer(h)                      (short-convolution)

    The W begin at 0: at first the mixer is what it is without them. What was before the first sample is 0.

    Args:
        mixer: any mixer of this width.
        d_model: width of inputs and outputs.
        taps: samples that are heard at once, this one included; 2 or more.
    """

    def __init__(self, mixer: nn.Module, d_model: int, taps: int):
        super().__init__()
        if taps < 2:
            raise ValueError(f"taps must be at least 2, got {taps}: a mixer that hears one sample at a time needs no convolution")
        self.mixer, self.taps = mixer, taps
        self.before = nn.Linear((taps - 1) * d_model, d_model, bias=False)
        nn.init.zeros_(self.before.weight)

    def forward(
        self, x: Tensor, state: Any = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Any] | None]:
        """Outputs `(batch, time, d_model)`; the state is the last inputs `(batch, taps - 1, d_model)` and the mixer's own, None where it has none.

        Raises:
            ValueError: a state that no call of such a layer has returned, or one that the mixer cannot continue.
        """
        x = blank_padding(x, lengths)
        batch, time, width = x.shape
        heard, inner = (x.new_zeros(batch, self.taps - 1, width), None) if state is None else self._continued(state)
        whole = torch.cat((heard, x), 1)
        earlier = [whole[:, self.taps - 1 - k : whole.shape[1] - k] for k in range(1, self.taps)]
        y, inner = self.mixer(x + self.before(torch.cat(earlier, -1)), inner, elapsed, lengths)
        if inner is None:
            return y, None
        if lengths is None:
            return y, (whole[:, time:], inner)
        last = torch.as_tensor(lengths, device=x.device)[:, None] + torch.arange(self.taps - 1, device=x.device)
        return y, (whole.gather(1, last[..., None].expand(-1, -1, width)), inner)

    def _continued(self, state: Any) -> tuple[Tensor, Any]:
        if not isinstance(state, tuple) or len(state) != 2:
            raise ValueError(f"cannot continue from {type(state).__name__}: expected the pair that an earlier call returned")
        return state
