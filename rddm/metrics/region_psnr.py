"""Peak signal-to-noise ratio in shadow and outside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from rddm.core.images import Array
from rddm.core.kinds import ImageMetric
from rddm.metrics._pixels import pair
from rddm.metrics._regions import Convention, key, regions


class RegionPSNR(ImageMetric):
    """10 log10(255^2 / mean squared error) dB in the mask, "psnr_s", and outside, "psnr_ns"; infinite for equal pixels.

    Masks (role "mask") are white in the shadow; without one, and in a region without pixels, it is NaN. Of images only,
    rounded to 8 bits.

    convention: `correct` is the mean over the region's pixels. `published`, in shadow removal papers, blackens the rest
    in both images and takes the mean over the whole image, which is -10 log10(share of the region) dB higher; keys
    end in "_published".
    """

    name: Literal["region-psnr"] = "region-psnr"
    convention: Convention = Field(
        default="correct", description="correct: mean over the region; published: over the whole image, the rest black"
    )

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key("psnr", self.convention, region) for region in ("s", "ns"))

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        images = pair(output, target)
        if images is None:
            return {}
        found = dict.fromkeys(self.keys, math.nan)
        error: Array = ((images[0] - images[1]) ** 2).mean(axis=-1)
        for region, where in (regions(output, extras) or {}).items():
            count = where.sum() if self.convention == "correct" else where.size
            if where.any():
                mean = float(error[where].sum() / count)
                psnr = 10 * math.log10(255**2 / mean) if mean else math.inf
                found[key("psnr", self.convention, region)] = psnr
        return found
