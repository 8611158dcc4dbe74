"""Percentage root mean square difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from rddm.plugin import ImageMetric
from rddm_ecg.metrics._leads import mean_over_leads
from rddm_ecg.units import MV, Limits


class PRD(ImageMetric):
    """100 sqrt(sum (y - x)^2 / sum (x - mean x)^2) percent: 0 for equal signals. Mean over leads.

    The mean is taken off the clean signal x, so that it does not depend on the zero of the scale. Papers that leave it
    in (as PRD, this one then being called PRDN) give lower numbers for signals with an offset.
    """

    name: Literal["ecg-prd"] = "ecg-prd"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    limits: Limits = MV

    @property
    def keys(self) -> tuple[str, ...]:
        return ("prd",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        return {"prd": mean_over_leads(output, target, self.limits, _prd)}


def _prd(y: Tensor, x: Tensor) -> Tensor:
    return 100 * ((y - x).square().sum(-1) / (x - x.mean(-1, keepdim=True)).square().sum(-1)).sqrt()
