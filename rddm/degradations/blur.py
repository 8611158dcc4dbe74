"""Blur of a shaken and defocused camera."""

from __future__ import annotations

from math import ceil, tau
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.fft import irfft2, rfft2
from torch.nn.functional import pad
from torch.special import ndtr

from rddm.core.draws import Range, draw, within
from rddm.core.kinds import Degradation
from rddm.core.light import to_linear, to_srgb


class Blur(Degradation):
    """Camera shake and defocus: linear light averaged along a random path of the camera.

        lin(O) = k * lin(x),    k(u) = mean_i integral over pixel u of N(p_i, defocus^2)

    with the convolution *, lin from sRGB to linear light, and points p_i along a path whose direction is a
    random walk; its centre of mass is 0. x and O are (C, H, W) in [0, 1]; borders are mirrored, or repeated
    where the picture is too small for that.

    Raises:
        SpecError: a range is not low <= high within its bounds.

    Source: Boracchi, Foi, "Modeling the performance of image restoration from motion blur", IEEE TIP 2012,
    whose random motion is here of constant speed.
    """

    name: Literal["blur"] = "blur"
    shake: Annotated[Range, within(0, 500)] = Field(
        default=(5, 25), description="length of the camera's path in pixels, 0 for none"
    )
    defocus: Annotated[Range, within(0, 100)] = Field(
        default=(0.3, 1.5), description="standard deviation of the defocus in pixels, 0 for none"
    )

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        k = self.kernel(generator)
        r = len(k) // 2
        mode = "reflect" if r < min(clean.shape[-2:]) else "replicate"
        light = pad(to_linear(clean)[None], (r, r, r, r), mode)[0]
        size = light.shape[-2:]
        light = irfft2(rfft2(light) * rfft2(k, size), size)
        return to_srgb(light[:, 2 * r :, 2 * r :])  # the first 2 r rows and columns are wrapped around

    def kernel(self, generator: Generator) -> Tensor:
        """A random k (2 r + 1, 2 r + 1), non-negative with sum 1."""
        length, defocus, start = (draw(b, generator) for b in (self.shake, self.defocus, (0.0, tau)))
        n = 2 * ceil(length) + 1
        angle = start + (torch.randn(n, generator=generator) * (2 / n**0.5)).cumsum(0)
        path = torch.stack((angle.sin(), angle.cos())).cumsum(1) * (length / n)  # (2, n)
        path -= path.mean(1, keepdim=True)
        r = ceil(path.abs().max().item() + 3 * defocus)
        edges = torch.arange(-r, r + 2) - 0.5
        rows, columns = ndtr((edges - path[..., None]) / max(defocus, 1e-3)).diff()  # (n, 2 r + 1) each
        k: Tensor = rows.T @ columns
        return k / k.sum()
