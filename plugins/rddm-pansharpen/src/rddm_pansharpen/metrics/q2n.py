"""Quality index of all bands together, Q4 or Q8."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log2
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.plugin import ImageMetric


def product(a: Tensor, b: Tensor) -> Tensor:
    """Product of hypercomplex numbers (..., n), n a power of two: (a, b)(c, d) = (ac - d* b, da + b c*)."""
    n = a.shape[-1]
    if n == 1:
        return a * b
    (a, b), (c, d) = torch.chunk(a, 2, dim=-1), torch.chunk(b, 2, dim=-1)
    return torch.cat([product(a, c) - product(conjugate(d), b), product(d, a) + product(b, conjugate(c))], dim=-1)


def conjugate(a: Tensor) -> Tensor:
    """The same real part, all others negated."""
    return torch.cat([a[..., :1], -a[..., 1:]], dim=-1)


class Q2n(ImageMetric):
    """The Q index of pixels as hypercomplex numbers, bands being their parts: Q4 of up to 4 bands, Q8 of 5 to 8.

    4 |cov(x, y)| |mean(x)| |mean(y)| / ((var(x) + var(y)) (|mean(x)|^2 + |mean(y)|^2)), where cov(x, y) is
    E[(x - Ex)(y - Ey)*]; mean over blocks side by side, in [0, 1], 1 for equal images. It sees spectra change where
    each band looks well. Blocks without variance are left out. Toolboxes that normalise each block have other values.

    Sources: Alparone et al. 2004, "A global quality measurement of pan-sharpened multispectral imagery"; Garzelli,
    Nencini 2009, "Hypercomplex quality assessment of multi/hyperspectral images".
    """

    name: Literal["q2n"] = "q2n"
    block: int = Field(default=32, ge=2, description="side in pixels; images that are smaller have no index")

    @property
    def keys(self) -> tuple[str, ...]:
        return ("q2n",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        if min(output.shape[-2:]) < self.block:
            return {}
        x, y = self._blocks(output), self._blocks(target)
        mean_x, mean_y = x.mean(dim=1, keepdim=True), y.mean(dim=1, keepdim=True)
        x, y = x - mean_x, y - mean_y
        covariance = product(x, conjugate(y)).mean(dim=1).norm(dim=-1)
        spread = (x.square() + y.square()).sum(dim=-1).mean(dim=1)
        light = [mean[:, 0].norm(dim=-1) for mean in (mean_x, mean_y)]
        index = 4 * covariance * light[0] * light[1] / (spread * (light[0] ** 2 + light[1] ** 2))
        return {"q2n": float(index.nanmean())}

    def _blocks(self, image: Tensor) -> Tensor:
        # (N blocks, pixels, 2^k parts)
        side, bands = self.block, len(image)
        parts = image.double().unfold(1, side, side).unfold(2, side, side).flatten(3).flatten(1, 2)
        return torch.nn.functional.pad(parts.permute(1, 2, 0), (0, 2 ** ceil(log2(bands)) - bands))
