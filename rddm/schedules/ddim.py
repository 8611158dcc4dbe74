"""DDPM and DDIM noise schedules, converted."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.core.kinds import Schedule
from rddm.core.process import Path

Beta = Annotated[float, Field(ge=0, lt=1)]


class DDIM(Schedule):
    """A DDPM beta schedule read as residual diffusion: with I_in = 0, sampling is identical to DDPM / DDIM.

        ac_t = prod (1 - beta_i),   abar_t = 1 - sqrt(ac_t),   bbar_t = sqrt(1 - ac_t)

    `betas` is a named schedule or a table of T numbers in [0, 1):
    "linear" from beta_start to beta_end; "scaled-linear", linear in sqrt(beta); "squared-cosine", from
    `cos^2((t/T + 0.008) / 1.008 * pi/2)` with beta capped at 0.999 (Nichol and Dhariwal 2021, eq. 17).
    The path carries DDPM's variance gauge F = 1 - abar; eta here is the square of DDIM's. Sampling starts from
    I_in + eps, with noise of variance 1 as DDPM has it, where the path's own end has bbar_T^2.

    Source: arXiv 2308.13712, conversion from DDIM.
    """

    name: Literal["ddim"] = "ddim"
    T: int = Field(default=1000, ge=2, description="steps of the full chain; a table has its own")
    betas: Literal["linear", "scaled-linear", "squared-cosine"] | tuple[Beta, ...] = "linear"
    beta_start: Beta = 1e-4
    beta_end: Beta = 0.02

    def path(self) -> Path:
        ac = torch.cat([torch.ones(1, dtype=torch.float64), (1 - self._table()).cumprod(0)])
        return Path.dual(1 - ac.sqrt(), (1 - ac).sqrt(), gauge=ac.sqrt(), prior=(1.0, 1.0))

    def _table(self) -> Tensor:
        if not isinstance(self.betas, str):
            return torch.tensor(self.betas, dtype=torch.float64)
        if self.betas == "squared-cosine":
            t = torch.arange(self.T + 1, dtype=torch.float64) / self.T
            f = ((t + 0.008) / 1.008 * math.pi / 2).cos() ** 2
            return (1 - f[1:] / f[:-1]).clamp(max=0.999)
        root = 2 if self.betas == "scaled-linear" else 1
        ends = self.beta_start ** (1 / root), self.beta_end ** (1 / root)
        return torch.linspace(*ends, self.T, dtype=torch.float64) ** root
