"""I2SB: the Schrödinger bridge between pairs of images."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from rddm.core.kinds import Schedule
from rddm.core.process import Path


class I2SB(Schedule):
    """A Brownian bridge whose clock is slow at both ends.

        A = v'/(v + v'),   B = v/(v + v'),   C = sqrt(v v' / (v + v')),   F = A
        v_t = sum_{i <= t} beta_i,   v'_t = sum_{i > t} beta_i

    I_in is the degraded image, where the bridge is pinned: sampling starts from it. beta rises to the middle of the
    path and falls again as it rose; its square root is linear, towards beta_max / T at the end of a whole ramp.
    eta = 1 is I2SB's posterior.

    Source: arXiv 2302.05872.
    """

    name: Literal["i2sb"] = "i2sb"
    T: int = Field(default=1000, ge=2, description="steps of the full chain")
    beta_start: float = Field(default=1e-4, gt=0, description="rate of the noise variance at both ends")
    beta_max: float = Field(default=0.3, gt=0, description="T times the rate at which a whole ramp would end")

    def path(self) -> Path:
        ramp = torch.linspace(self.beta_start**0.5, (self.beta_max / self.T) ** 0.5, self.T, dtype=torch.float64) ** 2
        half = ramp[: (self.T + 1) // 2]
        betas = torch.cat([half, half.flip(0)[self.T % 2 :]])
        zero = torch.zeros(1, dtype=torch.float64)
        v, rest = torch.cat([zero, betas.cumsum(0)]), torch.cat([betas.flip(0).cumsum(0).flip(0), zero])
        A = rest / (v + rest)
        return Path(A, v / (v + rest), (v * rest / (v + rest)).sqrt(), F=A)
