"""A hole in the middle."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Generator, Tensor

from rddm.core.kinds import Mask
from rddm.masks._shapes import Share, draw, rectangle


class Centre(Mask):
    """A rectangle of the image's proportions in its middle; a quarter of the area by default."""

    name: Literal["centre"] = "centre"
    share: Share = Field(default=(0.25, 0.25), description="of the area that the hole has, (low, high)")

    def __call__(self, height: int, width: int, generator: Generator) -> Tensor:
        root = draw(*self.share, generator) ** 0.5
        rows, columns = (max(1, round(side * root)) for side in (height, width))
        return rectangle(height, width, (height - rows) // 2, (width - columns) // 2, rows, columns)
