"""Rates that follow a power of time: the paper's own schedules."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.core.kinds import Schedule
from rddm.core.process import Path

Shape = Literal["decreasing", "increasing", "mean"]


class Power(Schedule):
    """Rates proportional to x^a (increasing), (1-x)^a (decreasing) or constant (mean), x in [0, 1].

        alpha_t = P(x_t) / sum P,   beta_t^2 = beta_T2 * P(x_t) / sum P,   t = 1 .. T

    `abar_t` and `bbar_t^2` are their running sums, so abar_T = 1 and bbar_T^2 = beta_T2. The default is the
    paper's best: alpha linearly decreasing, beta^2 linearly increasing.

    `grid` places x: "cells" at 1/T, 2/T, .. 1, so that every rate is above 0; "linspace" at 0 .. 1 with both ends,
    so that a rate that starts (or ends) at 0 really is 0 there, and then beta_1 = 0 and abar_{T-1} = 1. Published
    restoration checkpoints use "cells", generation checkpoints "linspace".

    Source: arXiv 2308.13712, the schedules P(x, a).
    """

    name: Literal["power"] = "power"
    T: int = Field(default=1000, ge=2, description="steps of the full chain")
    alpha: Shape = Field(default="decreasing", description="how fast the residual enters")
    alpha_power: float = Field(default=1.0, ge=0, description="the a of alpha")
    beta2: Shape = Field(default="increasing", description="how fast the noise variance enters")
    beta2_power: float = Field(default=1.0, ge=0, description="the a of beta^2")
    beta_T2: float = Field(default=1.0, ge=0, description="variance of the noise at T; 0 is noise-free")
    grid: Literal["cells", "linspace"] = "cells"

    def path(self) -> Path:
        abar = self._sums(self.alpha, self.alpha_power)
        return Path.dual(abar, (self.beta_T2 * self._sums(self.beta2, self.beta2_power)).sqrt())

    def _sums(self, shape: Shape, a: float) -> Tensor:
        first = 0 if self.grid == "linspace" else 1
        x = torch.arange(first, first + self.T, dtype=torch.float64) / (self.T - 1 + first)
        rates = x ** (0.0 if shape == "mean" else a)
        sums = (rates.flip(0) if shape == "decreasing" else rates).cumsum(0)
        return torch.cat([torch.zeros(1, dtype=torch.float64), sums / sums[-1]])
