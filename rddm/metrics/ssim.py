"""Structural similarity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from rddm.core.kinds import ImageMetric
from rddm.metrics._pixels import Space, key, pair
from rddm.metrics._windows import WINDOW, similarity


class SSIM(ImageMetric):
    """Structural similarity, up to 1 for equal images: an 11x11 Gaussian window of sigma 1.5, averaged over channels.

    Taken over the pixels where the window fits, of images rounded to 8 bits; NaN for those smaller than the window,
    and none of signals and volumes. By scikit-image. Source: Wang et al. 2004, "Image quality assessment: from error
    visibility to structural similarity".
    """

    name: Literal["ssim"] = "ssim"
    space: Space = Field(default="rgb", description="rgb: all channels as they are; y: luma of BT.601, of RGB only")

    @property
    def keys(self) -> tuple[str, ...]:
        return (key("ssim", self.space),)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        images = pair(output, target, self.space)
        if images is None:
            return {}
        fits = min(images[0].shape[:2]) >= WINDOW
        return {self.keys[0]: float(similarity(*images).mean()) if fits else math.nan}
