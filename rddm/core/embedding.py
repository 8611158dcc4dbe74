"""The embedding of the time that a network is told."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sinusoids(time: Tensor, width: int) -> Tensor:
    """Time (*B) as waves (*B, width) in float32; width is even and at least 4.

        e(t) = (sin(t w), cos(t w)),   w_k = 10000^(-k / (K - 1)),  k = 0 .. K - 1,  K = width / 2

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5, with the frequencies of DDPM (arXiv 2006.11239).
    """
    half = width // 2
    # Not a buffer of the network, which would be rounded with it when it is cast to bfloat16.
    k = torch.arange(half, dtype=torch.float32, device=time.device)
    angle = time.float()[..., None] * torch.exp(k * (-math.log(10000) / (half - 1)))  # (*B, K)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class TimeEmbedding(nn.Module):
    """Time (B, times), values in about [0, 1000] -> features (B, out_chans): sinusoids, linear, GELU, linear.

    Each of the times has sinusoids of its own, of `width` values, an even number from 4 on; they enter side by side.
    """

    def __init__(self, times: int, width: int, out_chans: int) -> None:
        super().__init__()
        if width < 4 or width % 2:
            raise ValueError(f"the width of the sinusoids must be even and at least 4; given {width}")
        self.width = width
        self.hidden = nn.Linear(times * width, out_chans)
        self.out = nn.Linear(out_chans, out_chans)

    def forward(self, time: Tensor) -> Tensor:
        waves = sinusoids(time, self.width).flatten(1)  # (B, times * width)
        features: Tensor = self.out(F.gelu(self.hidden(waves.to(self.hidden.weight.dtype))))
        return features
