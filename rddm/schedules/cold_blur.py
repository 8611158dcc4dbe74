"""Blur that grows: each frequency goes from the sharp to the blurred image at its own speed."""

from __future__ import annotations

import math
from functools import lru_cache, reduce
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.core.kinds import Schedule
from rddm.core.process import Path, Spectrum


class ColdBlur(Schedule):
    """Cold Diffusion's deblurring: I_in is the image blurred by a Gaussian of `sigma` pixels, I_t by a smaller one.

        abar_t(w) = (1 - exp(-w^2 s_t^2 / 2)) / (1 - exp(-w^2 s_T^2 / 2)),   s_t = sigma t / T

    for each frequency w of the image's cosine transform (DCT-II, mirrored borders); abar_t(0) = (t / T)^2. Then
    `I_0 + abar_t I_res` is I_0 blurred by s_t exactly. A = 1 - abar, B = abar, C = 0, F = 1; starts at I_in.
    Its tables take 16 (T + 1) bytes a pixel, so it is for small images or few steps.

    Source: Bansal et al. 2022, "Cold Diffusion" (arXiv 2208.09392).
    """

    name: Literal["cold-blur"] = "cold-blur"
    T: int = Field(default=50, ge=2, description="steps of the full chain")
    sigma: float = Field(default=3.0, gt=0, description="standard deviation of the blur of I_in, in pixels")

    def path(self) -> Path:
        abar = (torch.arange(self.T + 1, dtype=torch.float64) / self.T) ** 2
        return Path.dual(abar, torch.zeros_like(abar), spectrum=Cosines(self.T, self.sigma))


class Cosines(Spectrum):
    """The cosine transform over all sizes *S of images (B, C, *S)."""

    def __init__(self, T: int, sigma: float) -> None:
        self.T, self.sigma = T, sigma

    def path(self, size: tuple[int, ...]) -> Path:
        return _path(self.T, self.sigma, size)

    def to(self, image: Tensor) -> Tensor:
        return reduce(lambda x, dim: _along(x, _cosines(x.shape[dim]), dim), range(2, image.ndim), image)

    def back(self, coefficients: Tensor) -> Tensor:
        return reduce(
            lambda x, dim: _along(x, _cosines(x.shape[dim]).T, dim), range(2, coefficients.ndim), coefficients
        )


@lru_cache(maxsize=4)
def _path(T: int, sigma: float, size: tuple[int, ...]) -> Path:
    axes = [math.pi * torch.arange(n, dtype=torch.float64) / n for n in size]
    squared = reduce(lambda total, axis: total[..., None] + axis**2, axes, torch.zeros((), dtype=torch.float64))
    share = (torch.arange(T + 1, dtype=torch.float64) / T).reshape(-1, *[1] * len(size)) ** 2
    exponent = squared * sigma**2 / 2
    ratio = torch.expm1(-exponent * share) / torch.where(exponent > 0, torch.expm1(-exponent), 1.0)
    abar = torch.where(exponent > 0, ratio, share)
    return Path.dual(abar, torch.zeros(()).double().expand_as(abar), torch.ones(()).double().expand_as(abar))


@lru_cache(maxsize=16)
def _cosines(n: int) -> Tensor:
    k = torch.arange(n, dtype=torch.float64)
    waves = (math.pi * (2 * k + 1) * k[:, None] / (2 * n)).cos() * math.sqrt(2 / n)
    waves[0] /= math.sqrt(2)
    return waves  # (frequencies, pixels), orthonormal


def _along(x: Tensor, matrix: Tensor, dim: int) -> Tensor:
    return (x.movedim(dim, -1) @ matrix.T.to(x)).movedim(-1, dim)
