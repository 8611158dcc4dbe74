"""Cosine similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from rddm.plugin import ImageMetric
from rddm_ecg.metrics._leads import mean_over_leads
from rddm_ecg.units import MV, Limits


class Cosine(ImageMetric):
    """sum x y / sqrt(sum x^2 sum y^2) in mV, of output y and clean signal x: 1 for equal shapes. Mean over leads."""

    name: Literal["ecg-cosine"] = "ecg-cosine"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    limits: Limits = MV

    @property
    def keys(self) -> tuple[str, ...]:
        return ("cosine",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        return {"cosine": mean_over_leads(output, target, self.limits, _cosine)}


def _cosine(y: Tensor, x: Tensor) -> Tensor:
    return (y * x).sum(-1) / (y.square().sum(-1) * x.square().sum(-1)).sqrt()
