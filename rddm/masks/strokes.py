"""Irregular strokes."""

from __future__ import annotations

from typing import Literal

import torch
from PIL.ImageDraw import ImageDraw
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.kinds import Mask
from rddm.masks._shapes import Share, Width, draw, painted, thickness


class Strokes(Mask):
    """Lines and outlines of ellipses, of random place, size and thickness, until the hole is as large as drawn.

    Their share of the area is drawn from a tenth to two fifths by default, which the last stroke may exceed. Their
    thickness is in pixels, so that crops have the holes of whole images, and an eighth of the shorter side at most.
    Source: the idea of irregular holes of lines and ellipses is that of Liu et al., arXiv 1804.07723.
    """

    name: Literal["strokes"] = "strokes"
    share: Share = Field(default=(0.1, 0.4), description="of the area that the hole has, (low, high)")
    width: Width = Field(default=(2, 8), description="thickness in pixels, (low, high)")

    def __call__(self, height: int, width: int, generator: Generator) -> Tensor:
        def stroke(brush: ImageDraw) -> None:
            thick = thickness(self.width, height, width, generator)
            ends = torch.rand(2, 2, generator=generator) * torch.tensor([width, height])
            if torch.rand((), generator=generator) < 0.5:
                brush.line(ends.flatten().tolist(), fill=1, width=thick)
            else:
                brush.ellipse([*ends.amin(0).tolist(), *ends.amax(0).tolist()], outline=1, width=thick)

        return painted(height, width, draw(*self.share, generator), stroke)
