"""Times that lie closer together near the clean image."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from rddm.core.kinds import Grid
from rddm.core.process import Path, spread


class Power(Grid):
    """About `T (k / S)^a`, k = S .. 0: the rows t with (t / T)^(1/a) nearest to k / S; a = 2 is DDIM's quadratic grid.

    Source: Song et al. 2021, "Denoising Diffusion Implicit Models" (arXiv 2010.02502), for a = 2.
    """

    name: Literal["power"] = "power"
    exponent: float = Field(default=2.0, gt=0, description="the a: above 1 for smaller steps near the clean image")

    def times(self, path: Path, steps: int) -> list[int]:
        position = torch.arange(path.T + 1, dtype=torch.float64) / path.T
        return spread(position ** (1 / self.exponent), steps)
