"""What several masks share: a share of the area to draw, numbers from a generator, rectangles, and a canvas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from PIL import Image, ImageDraw
from pydantic import AfterValidator
from torch import Generator, Tensor


def _share(given: tuple[float, float]) -> tuple[float, float]:
    low, high = given
    if not 0 < low <= high <= 0.9:
        raise ValueError("must be (low, high) with 0 < low <= high <= 0.9; write (x, x) for always x")
    return given


#: (low, high): a share of the area, drawn uniformly in between, anew for every mask; equal ends fix it.
Share = Annotated[tuple[float, float], AfterValidator(_share)]


def _width(given: tuple[float, float]) -> tuple[float, float]:
    low, high = given
    if not 1 <= low <= high:
        raise ValueError("must be (low, high) in pixels with 1 <= low <= high; write (x, x) for always x")
    return given


#: (low, high): a width in pixels, drawn likewise for every stroke.
Width = Annotated[tuple[float, float], AfterValidator(_width)]


def draw(low: float, high: float, generator: Generator) -> float:
    """A number uniform in [low, high]."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def rectangle(height: int, width: int, top: int, left: int, rows: int, columns: int) -> Tensor:
    """A mask (1, height, width) that is 1 in a rectangle of so many rows and columns."""
    mask = torch.zeros(1, height, width)
    mask[:, top : top + rows, left : left + columns] = 1
    return mask


def thickness(bounds: tuple[float, float], height: int, width: int, generator: Generator) -> int:
    """A width in whole pixels drawn from `bounds`, an eighth of the shorter side at most and one pixel at least."""
    return max(1, min(round(draw(*bounds, generator)), min(height, width) // 8))


def painted(height: int, width: int, share: float, stroke: Callable[[ImageDraw.ImageDraw], None]) -> Tensor:
    """A mask (1, height, width) with strokes added until `share` of it is covered; the last may go beyond."""
    canvas = Image.new("1", (width, height))
    brush = ImageDraw.Draw(canvas)
    while np.asarray(canvas).mean() < share:
        stroke(brush)
    return torch.from_numpy(np.asarray(canvas).astype(np.float32))[None]
