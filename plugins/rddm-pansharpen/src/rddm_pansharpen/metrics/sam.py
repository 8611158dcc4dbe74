"""Spectral angle mapper."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor
from torchmetrics.functional.image import spectral_angle_mapper

from rddm.plugin import ImageMetric


class SAM(ImageMetric):
    """Mean angle between the spectra of output and target, arccos(<x, y> / (|x| |y|)), in degrees: 0 for equal spectra.

    Brightness does not count, and of a single band there is none. Pixels where a spectrum is 0 in all bands have no
    angle, and are left out. By torchmetrics. Source: Yuhas, Goetz, Boardman 1992.
    """

    name: Literal["sam"] = "sam"
    better: ClassVar[Literal["higher", "lower"]] = "lower"

    @property
    def keys(self) -> tuple[str, ...]:
        return ("sam",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        if output.ndim != 3 or len(output) < 2:
            return {}
        angles = spectral_angle_mapper(output.double()[None], target.double()[None], reduction="none")
        return {"sam": math.degrees(float(angles.nanmean()))}
