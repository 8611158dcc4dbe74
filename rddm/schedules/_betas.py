"""The beta tables of DDPM, which several schedules are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from rddm.core.kinds import Schedule

Beta = Annotated[float, Field(ge=0, lt=1)]
Betas = Literal["linear", "scaled-linear", "sigmoid", "squared-cosine"] | tuple[Beta, ...]


class BetaSchedule(Schedule):
    """A schedule that is made from `ac_t = prod_{i <= t} (1 - beta_i)`.

    `betas` is a named table or one of T numbers in [0, 1):
    "linear" from beta_start to beta_end; "scaled-linear", linear in sqrt(beta); "sigmoid", the logistic function of
    -6 .. 6, scaled to run from beta_start to beta_end; "squared-cosine", from `cos^2((t/T + 0.008) / 1.008 * pi/2)`
    with beta capped at 0.999 (Nichol and Dhariwal 2021, eq. 17).
    """

    T: int = Field(default=1000, ge=2, description="steps of the full chain; a table has its own")
    betas: Betas = "linear"
    beta_start: Beta = 1e-4
    beta_end: Beta = 0.02

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, given: Any) -> Any:
        table = given.get("betas") if isinstance(given, Mapping) else None
        if not isinstance(table, list | tuple):
            return given
        if given.get("T", len(table)) != len(table):
            raise ValueError(f"a table of {len(table)} betas has T = {len(table)}; given T = {given['T']}; leave T out")
        return {**given, "T": len(table)}

    def _ac(self) -> Tensor:
        """ac, float64 (T + 1,), ac_0 = 1."""
        return torch.cat([torch.ones(1, dtype=torch.float64), (1 - self._table()).cumprod(0)])

    def _table(self) -> Tensor:
        if not isinstance(self.betas, str):
            return torch.tensor(self.betas, dtype=torch.float64)
        if self.betas == "squared-cosine":
            t = torch.arange(self.T + 1, dtype=torch.float64) / self.T
            f = ((t + 0.008) / 1.008 * math.pi / 2).cos() ** 2
            return (1 - f[1:] / f[:-1]).clamp(max=0.999)
        if self.betas == "sigmoid":
            rise = torch.linspace(-6, 6, self.T, dtype=torch.float64).sigmoid()
            return self.beta_start + (self.beta_end - self.beta_start) * rise
        root = 2 if self.betas == "scaled-linear" else 1
        ends = self.beta_start ** (1 / root), self.beta_end ** (1 / root)
        return torch.linspace(*ends, self.T, dtype=torch.float64) ** root
