"""Rectified flow and flow matching, from noise to images."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from rddm.core.kinds import Schedule
from rddm.core.process import Path


class Flow(Schedule):
    """The straight line between image and noise.

        A = 1 - s,   B = 0,   C = s,   F = 1;       s_t = shift x / (1 + (shift - 1) x),   x = t/T

    I_in is not in the state; it conditions the network. `shift` above 1 spends more of the steps on the noisy end,
    as is usual for large images. Sampling starts from noise of variance 1; eta = 0 is Euler's step on the velocity
    eps - I_0.

    Source: arXiv 2209.03003 (rectified flow), arXiv 2210.02747 (flow matching).
    """

    name: Literal["flow"] = "flow"
    T: int = Field(default=1000, ge=2, description="steps of the full chain")
    shift: float = Field(default=1.0, gt=0, description="1 is uniform")

    def path(self) -> Path:
        x = torch.arange(self.T + 1, dtype=torch.float64) / self.T
        s = x / (x + (1 - x) / self.shift)  # which is exactly 1 at T
        return Path(1 - s, torch.zeros_like(s), s, F=torch.ones_like(s), prior=(0.0, 1.0))
