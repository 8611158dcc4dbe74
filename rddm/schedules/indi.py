"""InDI: inversion by direct iteration."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from rddm.core.kinds import Schedule
from rddm.core.process import Path


class InDI(Schedule):
    """A straight blend of the clean and the degraded image, with a little noise.

        A = 1 - x,   B = x,   C = x e_x,   x = t/T
        noise "constant":  e_x = epsilon,             F = x         one draw of noise for the whole path
        noise "brownian":  e_x = epsilon / sqrt(x),   F = 1         fresh noise at each step

    I_in is the degraded image; sampling starts from the path's own end, I_in + epsilon eps. The gauge makes eta = 1
    InDI's step, `I_s = s/t I_t + (1 - s/t) x0 + s sqrt(e_s^2 - e_t^2) z`. With epsilon = 0 it is the straight line
    between the images, without noise.

    Source: arXiv 2303.11435.
    """

    name: Literal["indi"] = "indi"
    T: int = Field(default=1000, ge=2, description="steps of the full chain")
    noise: Literal["constant", "brownian"] = "constant"
    epsilon: float = Field(
        default=0.01, ge=0, description="standard deviation of the noise at T, for images in [-1, 1]"
    )

    def path(self) -> Path:
        x = torch.arange(self.T + 1, dtype=torch.float64) / self.T
        if self.noise == "brownian":
            return Path(1 - x, x, self.epsilon * x.sqrt(), F=torch.ones_like(x))
        return Path(1 - x, x, self.epsilon * x, F=x.clamp(min=1 / self.T))  # at 0 there is no noise to scale
