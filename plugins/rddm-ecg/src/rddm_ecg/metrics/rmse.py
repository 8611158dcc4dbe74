"""Root mean square error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from rddm.plugin import ImageMetric
from rddm_ecg.metrics._leads import mean_over_leads
from rddm_ecg.units import MV, Limits


class RMSE(ImageMetric):
    """sqrt(mean (y - x)^2) in mV, of output y and clean signal x: 0 for equal signals. Mean over leads."""

    name: Literal["ecg-rmse"] = "ecg-rmse"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    limits: Limits = MV

    @property
    def keys(self) -> tuple[str, ...]:
        return ("rmse",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        return {"rmse": mean_over_leads(output, target, self.limits, _rmse)}


def _rmse(y: Tensor, x: Tensor) -> Tensor:
    return (y - x).square().mean(-1).sqrt()
