"""Mean absolute error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from rddm.core.kinds import ImageMetric
from rddm.metrics._pixels import Space, key, values


class MAE(ImageMetric):
    """mean |output - target| over all pixels and channels, in steps of 8 bits: 0 for equal images, up to 255.

    Images are rounded to 8 bits; signals and volumes are not, and their error is up to 1. Papers that scale pixels to
    [0, 1] give it divided by 255.
    """

    name: Literal["mae"] = "mae"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    space: Space = Field(default="rgb", description="rgb: all channels as they are; y: luma of BT.601, of RGB only")

    @property
    def keys(self) -> tuple[str, ...]:
        return (key("mae", self.space),)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        found = values(output, target, self.space)
        return {} if found is None else {self.keys[0]: float(np.abs(found[0] - found[1]).mean())}
