"""Underwater image quality measure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.ndimage import sobel
from torch import Tensor

from rddm.plugin import Array, ImageMetric, images

GAMMA = 1026.0  # of parameterised logarithmic image processing


class UIQM(ImageMetric):
    """0.0282 UICM + 0.2953 UISM + 3.5753 UIConM: colourfulness, sharpness and contrast; no target is looked at.

        UICM = -0.0268 |mu| + 0.1586 |s|,   mu and s of R - G and (R + G) / 2 - B: the mean without the lowest and the
            highest tenth, and the root of the mean squared distance from it
        UISM = sum_c lambda_c EME(c Sobel(c)),   EME = 2 mean over blocks of ln(max / min), 0 where one is 0
        UIConM = -mean over blocks of m ln m,   m = (max - min) / (max + min), 0 where one is 0

    of RGB images rounded to 8 bits, in 0 .. 255; of others there is none, and of images smaller than a block it is NaN.

    convention: `published`, "uiqm", is what tables mostly show, the program of FUnIE-GAN's evaluation: blocks of
    10 x 10, the rest at the edges cut off, lambda = (0.299, 0.587, 0.144), max and min over all colours in UIConM.
    `definition`, "uiqm_definition", keeps to the paper's formulas: lambda = (0.299, 0.587, 0.114), UIConM of intensity,
    its sums, differences and multiples those of logarithmic image processing, gamma = k = 1026, by which it falls as
    images of the same contrast get larger; blocks are 8 x 8, and the sign makes contrast positive.

    Source: Panetta, Gao, Agaian, "Human-visual-system-inspired underwater image quality measures", IEEE J. Oceanic
    Engineering 2016.
    """

    name: Literal["uiqm"] = "uiqm"
    reference: ClassVar[bool] = False
    convention: Literal["published", "definition"] = Field(
        default="published", description="published: as most tables; definition: as in the paper"
    )

    @property
    def keys(self) -> tuple[str, ...]:
        return ("uiqm" if self.convention == "published" else "uiqm_definition",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        if output.ndim != 3 or len(output) != 3:
            return {}
        image, published = images.to_array(output).astype(np.float64), self.convention == "published"
        block = 10 if published else 8
        if min(image.shape[:2]) < block:
            return {self.keys[0]: math.nan}
        lambdas = (0.299, 0.587, 0.144 if published else 0.114)
        contrast = uiconm(image, block) if published else log_uiconm(image @ (0.299, 0.587, 0.114), block)
        colour, sharpness = uicm(image, skip=int(published)), uism(image, block, lambdas)
        return {self.keys[0]: float(0.0282 * colour + 0.2953 * sharpness + 3.5753 * contrast)}


def uicm(image: Array, skip: int = 0) -> float:
    """Colourfulness of (H, W, 3) in 0 .. 255; of the means, `skip` more values are left out below, and yet counted."""
    red, green, blue = np.moveaxis(image, -1, 0)
    mean, variance = 0.0, 0.0
    for opponent in (red - green, (red + green) / 2 - blue):
        values, tenth = np.sort(opponent, axis=None), opponent.size / 10
        low, high = math.ceil(tenth), opponent.size - math.floor(tenth)
        mu = values[low + skip : high].sum() / (high - low)
        mean += mu**2
        variance += ((values - mu) ** 2).mean()
    return -0.0268 * math.sqrt(mean) + 0.1586 * math.sqrt(variance)


def uism(image: Array, block: int, lambdas: tuple[float, float, float]) -> float:
    """Sharpness of (H, W, 3)."""
    total = 0.0
    for channel, weight in zip(np.moveaxis(image, -1, 0), lambdas, strict=True):
        most, least = _extremes(channel * np.hypot(sobel(channel, 0), sobel(channel, 1)), block)
        fine = least > 0
        total += weight * 2 * np.log(most[fine] / least[fine]).sum() / most.size
    return total


def uiconm(image: Array, block: int) -> float:
    """Contrast of (H, W, 3), by plain arithmetic."""
    most, least = _extremes(image, block)
    m = np.divide(most - least, most + least, out=np.zeros_like(most), where=most > least)
    return float(-_entropy(m).mean())


def log_uiconm(intensity: Array, block: int) -> float:
    """Contrast of (H, W) in 0 .. 255, by logarithmic image processing."""
    most, least = _extremes(intensity, block)
    top, bottom = GAMMA * (most - least) / (GAMMA - least), most + least - most * least / GAMMA
    m = np.divide(top, bottom, out=np.zeros_like(top), where=most > least)
    return float(GAMMA * (1 - _entropy(m).sum() / GAMMA) ** (1 / m.size) - GAMMA)


def _entropy(m: Array) -> Array:
    return m * np.log(m, out=np.zeros_like(m), where=m > 0)


def _extremes(image: Array, block: int) -> tuple[Array, Array]:
    # largest and smallest value of each block (rows, columns) that lies whole in (H, W) or (H, W, C)
    rows, columns = (size // block for size in image.shape[:2])
    blocks = image[: rows * block, : columns * block].reshape(rows, block, columns, block, -1)
    return blocks.max((1, 3, 4)), blocks.min((1, 3, 4))
