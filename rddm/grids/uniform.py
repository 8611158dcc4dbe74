"""Times at equal distances."""

from __future__ import annotations

from typing import Literal

from rddm.core.kinds import Grid
from rddm.core.process import Path


class Uniform(Grid):
    """`floor(T k / S)`, k = S .. 0: 1000, 800, 600, 400, 200, 0 for T = 1000 and S = 5.

    Source: the grid of the published results of RDDM (arXiv 2308.13712).
    """

    name: Literal["uniform"] = "uniform"

    def times(self, path: Path, steps: int) -> list[int]:
        return [path.T * k // steps for k in range(steps, -1, -1)]
