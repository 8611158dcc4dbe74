"""Structural similarity at several scales."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from rddm.core.images import Array
from rddm.core.kinds import ImageMetric
from rddm.metrics._pixels import Space, key, pair
from rddm.metrics._windows import WINDOW, similarity

POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, from the finest to the coarsest
NO_LUMINANCE = 1e9  # K1 for which the luminance term is 1 to the last digit


class MSSSIM(ImageMetric):
    """prod_j cs_j^w_j SSIM_5^w_5 over five scales, up to 1 for equal images; each scale halves the one before.

    cs_j is the mean contrast and structure term, 0 where negative, of one channel; the product is averaged over
    channels. Windows and borders as `ssim`: where the window fits, of images rounded to 8 bits, halved by means of 2x2
    pixels. NaN for images below 176 pixels, where the window does not fit the coarsest scale; none of signals and
    volumes. Source: Wang, Simoncelli, Bovik 2003, "Multiscale structural similarity for image quality assessment".
    """

    name: Literal["ms-ssim"] = "ms-ssim"
    space: Space = Field(default="rgb", description="rgb: all channels as they are; y: luma of BT.601, of RGB only")

    @property
    def keys(self) -> tuple[str, ...]:
        return (key("ms_ssim", self.space),)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        images = pair(output, target, self.space)
        if images is None:
            return {}
        one, other = images
        if min(one.shape[:2]) < WINDOW * 2 ** (len(POWERS) - 1):
            return {self.keys[0]: math.nan}
        product = np.ones(one.shape[2])
        for power in POWERS[:-1]:
            terms = similarity(one, other, K1=NO_LUMINANCE).mean(axis=(0, 1))
            product *= terms.clip(min=0) ** power
            one, other = _halved(one), _halved(other)
        product *= similarity(one, other).mean(axis=(0, 1)).clip(min=0) ** POWERS[-1]
        return {self.keys[0]: float(product.mean())}


def _halved(image: Array) -> Array:
    height, width = (side // 2 for side in image.shape[:2])
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1)
    return np.asarray(blocks.mean(axis=(1, 3)))
