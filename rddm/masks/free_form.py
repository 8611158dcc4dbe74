"""Free-form brush strokes."""

from __future__ import annotations

from math import cos, pi, sin
from typing import Literal

import torch
from PIL.ImageDraw import ImageDraw
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.kinds import Mask
from rddm.masks._shapes import Share, Width, draw, painted, thickness


class FreeForm(Mask):
    """Strokes of a round brush that turns again and again, as by a hand that rubs something out.

    A stroke starts anywhere, in any direction, and has 4 to 10 legs of one to three widths of its brush, each turned
    by up to a right angle from the last. Strokes are added until the hole has its share of the area, a tenth to two
    fifths by default, which the last may exceed. The width is in pixels, so that crops have the holes of whole images,
    and an eighth of the shorter side at most.
    Source: the idea of free-form masks is that of Yu et al., arXiv 1806.03589.
    """

    name: Literal["free-form"] = "free-form"
    share: Share = Field(default=(0.1, 0.4), description="of the area that the hole has, (low, high)")
    width: Width = Field(default=(6, 16), description="of the brush in pixels, (low, high)")

    def __call__(self, height: int, width: int, generator: Generator) -> Tensor:
        def stroke(brush: ImageDraw) -> None:
            across = thickness(self.width, height, width, generator)
            x, y = draw(0, width, generator), draw(0, height, generator)
            angle = draw(0, 2 * pi, generator)
            for _ in range(int(torch.randint(4, 11, (), generator=generator))):
                angle += draw(-pi / 2, pi / 2, generator)
                leg = draw(1, 3, generator) * across
                there = x + leg * cos(angle), y + leg * sin(angle)
                brush.line([(x, y), there], fill=1, width=across)
                x, y = there
                brush.ellipse([x - across / 2, y - across / 2, x + across / 2, y + across / 2], fill=1)

        return painted(height, width, draw(*self.share, generator), stroke)
