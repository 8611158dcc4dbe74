"""Heavy rain."""

from __future__ import annotations

from math import ceil, cos, radians, tan
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.draws import Range, draw, within
from rddm.core.kinds import Degradation

_SKY = 0.8  # A, the light that the veil scatters in
_STRAY = radians(3)  # by how much a drop's fall may differ from the rain's


class Rain(Degradation):
    """Bright streaks over the picture, under the grey veil of the drops too far to be seen singly.

        O = T B + (1 - T) A,  B = x + s (1 - x),  s = min(1, sum_i s_i exp(-(2 a / l_i)^4 - (b / w_i)^2 / 2))

    with the veil 1 - T, the sky's light A = 0.8, and a term for each streak: a and b are the distances of a
    pixel from its centre along and across its fall. Drops fall everywhere alike; most are far, and the nearer
    are the longer, wider and brighter. x and O are (C, H, W) in [0, 1]; s is the same for all channels.

    Raises:
        SpecError: a range is not low <= high within its bounds.

    Source: Yang, Tan, Feng, Liu, Guo, Yan, "Deep joint rain detection and removal from a single image", CVPR
    2017, and Li, Cheong, Tan, "Heavy rain image restoration", CVPR 2019, for the sum of streaks under a veil;
    Luo, Xu, Ji, "Removing rain from a single image via discriminative sparse coding", ICCV 2015, for blending
    streaks instead of adding them, so that the picture under a streak is dimmed but not lost.
    """

    name: Literal["rain"] = "rain"
    density: Annotated[Range, within(0, 100)] = Field(default=(6, 14), description="streaks per 1000 pixels")
    angle: Annotated[Range, within(-60, 60)] = Field(default=(-25, 25), description="degrees to the right")
    length: Annotated[Range, within(1, 200)] = Field(default=(20, 45), description="of near streaks, pixels")
    width: Annotated[Range, within(0.4, 20)] = Field(default=(0.7, 1.1), description="w of near streaks, pixels")
    brightness: Annotated[Range, within(0, 1)] = Field(default=(0.6, 0.9), description="of near streaks, s")
    veil: Annotated[Range, within(0, 1)] = Field(default=(0.0, 0.0), description="1 - T, up to 0.3 for heavy rain")

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        T = 1 - draw(self.veil, generator)
        s = self.streaks(clean.shape[-2], clean.shape[-1], generator)
        return (T * (clean + s * (1 - clean)) + (1 - T) * _SKY).clamp(0, 1)

    def streaks(self, height: int, width: int, generator: Generator) -> Tensor:
        """A random s (height, width) in [0, 1]."""
        ranges = (self.density, self.angle, self.length, self.width, self.brightness)
        density, angle, longest, widest, brightest = (draw(r, generator) for r in ranges)
        lean = radians(angle)
        # Each streak is drawn on a patch of rows -ry .. ry and columns -rx .. rx, sheared along the rain.
        ry = ceil(0.7 * longest * cos(lean) + 3 * widest)
        rx = ceil((0.7 * longest * _STRAY + 3 * widest) / cos(lean)) + 1
        dy = torch.arange(-ry, ry + 1)[:, None]
        dx = torch.arange(-rx, rx + 1) + (dy * tan(lean)).round().long()  # (2 ry + 1, 2 rx + 1)
        mx = int(dx.max())
        rows, columns = height + 2 * ry, width + 2 * mx  # where centres may be: rain enters from outside
        s = torch.zeros(rows + 2 * ry, columns + 2 * mx)
        drops = torch.rand(5, round(density / 1000 * rows * columns), 1, 1, generator=generator)
        for y, x, near, shine, stray in torch.split(drops, 1024, dim=1):  # in parts, to bound the memory
            y, x, near = y * rows, x * columns, 0.3 + 0.7 * near**2
            row, column, fall = y.long(), x.long(), lean + _STRAY * (2 * stray - 1)
            v, u = row - y + dy, column - x + dx
            a, b = v * fall.cos() + u * fall.sin(), u * fall.cos() - v * fall.sin()
            a, b = 2 * a / (longest * near), b / (widest * near).clamp(min=0.4)  # as wide as a pixel at least
            streak = torch.exp(-a.square().square() - b.square() / 2)
            streak = streak * (brightest * near.sqrt() * (0.4 + 0.6 * shine))
            place = (row + ry + dy) * s.shape[1] + column + mx + dx
            s.view(-1).index_add_(0, place.flatten(), streak.flatten())
        return s[2 * ry : -2 * ry, 2 * mx : -2 * mx].clamp(max=1)
