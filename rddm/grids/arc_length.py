"""Times at equal distances along the path's own curve."""

from __future__ import annotations

from typing import Literal

import torch

from rddm.core.kinds import Grid
from rddm.core.process import Path, spread


class ArcLength(Grid):
    """Rows at equal arc length of the curve (A_t, B_t, C_t).

    For schedules whose noise rises like sqrt(t) (beta^2 "mean" or "decreasing"): on a uniform grid nearly all of that
    noise falls into the last step, which costs a second-order solver its order; here it does not.
    """

    name: Literal["arc-length"] = "arc-length"

    def times(self, path: Path, steps: int) -> list[int]:
        tables = torch.stack([table.flatten(1).mean(1) if table.ndim > 1 else table for table in path.tables], dim=1)
        lengths = torch.linalg.vector_norm(tables.diff(dim=0), dim=1).cumsum(0)
        return spread(torch.cat([lengths.new_zeros(1), lengths]), steps)
