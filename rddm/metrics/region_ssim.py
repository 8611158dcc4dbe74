"""Structural similarity in shadow and outside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from rddm.core.kinds import ImageMetric
from rddm.metrics._pixels import pair
from rddm.metrics._regions import Convention, key, regions
from rddm.metrics._windows import WINDOW, similarity


class RegionSSIM(ImageMetric):
    """Structural similarity as `ssim`, in the mask, "ssim_s", and outside, "ssim_ns"; up to 1 for equal images.

    Masks (role "mask") are white in the shadow; without one, and in a region without a pixel where the window fits, it
    is NaN. Of images only, rounded to 8 bits.

    convention: `correct` is the mean of the map of similarity over the region's pixels. `published`, in shadow removal
    papers, blackens the rest in both images and takes the mean over the whole image, most of which is then equal;
    keys end in "_published".
    """

    name: Literal["region-ssim"] = "region-ssim"
    convention: Convention = Field(
        default="correct", description="correct: mean over the region; published: over the whole image, the rest black"
    )

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key("ssim", self.convention, region) for region in ("s", "ns"))

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        images = pair(output, target)
        if images is None:
            return {}
        found, inner = dict.fromkeys(self.keys, math.nan), slice(WINDOW // 2, -(WINDOW // 2))
        fits = min(output.shape[1:]) >= WINDOW
        for region, where in (regions(output, extras) or {}).items():
            if fits and where[inner, inner].any():
                if self.convention == "correct":
                    values = similarity(*images)[where[inner, inner]]
                else:
                    values = similarity(*(image * where[..., None] for image in images))
                found[key("ssim", self.convention, region)] = float(values.mean())
        return found
