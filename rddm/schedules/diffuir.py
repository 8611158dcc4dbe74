"""DiffUIR: residual diffusion that forgets the input image, too."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from rddm.core.process import Path
from rddm.schedules._betas import BetaSchedule


class DiffUIR(BetaSchedule):
    """RDDM with a share delta_t of I_in taken away at each step, so that all tasks end in nearly the same noise.

        A = 1 - abar,   B = abar - dbar,   C = bbar,   F = 1
        abar_t = 1 - sqrt(ac_t),   bbar_t = sqrt(1 - ac_t),   ac_t = prod (1 - beta_i),   dbar_t = sum delta_i

    I_in is the degraded image; delta rises linearly from delta_start to delta_end, whose sum over all steps should be
    about 0.9 (for other T, scale both by 1000 / T). `betas` as for `ddim`.
    Sampling starts from `(1 - dbar_T) I_in` and noise of standard deviation `start_noise`. The published sampler starts
    from 0.1 and drops the noise from its steps; None is the path's own end, bbar_T.

    Source: arXiv 2403.11157.
    """

    name: Literal["diffuir"] = "diffuir"
    delta_start: float = Field(default=1e-6, ge=0, lt=1, description="share of I_in taken away at the first step")
    delta_end: float = Field(default=1.8e-3, ge=0, lt=1, description="share of I_in taken away at the last step")
    start_noise: float | None = Field(default=None, ge=0, description="noise that sampling starts from; 0.1 published")

    def path(self) -> Path:
        ac = self._ac()
        deltas = torch.linspace(self.delta_start, self.delta_end, len(ac) - 1, dtype=torch.float64)
        dbar = torch.cat([torch.zeros(1, dtype=torch.float64), deltas.cumsum(0)])
        abar, bbar = 1 - ac.sqrt(), (1 - ac).sqrt()
        prior = None if self.start_noise is None else (1 - dbar[-1].item(), self.start_noise)
        return Path(1 - abar, abar - dbar, bbar, F=torch.ones_like(ac), prior=prior)
