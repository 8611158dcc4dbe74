"""Maximum absolute distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from rddm.plugin import ImageMetric
from rddm_ecg.metrics._leads import mean_over_leads
from rddm_ecg.units import MV, Limits


class MAD(ImageMetric):
    """max |y - x| in mV, the largest error of a sample: 0 for equal signals. Mean over leads."""

    name: Literal["ecg-mad"] = "ecg-mad"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    limits: Limits = MV

    @property
    def keys(self) -> tuple[str, ...]:
        return ("mad",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        return {"mad": mean_over_leads(output, target, self.limits, _mad)}


def _mad(y: Tensor, x: Tensor) -> Tensor:
    return (y - x).abs().amax(-1)
