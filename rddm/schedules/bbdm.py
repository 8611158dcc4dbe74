"""BBDM: the Brownian bridge diffusion model."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from rddm.core.kinds import Schedule
from rddm.core.process import Path


class BBDM(Schedule):
    """A Brownian bridge between the two images.

        A = 1 - m,   B = m,   C = sqrt(2 scale m (1 - m)),   F = A;      m = t/T

    I_in is the image of the other domain, where the bridge is pinned: sampling starts from it. scale = 1 is a variance
    of 1/2 in the middle. eta = 1 is BBDM's posterior; its own steps with a smaller eta would leave the path.

    Source: arXiv 2205.07680.
    """

    name: Literal["bbdm"] = "bbdm"
    T: int = Field(default=1000, ge=2, description="steps of the full chain")
    scale: float = Field(
        default=1.0, ge=0, description="twice the variance of the noise in the middle; 0 is noise-free"
    )

    def path(self) -> Path:
        m = torch.arange(self.T + 1, dtype=torch.float64) / self.T
        return Path(1 - m, m, (2 * self.scale * m * (1 - m)).sqrt(), F=1 - m)
