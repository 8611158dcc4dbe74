"""Cast shadows."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, sin, tau
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.draws import Range, draw, smooth_field, within
from rddm.core.kinds import Degradation
from rddm.core.light import to_linear, to_srgb


class Shadow(Degradation):
    """A soft-edged shadow over part of the picture, where only the ambient light is left.

        O = lin(x) (1 - m (1 - a_c))    in linear light

    with the shadow's mask m, 1 in the umbra, 0 in full light and in between in the penumbra, and the ambient
    share a_c of the light of channel c: a (1 - b, 1, 1 + b) in RGB, as the sky is blue, else a. m is where a
    random field is above a threshold; as that field's slope varies along the edge, so does the penumbra's
    width. x and O are (C, H, W) in [0, 1]; where m = 0 they are equal.

    The extra "mask" is 1 where m >= 1/2, else 0: what a person would paint, and what data sets of shadows hold.

    Raises:
        SpecError: a range is not low <= high within its bounds.

    Source: Shor, Lischinski, "The shadow meets the mask: pyramid-based shadow removal", Computer Graphics
    Forum 2008, without its loss of ambient light to the occluder.
    """

    name: Literal["shadow"] = "shadow"
    extras: ClassVar[Mapping[str, int]] = {"mask": 1}
    ambient: Annotated[Range, within(0, 1)] = Field(default=(0.12, 0.4), description="share of light, a")
    blue: Annotated[Range, within(0, 1)] = Field(default=(0.0, 0.2), description="tint b, for RGB only")
    area: Annotated[Range, within(0.01, 0.99)] = Field(default=(0.2, 0.6), description="share in shadow")
    penumbra: Annotated[Range, within(0.1, 1000)] = Field(default=(3, 20), description="typical width in pixels")

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        return self.example(clean, generator)["input"]

    def example(self, clean: Tensor, generator: Generator) -> Mapping[str, Tensor]:
        ambient = torch.full((len(clean), 1, 1), draw(self.ambient, generator))
        blue = draw(self.blue, generator)
        if len(clean) == 3:
            ambient = (ambient * torch.tensor([1 - blue, 1, 1 + blue])[:, None, None]).clamp(max=1)
        m = self.mask(clean.shape[-2], clean.shape[-1], generator)
        bad = torch.where(m > 0, to_srgb(to_linear(clean) * (1 - m * (1 - ambient))), clean)
        return {"input": bad, "mask": (m >= 0.5).float()[None]}

    def mask(self, height: int, width: int, generator: Generator) -> Tensor:
        """A random m (height, width) in [0, 1]."""
        area, penumbra = draw(self.area, generator), draw(self.penumbra, generator)
        side, towards = max(height, width), draw((0.0, tau), generator)
        y, x = torch.arange(height)[:, None] / side, torch.arange(width) / side
        f = y * sin(towards) + x * cos(towards)  # the shadow enters from one side
        f = f + smooth_field(height, width, 2, generator) / 4  # its outline is bent,
        f = f + smooth_field(height, width, 6, generator) / 16  # and frayed
        f = f * side  # so that its slope is about 1 a pixel
        edge = f.flatten().kthvalue(max(1, round((1 - area) * f.numel()))).values
        return ((f - edge) / penumbra + 0.5).clamp(0, 1)
