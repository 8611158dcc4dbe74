"""Sum of squared distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from rddm.plugin import ImageMetric
from rddm_ecg.metrics._leads import mean_over_leads
from rddm_ecg.units import MV, Limits


class SSD(ImageMetric):
    """sum (y - x)^2 in mV^2 over all samples of the example, so that it grows with its length. Mean over leads."""

    name: Literal["ecg-ssd"] = "ecg-ssd"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    limits: Limits = MV

    @property
    def keys(self) -> tuple[str, ...]:
        return ("ssd",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        return {"ssd": mean_over_leads(output, target, self.limits, _ssd)}


def _ssd(y: Tensor, x: Tensor) -> Tensor:
    return (y - x).square().sum(-1)
