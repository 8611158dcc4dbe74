"""Rates that follow a bell curve over time."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.core.kinds import Schedule
from rddm.core.process import Path

Mean = Annotated[float, Field(ge=0, le=1)]
Std = Annotated[float, Field(ge=1e-3)]


class TruncatedNormal(Schedule):
    """Rates proportional to a normal density, truncated to x in [0, 1].

        alpha_t = N(x_t; alpha_mean, alpha_std^2) / sum,   beta_t^2 = beta_T2 N(x_t; beta2_mean, beta2_std^2) / sum
        x_t = t/T,  t = 1 .. T

    `abar_t` and `bbar_t^2` are their running sums, so abar_T = 1 and bbar_T^2 = beta_T2; the gauge is F = 1. A mean
    of 0 is a falling rate, of 1 a rising one; the default is a bell in the middle, cut at three standard deviations.

    Source: arXiv 2308.13712, whose schedules it adds to.
    """

    name: Literal["truncated-normal"] = "truncated-normal"
    T: int = Field(default=1000, ge=2, description="steps of the full chain")
    alpha_mean: Mean = Field(default=0.5, description="when the residual enters fastest, as a share of T")
    alpha_std: Std = Field(default=1 / 6, description="how long that takes, as a share of T")
    beta2_mean: Mean = Field(default=0.5, description="when the noise variance enters fastest, as a share of T")
    beta2_std: Std = Field(default=1 / 6, description="how long that takes, as a share of T")
    beta_T2: float = Field(default=1.0, ge=0, description="variance of the noise at T; 0 is noise-free")

    def path(self) -> Path:
        bbar2 = self.beta_T2 * self._sums(self.beta2_mean, self.beta2_std)
        return Path.dual(self._sums(self.alpha_mean, self.alpha_std), bbar2.sqrt())

    def _sums(self, mean: float, std: float) -> Tensor:
        x = torch.arange(1, self.T + 1, dtype=torch.float64) / self.T
        sums = torch.softmax(-(((x - mean) / std) ** 2) / 2, 0).cumsum(0)  # never 0 / 0, however narrow the bell
        return torch.cat([torch.zeros(1, dtype=torch.float64), sums / sums[-1]])
