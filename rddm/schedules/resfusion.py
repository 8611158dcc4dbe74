"""Resfusion: a DDPM that ends half way, at a noisy input image."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import model_validator

from rddm.core.errors import SpecError
from rddm.core.process import Path
from rddm.schedules._betas import BetaSchedule


class Resfusion(BetaSchedule):
    """DDPM's path with the residual riding on it, cut where no trace of the clean image is left.

        A = 2c - 1,   B = 1 - c,   C = sqrt(1 - c^2),   F = c;      c_t = sqrt(ac_t),   ac_t = prod (1 - beta_i)

    I_in is the degraded image. The path has the rows of `betas` with c > 1/2, and then one with c = 1/2 exactly: so
    its last step is shorter than the beta there says, and it has fewer steps than T. Sampling starts from the path's
    own end, I_in / 2 + sqrt(3/4) eps. `betas` as for `ddim`: "linear", "scaled-linear", "sigmoid",
    "squared-cosine", or a table.

    Raises:
        SpecError: the betas end before c reaches 1/2.

    Source: arXiv 2311.14900.
    """

    name: Literal["resfusion"] = "resfusion"

    @model_validator(mode="after")
    def _reaches_the_middle(self) -> Self:
        end = self._ac()[-1].sqrt().item()
        if end > 0.5:
            message = f"must take sqrt(prod (1 - beta)) from 1 down to 1/2, but end at {end:.3g}; raise them, or T"
            raise SpecError("resfusion", [(("betas",), message)])
        return self

    def path(self) -> Path:
        ac = self._ac()
        c = torch.cat([ac[ac > 0.25].sqrt(), torch.tensor([0.5], dtype=torch.float64)])
        return Path(2 * c - 1, 1 - c, (1 - c**2).sqrt(), F=c)
