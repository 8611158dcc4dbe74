"""Conditional DDPM: the input image is seen by the network alone."""

from __future__ import annotations

from typing import Literal

import torch

from rddm.core.process import Path
from rddm.schedules._betas import BetaSchedule


class VP(BetaSchedule):
    """Variance-preserving diffusion to pure noise.

        A = sqrt(ac),   B = 0,   C = sqrt(1 - ac),   F = A;        ac_t = prod (1 - beta_i)

    I_in is not in the state; it conditions the network, as in SR3 and Palette. `betas` as for `ddim`: "linear",
    "scaled-linear", "sigmoid", "squared-cosine", or a table. Sampling starts from noise of variance 1.
    eta = 1 is DDPM; DDIM's own eta is the square root of the one here.

    Source: arXiv 2104.07636 (SR3), arXiv 2111.05826 (Palette).
    """

    name: Literal["vp"] = "vp"

    def path(self) -> Path:
        ac = self._ac()
        return Path(ac.sqrt(), torch.zeros_like(ac), (1 - ac).sqrt(), F=ac.sqrt(), prior=(0.0, 1.0))
