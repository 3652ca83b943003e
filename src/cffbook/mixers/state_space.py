"""A diagonal linear state-space layer, one for each channel: a convolution to train, a recurrence to stream::

    s_t = exp(Δ A) s_{t-1} + (exp(Δ A) - 1) / A u_t,   y_t = 2 Re(C s_t) + D u_t                    (state-space)

with A = -exp(a) + i ω diagonal. Backwards in time a second C reads the same modes. Source: Gu et al. 2022 (S4D, with its
linear initialisation and gated output); Smith et al. 2023 (S5) for the recurrence with a scan.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, glu, pad

from cffbook.mixers.attention import refuse_elapsed
from cffbook.recurrence import blank_padding


class StateSpace(nn.Module):
    """Equation (state-space), then GELU and a gated linear map; its state is `(batch, d_model, modes)`, complex.

    Args:
        d_model: width of inputs and outputs.
        modes: complex modes of each channel, each with its conjugate.
        causal: forward in time only; needed to stream.
        fastest: smallest initial step Δ; steps are log-uniform from it to a hundred times as much.
    """

    def __init__(self, d_model: int, modes: int = 16, causal: bool = False, fastest: float = 1e-3):
        super().__init__()
        self.causal = causal
        self.raw_step = nn.Parameter(math.log(fastest) + math.log(100) * torch.rand(d_model))
        self.raw_decay = nn.Parameter(torch.full((d_model, modes), math.log(0.5)))
        self.raw_frequency = nn.Parameter(math.pi * torch.arange(modes, dtype=torch.get_default_dtype()).repeat(d_model, 1))
        self.raw_readout = nn.Parameter(torch.randn(1 if causal else 2, d_model, modes, 2) * 0.5**0.5)
        self.raw_skip = nn.Parameter(torch.randn(d_model))
        self.output = nn.Linear(d_model, 2 * d_model)

    def forward(
        self, x: Tensor, state: Tensor | None = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs `(batch, time, d_model)` and the state after the last sample; None with `lengths` or in both directions.

        Raises:
            ValueError: elapsed times, or a state for both directions or together with padding.
        """
        refuse_elapsed(elapsed, "a state-space layer")
        if state is not None and (not self.causal or lengths is not None):
            raise ValueError("a state-space layer continues from a state only when causal and without lengths: use causal=True and full batches")
        with torch.autocast(x.device.type, enabled=False):  # transforms of Fourier know no short numbers
            u = blank_padding(x, lengths).to(self.raw_step.dtype).transpose(1, 2)  # (B, d_model, T)
            time = u.shape[-1]
            step, rate = self.raw_step.exp()[:, None], torch.complex(-self.raw_decay.exp(), self.raw_frequency)
            powers = (step * rate)[..., None] * torch.arange(time + 1, device=x.device)
            powers = powers.exp()  # (d_model, modes, T + 1)
            drive = (powers[..., 1] - 1) / rate
            kernels = 2 * torch.einsum("kdn,dnt->kdt", self.readout * drive, powers[..., :time]).real
            y = convolve(u, kernels) + self.raw_skip[:, None] * u
            if state is not None:
                y = y + 2 * torch.einsum("bdn,dnt->bdt", state * self.readout[0], powers[..., 1:]).real
            y, after = y.transpose(1, 2), None
            if self.causal and lengths is None:
                after = torch.einsum("bdt,dnt->bdn", u.to(powers.dtype), powers[..., :time].flip(-1)) * drive
                after = after if state is None else after + state * powers[..., -1]
        return blank_padding(glu(self.output(gelu(y)), -1), lengths), after

    @property
    def readout(self) -> Tensor:
        """C `(directions, d_model, modes)`."""
        return torch.view_as_complex(self.raw_readout)


def convolve(u: Tensor, kernels: Tensor) -> Tensor:
    """Σ_{s<=t} K_{t-s} u_s, and with a second kernel + Σ_{s>t} K'_{s-t-1} u_s.

    Args:
        u: `(batch, channel, time)`.
        kernels: `(1 or 2, channel, time)`.
    """
    time = u.shape[-1]
    kernel = pad(kernels[0], (0, time))
    if len(kernels) == 2:
        kernel = kernel + pad(kernels[1].flip(-1), (time, 0))  # negative lags wrap around to the end
    spectrum = torch.fft.rfft(u, 2 * time) * torch.fft.rfft(kernel)
    return torch.fft.irfft(spectrum, 2 * time)[..., :time]
