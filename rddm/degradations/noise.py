"""White Gaussian noise."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.draws import Range, draw, within
from rddm.core.kinds import Degradation


class Noise(Degradation):
    """Additive white Gaussian noise of a level that is unknown to the network.

        O = clip(x + sigma / 255 * n, 0, 1),    n ~ N(0, 1) for every pixel and channel

    x and O are (C, H, W) in [0, 1].

    Raises:
        SpecError: a range is not low <= high within its bounds.

    Source: Zhang, Zuo, Chen, Meng, Zhang, "Beyond a Gaussian denoiser: residual learning of deep CNN for
    image denoising", IEEE TIP 2017, whose blind model is trained on sigma in [0, 55].
    """

    name: Literal["noise"] = "noise"
    sigma: Annotated[Range, within(0, 255)] = Field(default=(10, 50), description="on the scale 0 .. 255")

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        sigma = draw(self.sigma, generator) / 255
        return (clean + sigma * torch.randn(clean.shape, generator=generator)).clamp(0, 1)
