"""ResShift: a short chain that shifts the residual."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator

from rddm.core.errors import SpecError
from rddm.core.kinds import Schedule
from rddm.core.process import Path


class ResShift(Schedule):
    """Residual and noise variance enter together, at a rate that grows geometrically.

        A = 1 - eta_t,   B = eta_t,   C = kappa sqrt(eta_t),   F = 1
        sqrt(eta_t) = sqrt(eta_1) (eta_T / eta_1)^(u/2),   u = ((t - 1) / (T - 1))^p,   eta_0 = 0

    I_in is the degraded image; sampling starts from the path's own end, I_in + kappa sqrt(eta_T) eps. A sampler's
    eta = 1 is ResShift's posterior.

    Raises:
        SpecError: eta_1 is above eta_T.

    Source: arXiv 2307.12348, whose values are the defaults.
    """

    name: Literal["resshift"] = "resshift"
    T: int = Field(default=15, ge=2, description="steps of the full chain")
    kappa: float = Field(default=2.0, ge=0, description="standard deviation of the noise when the shift is complete")
    p: float = Field(default=0.3, gt=0, description="power; smaller shifts earlier")
    eta_1: float = Field(default=4e-4, gt=0, lt=1, description="shift of the first step; published (0.04 / kappa)^2")
    eta_T: float = Field(default=0.999, gt=0, le=1, description="shift of the whole chain")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.eta_1 > self.eta_T:
            message = f"must be at most eta_T = {self.eta_T}, for the shift never falls; given {self.eta_1}"
            raise SpecError("resshift", [(("eta_1",), message)])
        return self

    def path(self) -> Path:
        u = torch.linspace(0, 1, self.T, dtype=torch.float64) ** self.p
        shift = torch.cat([torch.zeros(1, dtype=torch.float64), self.eta_1 ** (1 - u) * self.eta_T**u])
        return Path.dual(shift, self.kappa * shift.sqrt())
