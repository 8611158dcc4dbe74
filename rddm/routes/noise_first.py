"""First the noise, then the residual."""

from __future__ import annotations

from typing import Literal

import torch

from rddm.core.kinds import Route
from rddm.core.process import Path


class NoiseFirst(Route):
    """Two legs, backwards from (abar_T, bbar_T): bbar falls to 0 at the full residual, then abar falls to 0.

    The middle of the way is the input image itself, without noise, so it fails where the input says nothing, as in
    generation. Each leg has the T rows of training's own table. For networks that are told (abar T, bbar T).
    Source: arXiv 2308.13712, partially path-independent generation.
    """

    name: Literal["noise-first"] = "noise-first"

    def path(self, own: Path) -> Path:
        abar, bbar = own.plane()
        still = torch.zeros_like(abar[1:])
        return Path.dual(
            torch.cat([abar, still + abar[-1]]), torch.cat([torch.zeros_like(bbar), bbar[1:]]), corners=(own.T,)
        )
