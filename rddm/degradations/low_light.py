"""Pictures taken in the dark."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.draws import Range, draw, within
from rddm.core.kinds import Degradation
from rddm.core.light import to_linear, to_srgb


class LowLight(Degradation):
    """A short exposure in the dark: little light, noise of few photons and of the sensor, and coarse tones.

        y = N / w,    N ~ Poisson(e w lin(x)) + r n,    n ~ N(0, 1)
        O = round(srgb(y) (2^bits - 1)) / (2^bits - 1)

    with the exposure e, the electrons w of white at full exposure, and the read noise r in electrons; lin is
    from sRGB to linear light, srgb its inverse with clipping to [0, 1]. x and O are (C, H, W) in [0, 1].

    Raises:
        SpecError: a range is not low <= high within its bounds, or bits is not in 1 .. 16.

    Source: Foi, Trimeche, Katkovnik, Egiazarian, "Practical Poissonian-Gaussian noise modeling and fitting
    for single-image raw-data", IEEE TIP 2008.
    """

    name: Literal["low-light"] = "low-light"
    exposure: Annotated[Range, within(0, 1)] = Field(default=(0.04, 0.2), description="share of light left")
    white: Annotated[Range, within(1, 100_000)] = Field(default=(500, 3000), description="electrons, w")
    read: Annotated[Range, within(0, 1000)] = Field(default=(1, 4), description="read noise in electrons, r")
    bits: int = Field(default=8, ge=1, le=16, description="bits per value; 16 is next to exact")

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        exposure, white, read = (draw(r, generator) for r in (self.exposure, self.white, self.read))
        electrons = torch.poisson(to_linear(clean) * (exposure * white), generator=generator)
        electrons += read * torch.randn(clean.shape, generator=generator)
        levels = 2.0**self.bits - 1
        return (to_srgb(electrons / white) * levels).round() / levels
