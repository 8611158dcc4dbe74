"""A box anywhere."""

from __future__ import annotations

from math import log
from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.kinds import Mask
from rddm.masks._shapes import Share, draw, rectangle


class Box(Mask):
    """A rectangle at a random place, wholly inside; a tenth to two fifths of the area by default.

    Its proportions, relative to the image's, are log-uniform in [1/2, 2], and cut to what fits.
    """

    name: Literal["box"] = "box"
    share: Share = Field(default=(0.1, 0.4), description="of the area that the hole has, (low, high)")

    def __call__(self, height: int, width: int, generator: Generator) -> Tensor:
        share = draw(*self.share, generator)
        stretch = log(min(2, 1 / share))  # else one side would be longer than the image's
        ratio = torch.tensor(draw(-stretch, stretch, generator)).exp().item()
        rows = min(height, max(1, round(height * (share * ratio) ** 0.5)))
        columns = min(width, max(1, round(width * (share / ratio) ** 0.5)))
        top, left = (
            int(torch.randint(side - part + 1, (), generator=generator))
            for side, part in ((height, rows), (width, columns))
        )
        return rectangle(height, width, top, left, rows, columns)
