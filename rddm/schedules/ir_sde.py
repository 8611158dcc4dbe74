"""IR-SDE: the mean-reverting stochastic differential equation."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.core.kinds import Schedule
from rddm.core.process import Path


class IRSDE(Schedule):
    """An Ornstein-Uhlenbeck process from the clean image to the degraded one.

        A = exp(-h),   B = 1 - A,   C = level sqrt(1 - A^2),   F = A
        h_t = ln(1 / end) sum_{i <= t} theta_i / sum theta

    I_in is the degraded image. theta is "constant"; "linear", rising to 200 times its start; or "cosine",
    `1 - f_{t+1} / f_0` with `f_j = cos^2((j / (T + 2) + 0.008) / 1.008 * pi/2)`. At T a share A = `end` of the clean
    image is left; sampling starts from I_in + level eps, as published. eta = 1 is the published posterior sampler.

    Source: arXiv 2301.11699.
    """

    name: Literal["ir-sde"] = "ir-sde"
    T: int = Field(default=100, ge=2, description="steps of the full chain")
    theta: Literal["cosine", "linear", "constant"] = "cosine"
    level: float = Field(
        default=100 / 255,
        ge=0,
        description="standard deviation of the noise, for images in [-1, 1]: twice the published one for [0, 1]",
    )
    end: float = Field(default=0.005, gt=0, lt=1, description="weight of the clean image that is left at T")

    def path(self) -> Path:
        sums = torch.cat([torch.zeros(1, dtype=torch.float64), self._thetas().cumsum(0)])
        A = torch.exp(math.log(self.end) * sums / sums[-1])
        return Path(A, 1 - A, self.level * (1 - A**2).sqrt(), F=A, prior=(1.0, self.level))

    def _thetas(self) -> Tensor:
        t = torch.arange(1, self.T + 1, dtype=torch.float64)
        if self.theta == "constant":
            return torch.ones_like(t)
        if self.theta == "linear":
            return 1 + 199 * t / self.T
        angle = math.pi / 2 / 1.008
        return 1 - (((t + 1) / (self.T + 2) + 0.008) * angle).cos() ** 2 / math.cos(0.008 * angle) ** 2
