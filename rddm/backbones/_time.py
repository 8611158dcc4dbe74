"""The embedding of the time that a network is told."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TimeEmbedding(nn.Module):
    """Time (B, times), each value in about [0, 1000] -> features (B, out_chans), through an MLP.

        e(t) = (sin(t w), cos(t w)),   w_k = 10000^(-k / (K - 1)),  k = 0 .. K - 1,  K = width / 2

    Each of the times has its own e(t), of `width` values, an even number from 4 on; they enter the MLP side by side.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5, in the form of DDPM (arXiv 2006.11239).
    """

    def __init__(self, times: int, width: int, out_chans: int) -> None:
        super().__init__()
        self.width = width
        self.hidden = nn.Linear(times * width, out_chans)
        self.out = nn.Linear(out_chans, out_chans)

    def forward(self, time: Tensor) -> Tensor:
        # Computed here in float32, and not kept as a buffer: a network in bfloat16 would round its buffers.
        k = torch.arange(self.width // 2, device=time.device, dtype=torch.float32)
        angle = time.float()[..., None] * torch.exp(k * (-math.log(10000) / (self.width // 2 - 1)))  # (B, times, K)
        waves = torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(1)  # (B, times * width)
        features: Tensor = self.out(F.gelu(self.hidden(waves.to(self.hidden.weight.dtype))))
        return features
