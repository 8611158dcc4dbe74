"""Relative dimensionless global error in synthesis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torchmetrics.functional.image import error_relative_global_dimensionless_synthesis

from rddm.plugin import ImageMetric


class ERGAS(ImageMetric):
    """100 / ratio * sqrt(mean over bands of (root mean square error / mean of the target)^2): 0 for equal images.

    By torchmetrics. Source: Wald 2000, "Quality of high resolution synthesised images: is there a simple criterion?".
    """

    name: Literal["ergas"] = "ergas"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    ratio: int = Field(default=4, ge=2, description="pixels of PAN along one of MS")

    @property
    def keys(self) -> tuple[str, ...]:
        return ("ergas",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        pair = output.double()[None], target.double()[None]
        return {"ergas": float(error_relative_global_dimensionless_synthesis(*pair, ratio=self.ratio))}
