"""Error of colours in LAB, of the whole image, in shadow and outside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from skimage.color import rgb2lab
from torch import Tensor

from rddm.core.images import Array
from rddm.core.kinds import ImageMetric
from rddm.metrics._pixels import pair
from rddm.metrics._regions import Convention, key, regions


class LabMAE(ImageMetric):
    """|dL| + |da| + |db| averaged over pixels: of all, "lab_mae"; in the mask, "lab_mae_s"; outside, "lab_mae_ns".

    0 for equal images. Papers on shadow removal call it MAE, and often RMSE, which it is not. Masks (role "mask") are
    white in the shadow; without one there is "lab_mae" alone, and a region without pixels is NaN. RGB only, rounded to
    8 bits; CIE 1976 L*a*b* under D65 by scikit-image.

    convention: `correct` is the mean over images, each counting once. `published`, in the ISTD papers, is the mean over
    all pixels of the set in the region, so that images with large shadows count more; keys end in "_published".
    """

    name: Literal["lab-mae"] = "lab-mae"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    convention: Convention = Field(
        default="correct", description="correct: mean over images; published: over the pixels of the whole set"
    )

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key("lab_mae", self.convention, region) for region in ("", "s", "ns"))

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        images = pair(output, target)
        if images is None or len(output) != 3:
            return {}
        one, other = (rgb2lab(image / 255) for image in images)
        error: Array = np.abs(one - other).sum(axis=-1)
        parts = {region: error[where] for region, where in self._parts(output, extras).items()}
        return {
            key("lab_mae", self.convention, region): float(part.mean()) if part.size else math.nan
            for region, part in parts.items()
        }

    def weights(self, output: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        if self.convention == "correct" or output.ndim != 3:
            return {}
        parts = self._parts(output, extras)
        return {key("lab_mae", self.convention, region): float(where.sum()) for region, where in parts.items()}

    def _parts(self, output: Tensor, extras: Mapping[str, Tensor]) -> dict[str, Array]:
        return {"": np.ones(output.shape[1:], dtype=bool), **(regions(output, extras) or {})}
