"""First the residual, then the noise."""

from __future__ import annotations

from typing import Literal

import torch

from rddm.core.kinds import Route
from rddm.core.process import Path


class ResidualFirst(Route):
    """Two legs, backwards from (abar_T, bbar_T): abar falls to 0 at full noise, then bbar falls to 0.

    Each leg has the T rows of training's own table, so the route has 2 T. For networks that are told (abar T, bbar T).
    Source: arXiv 2308.13712, partially path-independent generation.
    """

    name: Literal["residual-first"] = "residual-first"

    def path(self, own: Path) -> Path:
        abar, bbar = own.plane()
        still = torch.zeros_like(abar[1:])
        return Path.dual(
            torch.cat([torch.zeros_like(abar), abar[1:]]), torch.cat([bbar, still + bbar[-1]]), corners=(own.T,)
        )
