"""Everything around the middle."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Generator, Tensor

from rddm.core.kinds import Mask
from rddm.masks._shapes import Share, draw, rectangle


class Outpaint(Mask):
    """The border: only a rectangle of the image's proportions in its middle is known, less than it in either side.

    The hole has half to three quarters of the area by default.
    """

    name: Literal["outpaint"] = "outpaint"
    share: Share = Field(default=(0.5, 0.75), description="of the area that the hole has, (low, high)")

    def __call__(self, height: int, width: int, generator: Generator) -> Tensor:
        root = (1 - draw(*self.share, generator)) ** 0.5
        rows, columns = (min(max(1, round(side * root)), side - 1) for side in (height, width))
        return 1 - rectangle(height, width, (height - rows) // 2, (width - columns) // 2, rows, columns)
