"""Haze and fog."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.draws import Range, draw, smooth_field, within
from rddm.core.kinds import Degradation
from rddm.core.light import to_linear, to_srgb


class Haze(Degradation):
    """Homogeneous haze, which dims the scene with distance and adds the airlight.

        I = J t + A (1 - t),    t = exp(-beta d)

    in linear light: the scene J, the airlight A, the scattering coefficient beta, and the distance d in [0,
    1] of a random landscape, that is 1 - v + f / 5 clipped, with v from 0 at the top to 1 at the bottom and a
    smooth random field f. The picture and its hazy copy are (C, H, W) in [0, 1], the sRGB values of J and I.

    Raises:
        SpecError: a range is not low <= high within its bounds.

    Source: Koschmieder, "Theorie der horizontalen Sichtweite", 1924; Narasimhan, Nayar, "Vision and the
    atmosphere", IJCV 2002. The ranges are near those of Li et al., "Benchmarking single-image dehazing and
    beyond", IEEE TIP 2019.
    """

    name: Literal["haze"] = "haze"
    beta: Annotated[Range, within(0, 20)] = Field(default=(0.3, 1.5), description="t = exp(-beta) far off")
    airlight: Annotated[Range, within(0, 1)] = Field(default=(0.7, 1.0), description="sRGB value of A")

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        A = to_linear(torch.tensor(draw(self.airlight, generator)))
        t = self.transmission(clean.shape[-2], clean.shape[-1], generator)
        return to_srgb(to_linear(clean) * t + A * (1 - t))

    def transmission(self, height: int, width: int, generator: Generator) -> Tensor:
        """A random t (height, width) in (0, 1]."""
        beta = draw(self.beta, generator)
        far_to_near = torch.linspace(1, 0, height)[:, None]
        d = far_to_near + smooth_field(height, width, 2, generator) / 5
        return torch.exp(-beta * d.clamp(0, 1))
