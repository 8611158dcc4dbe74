"""Light and landscape of the water model: ranges to draw from, the sRGB transfer curve, smooth random fields."""

from __future__ import annotations

from math import ceil

import torch
from pydantic import AfterValidator
from torch import Generator, Tensor
from torch.nn.functional import interpolate

#: (low, high): a value is drawn uniformly in between, anew for every image; equal ends fix it.
Range = tuple[float, float]


def within(least: float, most: float) -> AfterValidator:
    """Validation of a `Range`: least <= low <= high <= most."""

    def check(given: Range) -> Range:
        low, high = given
        if not least <= low <= high <= most:
            raise ValueError(f"must be (low, high) with {least:g} <= low <= high <= {most:g}; (x, x) is always x")
        return given

    return AfterValidator(check)


def draw(bounds: Range, generator: Generator) -> float:
    """A number uniform in `bounds`."""
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand((), generator=generator).item()


def to_linear(srgb: Tensor) -> Tensor:
    """Linear light of sRGB values, both in [0, 1] (IEC 61966-2-1:1999)."""
    srgb = srgb.contiguous()  # powers differ in the last bit between memory layouts
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """sRGB values in [0, 1] of linear light, which is clipped to [0, 1] first."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).clamp(0, 1)


def smooth_field(height: int, width: int, cells: int, generator: Generator) -> Tensor:
    """A smooth random field (height, width): normal values at corners of cells, `cells` along the longer side."""
    rows, columns = (ceil(cells * size / max(height, width)) for size in (height, width))
    knots = torch.randn(1, 1, rows + 1, columns + 1, generator=generator)
    return interpolate(knots, (height, width), mode="bicubic", align_corners=True)[0, 0]
