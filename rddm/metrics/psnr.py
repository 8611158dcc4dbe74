"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from rddm.core.kinds import ImageMetric
from rddm.metrics._pixels import Space, key, values


class PSNR(ImageMetric):
    """10 log10(255^2 / mean squared error) dB over all pixels and channels, infinite for equal images.

    Images are rounded to 8 bits; signals and volumes are not, and their peak is 1. By scikit-image.
    """

    name: Literal["psnr"] = "psnr"
    space: Space = Field(default="rgb", description="rgb: all channels as they are; y: luma of BT.601, of RGB only")

    @property
    def keys(self) -> tuple[str, ...]:
        return (key("psnr", self.space),)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        found = values(output, target, self.space)
        if found is None:
            return {}
        one, other, peak = found
        psnr = math.inf if (one == other).all() else peak_signal_noise_ratio(other, one, data_range=peak)
        return {self.keys[0]: float(psnr)}
