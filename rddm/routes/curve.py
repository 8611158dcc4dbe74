"""Any monotone way through the (abar, bbar) plane."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator

from rddm.core.kinds import Route
from rddm.core.process import Path

Fraction = Annotated[float, Field(ge=0, le=1)]


class Curve(Route):
    """Straight lines between points of the (abar, bbar) plane, in fractions of (abar_T, bbar_T), from [1, 1] to [0, 0].

    Its T rows lie at equal distances along the lines. [[1, 1], [0, 1], [0, 0]] is residual first,
    [[1, 1], [0, 0]] the straight way. For networks that are told (abar T, bbar T).

    Raises:
        SpecError: the points do not lead from [1, 1] to [0, 0], or one of the two rises on the way.

    Source: arXiv 2308.13712, partially path-independent generation.
    """

    name: Literal["curve"] = "curve"
    points: tuple[tuple[Fraction, Fraction], ...] = Field(min_length=2)

    @field_validator("points")
    @classmethod
    def _monotone(cls, points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if points[0] != (1, 1) or points[-1] != (0, 0):
            raise ValueError("must lead from [1, 1], input and noise, to [0, 0], the clean image")
        for one, other in pairwise(points):
            if other[0] > one[0] or other[1] > one[1] or one == other:
                raise ValueError(f"neither may rise or both stand still on the way back; {list(one)} to {list(other)}")
        return points

    def path(self, own: Path) -> Path:
        points = torch.tensor(self.points, dtype=torch.float64).flip(0)
        abar, bbar = own.plane()
        legs = torch.linalg.vector_norm(points.diff(dim=0), dim=1)
        ends = (legs.cumsum(0) / legs.sum() * own.T).round().long().tolist()
        rows, start = [points[:1]], 0
        for leg, end in enumerate(ends):
            share = torch.arange(1, end - start + 1, dtype=torch.float64)[:, None] / max(1, end - start)
            rows.append(points[leg] + share * (points[leg + 1] - points[leg]))
            start = end
        table = torch.cat(rows)
        table[-1] = 1  # though the leg from there be too short for a row
        corners = tuple(sorted({*ends} - {0, own.T}))
        return Path.dual(table[:, 0] * abar[-1], table[:, 1] * bbar[-1], corners=corners)
