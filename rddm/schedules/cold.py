"""Cold diffusion between two images: demixing."""

from __future__ import annotations

from typing import Literal

import torch

from rddm.core.process import Path
from rddm.schedules._betas import Betas, BetaSchedule


class Cold(BetaSchedule):
    """DDPM's mixture with an image in the place of the noise.

        A = sqrt(ac),   B = sqrt(1 - ac),   C = 0,   F = 1;       ac_t = prod (1 - beta_i)

    I_in is the image that is mixed in; sampling starts from it, and nothing is random. `betas` as for `ddim`. The
    first-order step mixes anew, `I_s = D(x0, s)` with D(x0, t) = A_t x0 + B_t I_in; the paper's improved sampling,
    `I_t - D(x0, t) + D(x0, s)`, is the same where the state is the mixture of the prediction, and keeps what is not.

    Source: arXiv 2208.09392.
    """

    name: Literal["cold"] = "cold"
    betas: Betas = "squared-cosine"

    def path(self) -> Path:
        ac = self._ac()
        return Path(ac.sqrt(), (1 - ac).sqrt(), torch.zeros_like(ac), F=torch.ones_like(ac), prior=(1.0, 0.0))
