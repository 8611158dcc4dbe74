"""Variance-exploding diffusion."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator

from rddm.core.errors import SpecError
from rddm.core.kinds import Schedule
from rddm.core.process import Path


class VE(Schedule):
    """Noise that is added to an image which stays as it is.

        A = 1,   B = 0,   C = sigma_t,   F = 1;     sigma_0 = 0,   u = (t - 1) / (T - 1),   t = 1 .. T
        karras:     sigma_t = (sigma_min^(1/rho) + u (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho
        geometric:  sigma_t = sigma_min^(1 - u) sigma_max^u

    I_in is not in the state; it conditions the network. Sampling starts from noise of standard deviation sigma_max.
    Numbers are for images in [-1, 1]; the defaults are EDM's.

    Raises:
        SpecError: sigma_min is above sigma_max.

    Source: arXiv 2011.13456 (VE), arXiv 2206.00364 (EDM).
    """

    name: Literal["ve"] = "ve"
    T: int = Field(default=1000, ge=2, description="steps of the full chain")
    sigmas: Literal["karras", "geometric"] = "karras"
    sigma_min: float = Field(default=0.002, gt=0, description="standard deviation of the noise at t = 1")
    sigma_max: float = Field(default=80.0, gt=0, description="standard deviation of the noise at T")
    rho: float = Field(default=7.0, ge=1, le=100, description="how much Karras' steps shorten towards the clean image")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.sigma_min > self.sigma_max:
            message = f"must be at most sigma_max = {self.sigma_max}, for noise never falls; given {self.sigma_min}"
            raise SpecError("ve", [(("sigma_min",), message)])
        return self

    def path(self) -> Path:
        u = torch.linspace(0, 1, self.T, dtype=torch.float64)
        if self.sigmas == "karras":
            low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
            sigma = (low + u * (high - low)) ** self.rho
        else:
            sigma = self.sigma_min ** (1 - u) * self.sigma_max**u
        C = torch.cat([torch.zeros(1, dtype=torch.float64), sigma])
        one = torch.ones_like(C)
        return Path(one, torch.zeros_like(C), C, F=one, prior=(0.0, self.sigma_max))
